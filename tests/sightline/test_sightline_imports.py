"""Commands that need no model do not pay for one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "transformers", "faiss")
SHOW = (
    "import sys, sightline.cli.main as c; "
    "code = c.run({arguments!r}); print(code, *sys.modules, file=sys.stderr)"
)


def loaded_by(*arguments: str) -> tuple[int, set[str]]:
    """The exit code of a command, and the top-level modules that its process had imported."""
    program = SHOW.format(arguments=list(arguments))
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    code, *modules = done.stderr.splitlines()[-1].split()
    return int(code), {name.split(".")[0] for name in modules}


@pytest.mark.parametrize("command", ["collections", "jobs", "migrate"])
def test_looking_at_the_catalog_imports_no_model_and_no_index(command: str, tmp_path: Path) -> None:
    if command != "migrate":
        loaded_by("migrate", "--data", str(tmp_path))
    code, modules = loaded_by(command, "--data", str(tmp_path))
    assert code == 0
    assert "sqlalchemy" in modules
    assert modules.isdisjoint(HEAVY)


def test_help_imports_nothing_of_ours_that_works() -> None:
    code, modules = loaded_by("--help")
    assert code == 0
    assert modules.isdisjoint({*HEAVY, "sqlalchemy", "celery", "fastapi", "PIL", "numpy"})


def test_the_records_of_a_search_are_read_without_numpy_and_pydantic() -> None:
    program = "import sys, sightline.records; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    modules = {name.split(".")[0] for name in done.stdout.split()}
    assert modules.isdisjoint({*HEAVY, "numpy", "pydantic"})


def test_importing_the_reranker_pulls_in_neither_sql_nor_faiss() -> None:
    program = "import sys, sightline.reranker.reranker; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True, timeout=120
    )
    modules = {name.split(".")[0] for name in done.stdout.split()}
    assert modules.isdisjoint({"sqlalchemy", "alembic", "faiss", "celery", "fastapi", "transformers"})
