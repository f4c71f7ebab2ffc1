"""What the docs site adds to `docs/`: the pages at the repository's top, the decisions, links that lead on.

Links are written for readers of the repository. On the site those to pages at the top lead to their copies,
and those to source files become plain words.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
AT_THE_TOP = ("README.md", "SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md")
ICON = "api/static/icon.svg"
DECISIONS = "decisions/index.md"
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^()\s]+)\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that do not lie in `docs/`."""
    from mkdocs.structure.files import File

    for name in AT_THE_TOP:
        files.append(File.generated(config, name, abs_src_path=str(ROOT / name)))
    files.append(File.generated(config, "images/icon.svg", abs_src_path=str(ROOT / ICON)))
    files.append(File.generated(config, DECISIONS, content=decisions()))
    return files


def decisions() -> str:
    """A page that lists them by number, each with its heading."""
    lines = ["# Decisions", ""]
    for path in sorted((ROOT / "docs" / "decisions").glob("*.md")):
        heading = path.read_text(encoding="utf-8").splitlines()[0].lstrip("# ")
        lines.append(f"- [{heading}]({path.name})")
    return "\n".join(lines) + "\n"


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links that lead somewhere on the site."""
    at_top = page.file.src_uri in AT_THE_TOP
    here = "" if at_top else posixpath.join("docs", posixpath.dirname(page.file.src_uri))
    folder = posixpath.dirname(page.file.src_uri)
    known = {file.src_uri for file in files}

    def rewritten(match: re.Match[str]) -> str:
        bang, words, target = match.groups()
        led = led_to(target, here, folder, known)
        return words if led is None else f"{bang}[{words}]({led})"

    return _LINK.sub(rewritten, markdown)


def led_to(target: str, here: str, folder: str, known: set[str]) -> str | None:
    """Where a link of the repository leads on the site; None when to nothing that is on it.

    ``here``: the folder of its page in the repository, ``folder``: in the site, ``known``: the site's files.
    """
    if re.match(r"[a-z]+:|#", target):
        return target
    path, mark, anchor = target.partition("#")
    inside = posixpath.normpath(posixpath.join(here, path))
    inside = inside.removeprefix("docs/")
    inside = DECISIONS if inside == "decisions" else inside
    return posixpath.relpath(inside, folder or ".") + mark + anchor if inside in known else None
