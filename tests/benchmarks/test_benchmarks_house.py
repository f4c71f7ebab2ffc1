"""The measure of the house on a house of three packages whose figures can be counted by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.house import House, circles, measure

SOURCES = {
    "roof/__init__.py": "",
    "roof/hall.py": "from roof.cellar import wine\nfrom . import attic\n\n\ndef enter():\n    return wine\n",
    "roof/attic.py": "from typing import TYPE_CHECKING as T\n\nif T:\n    from roof.hall import enter\n",
    "roof/cellar/__init__.py": "",
    "roof/cellar/wine.py": "def pour():\n    import roof.attic\n\n    def drink(): return 1\n",
    "roof/long.py": "x = 1\n" * 301,
    "shed.d/tools.py": "broken syntax, never read",
    "pyproject.toml": '[tool.hatch.build.targets.wheel]\npackages = ["roof"]\n',
}


@pytest.fixture
def house(tmp_path: Path) -> House:
    for name, text in SOURCES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return measure(tmp_path)


def test_files_and_functions_are_counted(house: House) -> None:
    assert (house.import_names, house.files, house.long_files) == (["roof"], 6, ["roof.long"])
    assert house.mean_lines == round((6 + 4 + 4 + 301) / 6, 1)
    assert (house.functions, house.function_lines_median, house.function_lines_longest) == (3, 2, 4)


def test_circles_count_late_and_type_checking_imports(house: House) -> None:
    assert house.module_circles == [["roof.attic", "roof.cellar.wine", "roof.hall"]]
    assert house.sibling_circles == [["roof.attic", "roof.cellar", "roof.hall"]]


def test_two_circles_are_not_one() -> None:
    graph = {"a": {"b"}, "b": {"a", "c"}, "c": {"d"}, "d": {"c"}, "e": {"e", "a"}}
    assert circles(graph) == [["a", "b"], ["c", "d"]]
