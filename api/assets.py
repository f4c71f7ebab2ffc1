"""The page's own files, at addresses that name their version, so that a browser asks for each of them once.

``/static/VERSION/sightline.js``: the version is a folder, so that what a module imports and what a style
sheet names stay relative, and are of the same version.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

DIGITS: Final = 12
VERSION: Final = re.compile(rf"[0-9a-f]{{{DIGITS}}}")
FOR_EVER: Final = "public, max-age=31536000, immutable"
ASK_AGAIN: Final = "no-cache"
IMPORT: Final = re.compile(r"""^import\s(?:[^;]*?\sfrom\s)?"\./([\w.-]+)";""", re.MULTILINE)


class Assets(StaticFiles):
    """Serves a folder. Under its present version a file may be kept for ever, under any other address not:
    while servers of two versions stand behind one name, either may be asked for what the other's page names.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(directory=folder)
        self.version = version_of(folder)
        scripts = {
            path.name: IMPORT.findall(path.read_text(encoding="utf-8")) for path in folder.glob("*.js")
        }
        self._modules = {name: _reached(name, scripts) for name in scripts}

    async def get_response(self, path: str, scope: Scope) -> Response:
        """As the framework's, with what may be kept."""
        head, _, rest = path.partition(os.sep)
        versioned = VERSION.fullmatch(head) is not None
        answer = await super().get_response(rest if versioned else path, scope)
        answer.headers["Cache-Control"] = FOR_EVER if head == self.version else ASK_AGAIN
        return answer

    def context(self, root: str) -> dict[str, Any]:
        """For templates: ``static``, where the files are below a proxy's prefix, and ``modules_of(script)``,
        what a script imports: a browser that is told loads all of them at once.
        """
        return {"static": f"{root}/static/{self.version}", "modules_of": self.modules_of}

    def modules_of(self, script: str) -> list[str]:
        """The modules that a script imports, and those that these import."""
        return self._modules[script]


def _reached(script: str, imports: Mapping[str, Sequence[str]]) -> list[str]:
    found, waiting = {script}, [script]
    while waiting:
        new = set(imports[waiting.pop()]) - found
        found |= new
        waiting += new
    return sorted(found - {script})


def version_of(folder: Path) -> str:
    """SHA-256 over the names and bytes of all files of a folder, its first digits."""
    seen = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        data = path.read_bytes()
        seen.update(f"{path.relative_to(folder).as_posix()}\n{len(data)}\n".encode())
        seen.update(data)
    return seen.hexdigest()[:DIGITS]
