"""Names to addresses, once, and connections to exactly these: what httpcore is given for a network.

httpcore would resolve the name again, and a name may mean another address the second time.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Sequence
from ipaddress import ip_address
from typing import Any, Final

import httpcore

from sightline.fetching.addresses import AddressPolicy, IPAddress
from sightline.fetching.budget import Budget

Resolve = Callable[[str, int], Sequence[str]]
"""The addresses of a host, in the order in which they are tried; raises OSError."""

HEAD_BYTES: Final = 64 << 10
"""Beyond the body, what an answer may bring: its head, and the marks between chunks."""
MAX_ADDRESSES: Final = 4
"""Of one name: how many are tried."""
MAX_LOOKUPS: Final = 32
"""Lookups at once; the system's resolver cannot be stopped, only not be waited for any longer."""
_lookups: Final = threading.BoundedSemaphore(MAX_LOOKUPS)


class ForbiddenError(OSError):
    """A name has an address that must not be connected to. Nothing was."""


def system_resolver(host: str, port: int) -> list[str]:
    """Asks the system."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return list(dict.fromkeys(str(one[4][0]) for one in found))


def lookup(resolve: Resolve, host: str, port: int, seconds: float) -> list[str]:
    """What ``resolve`` says, waited for no longer than ``seconds``. Raises OSError."""
    if not _lookups.acquire(timeout=seconds):
        raise TimeoutError("Too many names are being looked up.")
    found: list[str] = []
    failed: list[Exception] = []

    def work() -> None:
        try:
            found.extend(resolve(host, port))
        except Exception as error:
            failed.append(error)
        finally:
            _lookups.release()

    thread = threading.Thread(target=work, name="lookup", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise TimeoutError("The name was not resolved in time.")
    if failed or not found:
        raise OSError("The name does not resolve.") from (failed[0] if failed else None)
    return found


def judged(found: Sequence[str], policy: AddressPolicy) -> list[IPAddress]:
    """All addresses of a name. One that is forbidden forbids the name: mixed answers are how names lie.

    Raises:
        ForbiddenError: one of them is not permitted, or is no address.
    """
    try:
        addresses = [ip_address(one) for one in found]
    except ValueError as error:
        raise ForbiddenError("The name has an address that cannot be read.") from error
    if not all(policy.permits(address) for address in addresses):
        raise ForbiddenError("The name has an address that is not public.")
    return addresses[:MAX_ADDRESSES]


class PinnedBackend(httpcore.NetworkBackend):
    """Connects to the addresses that were judged, whatever host it is asked for."""

    def __init__(self, addresses: Sequence[IPAddress], budget: Budget, idle: float, most_bytes: int) -> None:
        self._addresses = addresses
        self._budget = budget
        self._idle = idle
        self._most_bytes = most_bytes

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """To the first address that answers. Raises OSError."""
        last = OSError("There is no address.")
        for address in self._addresses:
            try:
                opened = connect(address, port, self._budget.seconds(self._idle))
            except OSError as error:
                last = error
            else:
                return GuardedStream(opened, self._budget, self._idle, self._most_bytes + HEAD_BYTES)
        raise last


def connect(address: IPAddress, port: int, seconds: float) -> socket.socket:
    """A connection to exactly this address. Raises OSError."""
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_STREAM)
    try:
        opened.settimeout(seconds)
        opened.connect((str(address), port))
        if ip_address(opened.getpeername()[0]) != address:
            raise ForbiddenError("The connection leads to another address.")
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        opened.close()
        raise
    return opened


class GuardedStream(httpcore.NetworkStream):
    """A connection whose every wait is bounded by the budget, and whose incoming bytes are counted."""

    def __init__(self, opened: socket.socket, budget: Budget, idle: float, left: int) -> None:
        self._socket = opened
        self._budget = budget
        self._idle = idle
        self._left = left

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """The next bytes. Raises OSError when they take too long or are too many."""
        self._socket.settimeout(self._budget.seconds(self._idle))
        data = self._socket.recv(max_bytes)
        self._left -= len(data)
        if self._left < 0:
            raise OSError("The answer does not end.")
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """All of it. Raises httpcore.WriteError: an answer may have come all the same."""
        try:
            self._socket.settimeout(self._budget.seconds(self._idle))
            self._socket.sendall(buffer)
        except OSError as error:
            raise httpcore.WriteError(str(error)) from error

    def close(self) -> None:
        """Twice is once."""
        self._socket.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        """The same connection, encrypted; its certificate is checked for the name. Raises OSError."""
        self._socket.settimeout(self._budget.seconds(self._idle))
        try:
            wrapped = ssl_context.wrap_socket(self._socket, server_hostname=server_hostname)
        except BaseException:
            self._socket.close()
            raise
        return GuardedStream(wrapped, self._budget, self._idle, self._left)

    def get_extra_info(self, info: str) -> Any:
        """Nothing but what httpcore needs to know: no second protocol was agreed on."""
        return None
