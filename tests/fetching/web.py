"""A small web on this machine: names that lie, servers that count, and a witness of every connection."""

from __future__ import annotations

import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from io import BytesIO
from typing import Any

from PIL import Image

from sightline.fetching.client import Fetcher
from sightline.fetching.settings import FetchSettings
from sightline.imaging.formats import broken_format

GOOD = "127.0.0.2"
"""The one address that the tests permit: everything else on this machine must never hear from the client."""
TRAPS = ("127.0.0.1", "127.0.0.3", "::1")
SECONDS = 5.0

Answer = bytes | Callable[[socket.socket], None]


def png(colour: str = "red") -> bytes:
    """A small picture."""
    out = BytesIO()
    Image.new("RGB", (16, 16), colour).save(out, "PNG")
    return out.getvalue()


PICTURE = png()


@cache
def authorities() -> ssl.SSLContext:
    """The system's, read once: that takes a while."""
    return ssl.create_default_context()


def answer(
    body: bytes = PICTURE, status: str = "200 OK", media: str | None = "image/png", *heads: str
) -> bytes:
    """One HTTP answer."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *heads]
    lines += [f"Content-Type: {media}"] if media is not None else []
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def redirect(location: str, status: str = "302 Found") -> bytes:
    """An answer that leads elsewhere."""
    return f"HTTP/1.1 {status}\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()


class Site:
    """A server at one address that counts who connects, keeps what it was asked, and answers by path."""

    def __init__(self, address: str, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind((address, port))
        self._socket.listen(16)
        self._tls = tls
        self.port: int = self._socket.getsockname()[1]
        self.connections = 0
        self.asked: list[bytes] = []
        self.pages: dict[str, Answer | list[Answer]] = {}
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """No more."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(SECONDS)

    def _serve(self) -> None:
        while self._socket.fileno() >= 0:
            try:
                opened, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._answer, args=(opened,), daemon=True).start()

    def _answer(self, opened: socket.socket) -> None:
        opened.settimeout(SECONDS)
        with suppress(OSError), opened:
            talking = self._tls.wrap_socket(opened, server_side=True) if self._tls else opened
            with talking:
                self._speak(talking)

    def _speak(self, talking: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            more = talking.recv(65_536)
            if not more:
                return
            head += more
        self.asked.append(head)
        path = head.split(b" ", 2)[1].decode()
        page = self.pages.get(path, answer(b"nothing", "404 Not Found", "text/plain"))
        if isinstance(page, list):
            page = page.pop(0) if len(page) > 1 else page[0]
        if isinstance(page, bytes):
            talking.sendall(page)
        else:
            page(talking)


@dataclass
class Names:
    """A resolver: each name has answers that it gives one after the other, the last one for ever."""

    port: int
    known: dict[str, list[Sequence[str]]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        answers = self.known.get(host)
        if answers is None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return answers.pop(0) if len(answers) > 1 else answers[0]


@dataclass
class Web:
    """The good site, the traps at the same port of other addresses, and names."""

    good: Site
    traps: list[Site]
    names: Names

    @property
    def port(self) -> int:
        return self.good.port

    def url(self, path: str = "/a.png", host: str = "good.test") -> str:
        return f"http://{host}:{self.port}{path}"

    def settings(self, **changes: Any) -> FetchSettings:
        """Quick ones, which permit the good site."""
        told: dict[str, Any] = {
            "enabled": True,
            "http": True,
            "ports": (self.port,),
            "allowed_networks": (f"{GOOD}/32",),
            "max_bytes": 100_000,
            "seconds": 5.0,
            "idle_seconds": 2.0,
        }
        return FetchSettings(**(told | changes))

    def client(self, tls: ssl.SSLContext | None = None, **changes: Any) -> Fetcher:
        return Fetcher(
            self.settings(**changes),
            lambda head: broken_format(head) is not None,
            resolve=self.names,
            tls=tls or authorities(),
        )

    @property
    def trapped(self) -> int:
        """Connections to where there must be none."""
        return sum(trap.connections for trap in self.traps)

    def forget(self) -> None:
        """As it began, for the next test."""
        self.good.pages = {"/a.png": answer()}
        self.good.connections = 0
        self.good.asked.clear()
        for trap in self.traps:
            trap.connections = 0
        self.names.known = {"good.test": [[GOOD]]}
        self.names.asked.clear()


@contextmanager
def small_web() -> Iterator[Web]:
    """Sites at the same port of several addresses of this machine."""
    with ExitStack() as stack:
        sites = _sites()
        for site in sites:
            stack.callback(site.close)
        web = Web(sites[0], sites[1:], Names(sites[0].port))
        web.forget()
        yield web


def _sites() -> list[Site]:
    for _ in range(20):
        sites = [Site(GOOD)]
        try:
            for trap in TRAPS:
                sites.append(Site(trap, sites[0].port))
        except OSError:  # another process has the port at one of the addresses
            for site in sites:
                site.close()
        else:
            return sites
    raise AssertionError("no port is free at all addresses")


class Witness:
    """Every connection that the client's thread opens, as the interpreter reports it.

    It hears of connections to addresses that no server of ours could have, before anything is sent.
    """

    def __init__(self) -> None:
        self._of: int | None = None
        self.seen: list[tuple[str, int]] = []
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "socket.connect" and threading.get_ident() == self._of:
            self.seen.append(arguments[1][:2])

    @contextmanager
    def watching(self) -> Iterator[list[tuple[str, int]]]:
        """What this thread connects to meanwhile."""
        self.seen = []
        self._of = threading.get_ident()
        try:
            yield self.seen
        finally:
            self._of = None
