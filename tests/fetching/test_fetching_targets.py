"""Where the client goes: to permitted addresses, and nowhere else, whatever URL, name or redirect says so.

Two witnesses: servers at the same port of forbidden addresses count connections, and the interpreter reports
every connection that is tried, also to addresses that this machine does not have.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any

import pytest

from sightline.errors import ImageRejected
from sightline.fetching.addresses import AddressPolicy, is_public
from sightline.fetching.network import connect
from tests.fetching.web import GOOD, PICTURE, Site, Web, Witness, answer, redirect

INNER = [
    "127.0.0.1", "127.0.0.3", "127.255.255.254", "0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255",
    "100.64.0.1",
    "100.100.100.200", "169.254.169.254", "169.254.170.2", "172.16.0.1", "172.31.255.255", "192.168.1.1",
    "192.0.0.192", "192.0.2.1", "192.88.99.1", "198.18.0.1", "198.51.100.7", "203.0.113.9", "224.0.0.1",
    "239.255.255.250", "240.0.0.1", "255.255.255.255", "168.63.129.16",
]  # fmt: skip
"""IPv4 addresses of which none is a place on the public internet."""
INNER_V6 = [
    "::1", "::", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1",
    "::ffff:8.8.8.8",
    "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2002:7f00:1::", "2002:a00:1::1",
    "2001:0:53aa:64c:0:0:80ff:fffe", "2001:db8::1", "3fff::1", "fe80::1", "fec0::1", "fc00::1",
    "fd00:ec2::254",
    "ff02::1", "100::1", "5f00::1", "::ffff:0:127.0.0.1", "fe80::1%lo",
]  # fmt: skip
PUBLIC = ["8.8.8.8", "1.1.1.1", "93.184.216.34", "2606:4700::1111", "2a00:1450:4001::1", "64:ff9b::808:808"]


def refused(web: Web, witness: Witness, url: str, **changes: Any) -> ImageRejected:
    """The refusal of a URL for which nothing at all was connected to, unless the good site was."""
    with witness.watching() as seen, pytest.raises(ImageRejected) as caught:
        web.client(**changes).fetch(url)
    assert web.trapped == 0
    assert {tuple(one) for one in seen} <= {(GOOD, web.port)}
    return caught.value


def test_a_permitted_picture_is_fetched_by_one_look_up_and_one_connection(web: Web, witness: Witness) -> None:
    with witness.watching() as seen:
        assert web.client().fetch(web.url()) == PICTURE
    assert seen == [(GOOD, web.port)]
    assert web.names.asked == ["good.test"]
    assert (web.good.connections, web.trapped) == (1, 0)


@pytest.mark.parametrize("address", INNER + INNER_V6)
def test_an_address_that_is_not_public_is_never_connected_to(
    web: Web, witness: Witness, address: str
) -> None:
    web.names.known["inner.test"] = [[address]]
    host = f"[{address.replace('%', '%25')}]" if ":" in address else address
    for url in (web.url(host=host), web.url(host="inner.test"), f"http://{host}/", "https://inner.test/"):
        assert refused(web, witness, url).reason in ("unreachable", "url_refused")
    assert web.good.connections == 0


@pytest.mark.parametrize("address", INNER)
def test_an_inner_address_written_as_another_number_is_never_connected_to(
    web: Web, witness: Witness, address: str
) -> None:
    number = int(ip_address(address))
    a, b, c, d = address.split(".")
    tricks = [
        str(number), hex(number), f"0{number:o}", f"{int(a):#x}.{b}.{c}.{d}", f"0{int(a):o}.{b}.{c}.{d}",
        f"{a}.{number & 0xFFFFFF}", f"{a}.{b}.{int(c) * 256 + int(d)}", f"{address}.", f"{a}.{b}.{c}.{d}.0",
        f"{a}。{b}。{c}。{d}", f"{a}.{b}.{c}.{d}%00", "".join(chr(0xFEE0 + ord(x)) for x in address),
    ]  # fmt: skip
    for trick in tricks:
        refused(web, witness, web.url(host=trick))
    assert web.good.connections == 0


@pytest.mark.parametrize(
    "answers",
    [
        [GOOD, "127.0.0.1"],
        ["127.0.0.1", GOOD],
        [GOOD, "::1"],
        [GOOD, "::ffff:127.0.0.2"],
        [GOOD, "10.0.0.1", GOOD],
        [GOOD, "no address"],
        ["::ffff:127.0.0.2"],
        ["fe80::1%2"],
        [],
    ],
    ids=str,
)
def test_one_forbidden_answer_forbids_the_name(web: Web, witness: Witness, answers: Sequence[str]) -> None:
    web.names.known["mixed.test"] = [answers]
    assert refused(web, witness, web.url(host="mixed.test")).reason == "unreachable"
    assert web.good.connections == 0


@pytest.mark.parametrize("later", ["127.0.0.1", "::1", "169.254.169.254", "127.0.0.3", "10.0.0.1"])
def test_a_name_that_changes_its_mind_is_asked_once(web: Web, witness: Witness, later: str) -> None:
    web.names.known["rebind.test"] = [[GOOD], [later]]
    with witness.watching() as seen:
        assert web.client().fetch(web.url(host="rebind.test")) == PICTURE
    assert web.names.asked == ["rebind.test"]
    assert seen == [(GOOD, web.port)]
    # The next picture of the same name is a new look-up, judged anew: no connection is kept for it.
    refused(web, witness, web.url(host="rebind.test"))
    assert (web.good.connections, web.trapped) == (1, 0)


@pytest.mark.parametrize(
    "url",
    [
        "http://good.test@127.0.0.1:{port}/a.png",
        "http://user:password@good.test:{port}/a.png",
        "http://127.0.0.1:{port}\\@good.test:{port}/a.png",
        "http://good.test:{port}\\@127.0.0.1/a.png",
        "http://127.0.0.1:{port}#@good.test:{port}/a.png",
        "http://127.0.0.1:{port}?@good.test:{port}/a.png",
        "http://good.test%40127.0.0.1:{port}/a.png",
        "http://good.test%2f@127.0.0.1:{port}/",
        "http://127.0.0.1:{port}%20good.test/",
        "http://good.test:{port}/a.png\r\nHost: 127.0.0.1",
        "http://good.test:{port}/a.png HTTP/1.1\r\nX: y\r\n\r\n",
        "http://good.test:{port}/\n",
        "http://good.test:{port}/a\tb.png",
        " http://good.test:{port}/a.png",
        "http://good.test\r\n:{port}/",
        "http://good.test:{port}/\0",
        "http:///a.png",
        "http://",
        "http:good.test:{port}/a.png",
        "http:/good.test:{port}/a.png",
        "http:\\\\good.test:{port}/a.png",
        "//good.test:{port}/a.png",
        "http://[::ffff:127.0.0.1]:{port}/",
        "http://[::ffff:7f00:1]:{port}/",
        "http://[::1]:{port}/",
        "http://[::]:{port}/",
        "http://[fe80::1%25lo]:{port}/",
        "http://[127.0.0.1]:{port}/",
        "http://[::1:{port}/",
        "http://127.1:{port}/",
        "http://0:{port}/",
        "http://0x7f.1:{port}/",
        "http://2130706433:{port}/",
        "http://017700000001:{port}/",
        "http://127.0.0.1.:{port}/",
        "http://localhost:{port}/",
        "http://LOCALHOST.:{port}/",
        "http://ⓛocalhost:{port}/",
        "http://①②⑦.0.0.1:{port}/",
        "http://good.test:22/",
        "http://good.test:25/",
        "http://good.test:6379/",
        "http://good.test:0/",
        "http://good.test:-1/",
        "http://good.test:65536/",
        "http://good.test:{port}{port}/",
        "http://good.test:٨٠/",
        "https://good.test:22/",
        "ftp://good.test:{port}/a.png",
        "file:///etc/passwd",
        "gopher://good.test:{port}/_GET",
        "dict://127.0.0.1:{port}/",
        "ws://good.test:{port}/",
        "data:image/png;base64,AAAA",
        "javascript:alert(1)",
        "http://-good.test:{port}/",
        "http://good..test:{port}/",
        "http://a b.test:{port}/",
        "http://good_.test;127.0.0.1:{port}/",
        "http://{{host}}:{port}/",
        "http://nobody.test:{port}/a.png",
    ],
)
def test_a_url_that_could_be_read_in_two_ways_goes_nowhere(web: Web, witness: Witness, url: str) -> None:
    web.names.known |= {"localhost": [["127.0.0.1"]], "127.0.0.1": [["127.0.0.1"]], "0": [["127.0.0.1"]]}
    rejected = refused(web, witness, url.replace("{port}", str(web.port)))
    assert rejected.reason in ("unreachable", "url_refused")
    assert web.good.connections == 0
    assert "\n" not in rejected.detail
    assert rejected.detail.endswith(".")


def test_a_url_of_a_hundred_kilobytes_goes_nowhere(web: Web, witness: Witness) -> None:
    rejected = refused(web, witness, web.url("/" + "a" * 100_000))
    assert len(rejected.detail) < 400
    assert web.good.connections == 0


@pytest.mark.parametrize(
    "leads",
    [
        "http://127.0.0.1:{port}/a.png",
        "http://[::1]:{port}/a.png",
        "http://127.0.0.3:{port}/a.png",
        "http://169.254.169.254/latest/meta-data/",
        "//127.0.0.1:{port}/a.png",
        "http://2130706433:{port}/",
        "http://good.test@127.0.0.1:{port}/",
        "http://user:password@good.test:{port}/fine",
        "http://good.test:{port}/fine\\@127.0.0.1/",
        "http://inner.test:{port}/a.png",
        "http://rebind.test:{port}/a.png",
        "http://good.test:22/",
        "file:///etc/passwd",
        "ftp://good.test:{port}/a.png",
        "gopher://127.0.0.1:{port}/",
        "javascript:alert(1)",
        "http://",
        "http:\\\\127.0.0.1:{port}\\a.png",
        "\\\\127.0.0.1:{port}\\a.png",
        "/loop",
        "/chain",
        "http://good.test:{port}/" + "a" * 5000,
        "http://ünreadable\u0080.test/",
    ],
)
def test_a_redirect_is_checked_as_a_first_url_is(web: Web, witness: Witness, leads: str) -> None:
    web.names.known |= {"inner.test": [["127.0.0.1"]], "rebind.test": [["127.0.0.1"], [GOOD]]}
    web.good.pages["/fine"] = answer()
    for path, location in (("/a.png", leads), ("/loop", "/loop"), ("/chain", "http://127.0.0.1:{port}/")):
        place = location.replace("{port}", str(web.port))
        web.good.pages[path] = redirect(place.encode().decode("latin-1") if not place.isascii() else place)
    assert refused(web, witness, web.url()).reason in ("unreachable", "url_refused")
    assert web.good.connections <= 1 + web.client().settings.max_redirects


def test_redirects_to_a_permitted_place_are_followed_and_no_more_than_allowed(
    web: Web, witness: Witness
) -> None:
    for step in range(6):
        web.good.pages[f"/{step}"] = redirect(f"/{step - 1}" if step else "/a.png", "307 Temporary Redirect")
    assert web.client().fetch(web.url("/4")) == PICTURE
    assert "redirects more than 5 times" in refused(web, witness, web.url("/5")).detail


def test_https_is_not_left_for_plain_http_and_plain_http_needs_permission(web: Web, witness: Witness) -> None:
    from sightline.fetching.targets import TargetRules

    rules = TargetRules(web.settings())
    safe = rules.target(f"https://good.test:{web.port}/a.png")
    assert rules.redirected(safe, "/b.png").url == f"https://good.test:{web.port}/b.png"
    with pytest.raises(ImageRejected, match="plain HTTP"):
        rules.redirected(safe, web.url())
    assert "plain HTTP" in refused(web, witness, web.url(), http=False).detail
    assert web.good.connections == 0


@pytest.mark.parametrize(
    ("patterns", "fine"),
    [
        ((), True),
        (("good.test",), True),
        (("GOOD.test.",), True),
        (("*.test",), True),
        (("*.good.test",), False),
        (("od.test",), False),
        (("good.test.example.org", "example.org"), False),
    ],
)
def test_only_named_hosts_are_asked_when_some_are_named(
    web: Web, witness: Witness, patterns: tuple[str, ...], fine: bool
) -> None:
    if fine:
        assert web.client(allowed_hosts=patterns).fetch(web.url()) == PICTURE
    else:
        refused(web, witness, web.url(), allowed_hosts=patterns)
        assert (web.good.connections, web.names.asked) == (0, [])


def test_a_redirect_does_not_lead_out_of_the_named_hosts(web: Web, witness: Witness) -> None:
    web.names.known["other.test"] = [[GOOD]]
    web.good.pages["/a.png"] = redirect(web.url("/b.png", "other.test"))
    web.good.pages["/b.png"] = answer()
    refused(web, witness, web.url(), allowed_hosts=("good.test",))
    assert web.good.connections == 1


def test_of_what_may_not_be_asked_nothing_can_be_learnt(web: Web, witness: Witness) -> None:
    """A host that does not exist, one that is forbidden (open or closed there), one that is closed."""
    web.names.known |= {
        "open.test": [["127.0.0.1"]],
        "closed.test": [["10.0.0.1"]],
        "dead.test": [["127.0.0.9"]],
    }
    said = set()
    for host in ("nobody.test", "open.test", "closed.test", "127.0.0.1", "10.0.0.1", "[::1]"):
        rejected = refused(web, witness, web.url(host=host))
        said.add((rejected.reason, rejected.detail.replace(host, "HOST")))
    with pytest.raises(ImageRejected) as caught:  # permitted, and nobody listens
        web.client(allowed_networks=("127.0.0.9/32",)).fetch(web.url(host="dead.test"))
    said.add((caught.value.reason, caught.value.detail.replace("dead.test", "HOST")))
    assert len(said) == 1


def test_proxies_of_the_environment_are_not_used(
    web: Web, witness: Witness, monkeypatch: pytest.MonkeyPatch
) -> None:
    trap = f"http://127.0.0.1:{web.port}"
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, trap)
    with witness.watching() as seen:
        assert web.client().fetch(web.url()) == PICTURE
    assert (seen, web.trapped) == ([(GOOD, web.port)], 0)


@pytest.mark.parametrize("address", INNER + INNER_V6)
def test_no_inner_address_counts_as_public(address: str) -> None:
    assert not AddressPolicy().permits(ip_address(address))


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_count_as_public(address: str) -> None:
    assert is_public(ip_address(address))


def test_a_connection_goes_to_the_address_and_to_no_other(web: Web) -> None:
    with connect(ip_address(GOOD), web.port, 2.0) as opened:
        assert opened.getpeername() == (GOOD, web.port)


def test_the_witnesses_can_see(web: Web, witness: Witness) -> None:
    """Were a forbidden address permitted, both would tell."""
    trap: Site = web.traps[0]
    trap.pages["/a.png"] = answer()
    with witness.watching() as seen:
        assert web.client(allowed_networks=("127.0.0.1/32",)).fetch(web.url(host="127.0.0.1")) == PICTURE
    assert seen == [("127.0.0.1", web.port)]
    assert web.trapped == 1
