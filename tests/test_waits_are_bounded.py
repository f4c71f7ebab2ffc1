"""No test waits without a bound of its own, and none forks: a hang must end as a failure that names itself.

Read from the source of the tests: a wait that may last for ever is a call of one of the names below without
its timeout.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
NEEDS_TIMEOUT = {
    "communicate": 1,
    "join": 0,
    "map": 99,
    "result": 0,
    "wait": 0,
    "run": 99,
    "check_output": 99,
    "urlopen": 2,
    "create_connection": 1,
    "Barrier": 2,
}
"""Method or function → the place of its timeout among positional arguments (99: by keyword only)."""
OWNERS = {"run": {"subprocess"}, "check_output": {"subprocess"}, "map": {"pool"}}
"""Names too common to be looked at on every object."""
NEVER = {
    "readline": "Read with tests.children.read_line.",
    "fork": "Start sys.executable: a fork after threads may hang.",
    "forkpty": "Start sys.executable: a fork after threads may hang.",
}
"""Calls for which there is no bound."""
COMPUTES = {"meter", "FidelityMeter()"}
"""Objects whose ``result()`` waits for nobody."""


def unbounded(source: str) -> Iterator[str]:
    """``line: what is wrong`` for every wait without a bound."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.While) and isinstance(node.test, ast.Constant) and not _ends(node):
            yield f"{node.lineno}: while True without a deadline"
        if isinstance(node, ast.Call):
            yield from _wrong_call(node)


def _wrong_call(call: ast.Call) -> Iterator[str]:
    name, owner = _name(call.func)
    if name in NEVER:
        yield f"{call.lineno}: {name}(). {NEVER[name]}"
    if name not in NEEDS_TIMEOUT or owner not in OWNERS.get(name, {owner}) or owner in COMPUTES:
        return
    if name == "join" and call.args:  # words, not threads
        return
    named = {"timeout", "seconds"} & {word.arg for word in call.keywords}
    if not named and len(call.args) <= NEEDS_TIMEOUT[name]:
        yield f"{call.lineno}: {name}() without a timeout"


def _name(function: ast.expr) -> tuple[str, str]:
    if isinstance(function, ast.Attribute):
        return function.attr, ast.unparse(function.value)
    return (function.id, "") if isinstance(function, ast.Name) else ("", "")


def _ends(loop: ast.While) -> bool:
    """Whether a deadline is looked at in the loop."""
    return any(isinstance(node, ast.Name) and node.id == "deadline" for node in ast.walk(loop))


@pytest.mark.parametrize("path", sorted(TESTS.rglob("*.py")), ids=lambda path: path.stem)
def test_no_wait_without_a_bound(path: Path) -> None:
    assert list(unbounded(path.read_text())) == []


@pytest.mark.parametrize(
    ("source", "wrong"),
    [
        ("process.wait()", 1),
        ("process.wait(5)", 0),
        ("thread.join(); ', '.join(words); thread.join(timeout=3)", 1),
        ("subprocess.run(['a'], check=True)", 1),
        ("subprocess.run(['a'], timeout=9)\nbuilder.run(stop)", 0),
        ("stream.readline()\nos.fork()", 2),
        ("while True:\n    pass", 1),
        ("while True:\n    assert time.monotonic() < deadline", 0),
        ("urlopen('http://x', timeout=2)\nurlopen('http://x')\nBarrier(2)", 2),
    ],
)
def test_it_finds_what_waits_for_ever(source: str, wrong: int) -> None:
    assert len(list(unbounded(source))) == wrong
