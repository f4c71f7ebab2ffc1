"""The lock file: every file by its hash, in the versions of the constraints; and the audit."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)
LEFT_OUT = {"torch", "faiss-gpu"}
ELSEWHERE = {"async-timeout", "colorama", "httpx2-jsfetch", "setuptools", "tzdata"}
"""What other Pythons and systems need than the one that the constraints were read off, or what it ships."""


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(file: str) -> dict[str, str]:
    return {plain(name): version for name, version in PIN.findall((ROOT / file).read_text())}


def test_every_package_of_the_lock_has_the_version_of_the_constraints() -> None:
    known = pins("constraints.txt")
    others = {name for name, version in pins("requirements.lock").items() if known.get(name) != version}
    assert others <= ELSEWHERE


def test_every_package_of_the_lock_has_a_hash_and_no_address() -> None:
    text = (ROOT / "requirements.lock").read_text()
    assert "://" not in text
    whole = text.replace("\\\n", " ")
    lines = [line for line in whole.splitlines() if line.strip() and not line.startswith("#")]
    assert len(lines) == len(pins("requirements.lock"))
    assert all("--hash=sha256:" in line for line in lines)


def test_everything_that_an_installation_asks_for_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    asked = [*project["dependencies"]]
    for extra in ("faiss-cpu", "postgres", "redis", "train"):
        asked += extras[extra]
    names = {plain(re.split(r"[\[<>=!~; ]", one)[0]) for one in asked}
    assert names - LEFT_OUT <= pins("requirements.lock").keys()
    assert not LEFT_OUT & pins("requirements.lock").keys()


SOUND = {"name": "a", "version": "1", "vulns": []}
BROKEN = {"name": "b", "version": "2", "vulns": [{"id": "CVE-1", "fix_versions": ["3"]}]}
UNKNOWN = {"name": "c", "skip_reason": "not found"}


@pytest.mark.parametrize(
    ("dependencies", "status", "said"),
    [
        ([SOUND], 0, "no known vulnerability"),
        ([SOUND, BROKEN], 1, "b 2: CVE-1 (fixed in 3)"),
        ([SOUND, UNKNOWN], 1, "c: not in the database"),
        ([UNKNOWN, UNKNOWN], 0, "was not checked"),
        (None, 1, "cannot be checked: broken requirements"),
    ],
)
def test_the_audit_fails_on_what_is_vulnerable_or_unknown_and_says_when_it_could_not_ask(
    dependencies: list[dict[str, object]] | None, status: int, said: str, tmp_path: Path
) -> None:
    printed = "" if dependencies is None else json.dumps({"dependencies": dependencies})
    fake = tmp_path / "fake_audit.py"
    fake.write_text(f"import sys\nprint({printed!r})\nprint('broken requirements', file=sys.stderr)\n")
    command = [sys.executable, str(ROOT / ".ci/audit"), "some.lock", "--", sys.executable, str(fake)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == status, done.stderr
    assert said in done.stderr


def test_an_audit_without_a_network_says_so_and_passes(tmp_path: Path) -> None:
    fake = tmp_path / "fake_audit.py"
    fake.write_text("import sys\nprint('ConnectionError: no route', file=sys.stderr)\nsys.exit(1)\n")
    command = [sys.executable, str(ROOT / ".ci/audit"), "some.lock", "--", sys.executable, str(fake)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, "was not checked" in done.stderr) == (0, True)
