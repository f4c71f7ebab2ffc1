"""The docs site and the hooks before a commit: nothing is left out, and one version of each tool."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
SITE = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def hooks() -> ModuleType:
    import importlib.util

    spec = importlib.util.spec_from_file_location("site_hooks", ROOT / "docs" / "site_hooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pages(nav: Any) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    inside = nav.values() if isinstance(nav, dict) else nav
    return [page for one in inside for page in pages(one)]


def test_every_page_of_the_docs_is_reached_from_the_sites_menu(hooks: ModuleType) -> None:
    written = {path.name for path in (ROOT / "docs").glob("*.md")} | set(hooks.AT_THE_TOP)
    assert sorted(pages(SITE["nav"])) == sorted(written | {hooks.DECISIONS})


@pytest.mark.parametrize(
    ("target", "here", "folder", "led"),
    [
        ("cli.md#search", "docs", "", "cli.md#search"),
        ("../SECURITY.md", "docs", "", "SECURITY.md"),
        ("docs/cli.md", "", "", "cli.md"),
        ("docs/decisions/", "", "", "decisions/index.md"),
        ("../cli.md", "docs/decisions", "decisions", "../cli.md"),
        ("../../SECURITY.md", "docs/decisions", "decisions", "../SECURITY.md"),
        ("../sightline/errors.py", "docs", "", None),
        ("https://example.org/a", "docs", "", "https://example.org/a"),
        ("#here", "docs", "", "#here"),
    ],
)
def test_a_link_of_the_repository_leads_to_the_same_page_of_the_site(
    hooks: ModuleType, target: str, here: str, folder: str, led: str | None
) -> None:
    known = {"cli.md", "SECURITY.md", "decisions/index.md"}
    assert hooks.led_to(target, here, folder, known) == led


def test_what_looks_at_a_commit_is_what_lints() -> None:
    asked = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    (pinned,) = re.findall(
        r"^ruff==\S+$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert set(re.findall(r"ruff==[^\]\s]+", asked)) == {pinned}
