"""No server is open to other machines unless somebody says so."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

from sightline.api.clients import is_here
from sightline.api.settings import ApiSettings
from sightline.errors import InputError
from sightline.processes.exposure import check_exposure
from sightline.processes.serve import listen
from sightline.settings import Settings, environment
from sightline.store.issuing import issue
from sightline.wiring import open_installation
from tests.children import kill, read_line
from tests.sightline.conftest import ROOT, Run


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
@pytest.mark.parametrize("command", [("serve",), ("up",), ("demo",)], ids=lambda command: command[0])
def test_an_address_that_others_reach_wants_a_key(
    command: tuple[str, ...], host: str, sightline: Run, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIGHTLINE_API__HOST", host)
    done = sightline(*command, "--port", "0")
    assert (done.code, "Traceback" in done.stderr) == (2, False)
    assert "SIGHTLINE_API__KEY" in done.stderr
    assert "--insecure" in done.stderr
    assert not (settings.data_folder / "catalog.sqlite").exists()


def test_whoever_insists_is_warned_and_still_safe_from_names_of_others(settings: Settings) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "sightline", "serve", "--port", "0", "--host", "0.0.0.0", "--insecure"],
        cwd=ROOT,
        env=os.environ | environment(settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        assert read_line(process).startswith("Warning: whoever reaches 0.0.0.0 may do everything")
        found = None
        while found is None:
            found = re.search(r"serves (http://127\.0\.0\.1:\d+)", read_line(process))
        for host, status in (("10.1.2.3", 200), ("localhost:8000", 200), ("evil.test", 421)):
            assert status_of(f"{found[1]}/livez", host) == status
    finally:
        kill(process)


def test_a_key_or_an_address_of_this_machine_is_enough(settings: Settings) -> None:
    own = settings.model_copy(update={"api": ApiSettings(key="sesame")})
    with listen("0.0.0.0", 0) as everywhere, listen("127.0.0.1", 0) as here:
        assert check_exposure(everywhere, own) is None
        assert check_exposure(here, settings) is None
        with pytest.raises(InputError):
            check_exposure(everywhere, settings)
        with open_installation(settings) as services:
            services.catalog.collections()
            with pytest.raises(InputError):
                check_exposure(everywhere, settings)
            issue(services.catalog, "first", "read")
        assert check_exposure(everywhere, settings) is None


def status_of(url: str, host: str) -> int:
    """Once it listens: what it prints comes a moment before."""
    request = urllib.request.Request(url, headers={"Host": host})
    deadline = time.monotonic() + 20
    while True:
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_this_machine_is_what_the_bound_address_says() -> None:
    for address in ("127.0.0.1", "127.9.9.9", "::1", "::1%lo", "::ffff:127.0.0.1"):
        assert is_here(address)
    for address in ("0.0.0.0", "::", "10.0.0.1", "fe80::1%eth0", "192.168.1.1", "::ffff:10.0.0.1"):
        assert not is_here(address)
