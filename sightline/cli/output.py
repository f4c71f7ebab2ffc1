"""How a command answers: an exit code, one JSON document with ``--json``, one sentence for an error."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, is_dataclass
from typing import TYPE_CHECKING, Any

from sightline.console import answers, remarks, unwritten
from sightline.errors import (
    ConflictError,
    InputError,
    LeaseLostError,
    NotFoundError,
    SightlineError,
    StorageError,
    UnavailableError,
)

if TYPE_CHECKING:
    from rich.progress import TaskID

    from sightline.types import OnProgress

OK = 0
PARTLY_FAILED = 1
BAD_INPUT = 2
NOT_FOUND = 3
CONFLICT = 4
UNAVAILABLE = 5

_EXIT_CODES: tuple[tuple[type[SightlineError], int], ...] = (
    (InputError, BAD_INPUT),
    (NotFoundError, NOT_FOUND),
    (ConflictError, CONFLICT),
    (LeaseLostError, CONFLICT),
    (UnavailableError, UNAVAILABLE),
)

_ESCAPED = {code: f"\\u{code:04x}" for code in range(127, 160)}
"""Characters that command a terminal and that JSON leaves as they are."""


def exit_code(error: SightlineError) -> int:
    """The exit status that an error ends a command with; what is stored wrongly counts as partly failed."""
    return next((code for kind, code in _EXIT_CODES if isinstance(error, kind)), PARTLY_FAILED)


def print_json(answer: Any) -> None:
    """Write one JSON document to stdout."""
    plain = asdict(answer) if is_dataclass(answer) and not isinstance(answer, type) else answer
    text = json.dumps(plain, ensure_ascii=_only_ascii(), indent=2, default=_plain)
    sys.stdout.write(text.translate(_ESCAPED) + "\n")


def print_line(answer: Mapping[str, Any]) -> None:
    """Write one line of JSON to stdout."""
    sys.stdout.write(json.dumps(answer, ensure_ascii=_only_ascii()).translate(_ESCAPED) + "\n")


def print_error(error: SightlineError, *, as_json: bool) -> None:
    """One sentence on stderr, or the same as the JSON document; on stderr too when that cannot be written."""
    if as_json:
        with suppress(OSError):
            print_json({"error": {"code": error.code, "message": str(error)}})
        if unwritten(sys.stdout) is None:
            return
    console = remarks()
    with suppress(OSError):
        console.print("[bold red]error:[/]", end=" ")
        console.print(str(error), markup=False, soft_wrap=True)
    unwritten(sys.stderr)


def answer_fault(*, lost: bool = False) -> StorageError | None:
    """What is to be said when the answer did not reach stdout: a full disk, say.

    None also when nobody reads it any more. ``lost``: something was not written, perhaps there: a long text
    that is refused is not kept for another try, so an empty line tries.
    """
    error = unwritten(sys.stdout, "\n" if lost else "")
    if error is None or isinstance(error, BrokenPipeError):
        return None
    return StorageError(f"The answer cannot be written to the standard output: {error.strerror}.")


def print_failures(errors: Iterable[Mapping[str, str]]) -> None:
    """A line for each image that failed, and why."""
    for one in errors:
        line = " ".join(f"  {one['id']}: {one['reason']}: {one['detail']}".split("\n"))
        answers().print(line, markup=False, soft_wrap=True)


@contextmanager
def progress() -> Iterator[OnProgress]:
    """A bar for each stage, on a terminal only."""
    from sightline.cli.bars import progress_bars

    with progress_bars() as bars:
        tasks: dict[str, TaskID] = {}

        def show(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done, total=total)

        yield show


def _only_ascii() -> bool:
    """Whether the stream cannot take every letter: escapes of JSON lose none."""
    return not (sys.stdout.encoding or "").lower().replace("-", "").startswith("utf8")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return str(value)
