"""What malformed requests are made of: odd lines, headers and bodies, whole ones and garbage, from a seed."""

from __future__ import annotations

import random

METHODS = (
    b"GET",
    b"POST",
    b"PATCH",
    b"DELETE",
    b"HEAD",
    b"OPTIONS",
    b"PUT",
    b"TRACE",
    b"get",
    b"CONNECT",
    b"B-%d",
)
PICTURES = b"/v1/collections/pictures"
PATHS = (
    b"/",
    b"/livez",
    b"/readyz",
    b"/metrics",
    b"/openapi.json",
    b"/session",
    b"/static/page.css",
    b"/v1/jobs",
    b"/static/../../etc/passwd",
    b"/static/%2e%2e/%2e%2e/etc/passwd",
    b"//",
    b"/v1/rerank",
    b"/score",
    b"/v1/trash",
    b"/v1/collections",
    PICTURES,
    PICTURES + b"/search",
    PICTURES + b"/images",
    PICTURES + b"/jobs",
    PICTURES + b"/images/%2e%2e%2fa",
    PICTURES + b"/images/a/file",
    PICTURES + b"/images//x//thumbnail",
    PICTURES + b"/trash/restore",
    b"/v1/jobs/0/events",
    b"/v1/jobs/%00/cancel",
    b"/%",
    b"/%zz",
    b"/%ff%fe",
    b"http://elsewhere.example/livez",
    b"*",
    b"/?q=%s" % (b"a" * 9000),
    b"/?filter={",
    b"/v1/jobs?limit=0x1",
)
HEADERS = (
    b"Content-Type: application/json",
    b"Content-Type: application/json; charset=utf-7",
    b"Content-Type: a/b/c;;",
    b"Content-Type: multipart/form-data",
    b"Content-Type: multipart/form-data; boundary=",
    b"Content-Type: multipart/form-data; boundary=b; charset=punycode",
    b"Content-Type: \xff\xfe",
    b"Content-Length: 5",
    b"Content-Length: -1",
    b"Content-Length: 99999999999999999999",
    b"Content-Length: 1e3",
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: chunked, gzip",
    b"Transfer-Encoding: \x0bchunked",
    b"Content-Encoding: gzip",
    b"Range: bytes=0-",
    b"Range: bytes=-9999999999999999999,5-1",
    b"Range: lines=1",
    b"If-None-Match: *",
    b"If-None-Match: " + b'"a",' * 900,
    b"If-Modified-Since: yesterday",
    b"Expect: 100-continue",
    b"Authorization: Bearer \xf0\x9f",
    b"Authorization: Basic",
    b"Cookie: " + b"a=b;" * 900,
    b"Cookie: theme=%00; theme=%ff; sightline_session=\xff",
    b"X-Request-ID: a\tb",
    b"X-Sightline-Part: results",
    b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAA",
    b"Upgrade: h2c\r\nHTTP2-Settings: AAAA",
    b"Host: other.example",
    b"Host:",
    b"Bad Header: 1",
    b": nothing",
    b"Folded: a\r\n b",
    b"X: " + b"x" * 70_000,
    b"Accept: */*;q=2",
    b'Forwarded: for="',
    b"Origin: null",
    b"Sec-Fetch-Site: cross-site",
)
BODIES = (
    b"",
    b"{}",
    b"null",
    b"[" * 5000,
    b'{"text":"a"}',
    b'{"text":"\\ud800"}',
    b'{"text":' + b"9" * 5000 + b"}",
    b'{"query":"a","documents":[' + b"0," * 3000 + b"0]}",
    b'{"name":"' + b"x" * 3000 + b'"}',
    b"\xff\xfe{\x00}\x00",
    b'{"ids":["a\\u0000"]}',
    b"\x1f\x8b\x08\x00",
    b"a=b&" * 500,
    b"5\r\nhello\r\n0\r\n\r\n",
    b"-5\r\n",
    b"ffffffffff\r\n",
    b'--b\r\nContent-Disposition: form-data; name="files"; filename="\xff/../a"\r\n\r\nx\r\n--b--\r\n',
    b'--b\r\nContent-Disposition: form-data; name="items"\r\n\r\n[{"id": 1e999}]\r\n--b--\r\n',
    b"--b\r\n" * 300,
)
GARBAGE = (
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET /livez\r\n\r\n",
    b"GET  /livez HTTP/1.1\r\n\r\n",
    b"GET /livez HTTP/9.9\r\n\r\n",
    b"GET /livez HTTP/1.1\n\n",
    b"\r\n" * 500,
    b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n" * 20,
    b"G" * 100_000,
    b"\x00" * 1000,
    b"GET\x00/livez HTTP/1.1\r\n\r\n",
    b"POST /v1/rerank HTTP/1.0\r\nContent-Type: application/json\r\n\r\n{}",
    b"\x80\x81\x82",
    b" ",
    b"SSH-2.0-x\r\n",
)


def request(chance: random.Random) -> bytes:
    """One malformed, or odd, request."""
    if chance.random() < 0.1:
        return chance.choice((*GARBAGE, chance.randbytes(chance.randrange(1, 2000))))
    method = chance.choice(METHODS)
    method = method % chance.randrange(10**6) if b"%d" in method else method
    body = chance.choice(BODIES)
    heads = chance.sample(HEADERS, chance.randrange(4))
    if chance.random() < 0.7:
        heads += [b"Host: localhost", b"Content-Length: %d" % len(body), b"Connection: close"]
    if chance.random() < 0.5:
        heads.append(b"Content-Type: application/json")
    version = chance.choice((b"HTTP/1.1",) * 8 + (b"HTTP/1.0", b"HTTP/2"))
    line = b" ".join((method, chance.choice(PATHS), version))
    whole = b"\r\n".join((line, *heads, b"", b"")) + body
    return whole if chance.random() < 0.6 else _mutated(whole, chance)


def _mutated(text: bytes, chance: random.Random) -> bytes:
    """The same with a few bytes changed, doubled, left out or cut off."""
    changed = bytearray(text)
    for _ in range(chance.randrange(1, 6)):
        place = chance.randrange(max(min(len(changed), 400), 1))
        act = chance.randrange(4)
        if act == 0:
            changed[place : place + 1] = chance.randbytes(1)
        elif act == 1:
            del changed[place : place + chance.randrange(1, 5)]
        elif act == 2:
            changed[place:place] = changed[place : place + chance.randrange(1, 50)]
        elif chance.random() < 0.2:
            del changed[place:]
    return bytes(changed) or b"\r"
