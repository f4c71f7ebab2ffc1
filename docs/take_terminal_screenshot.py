"""A terminal session as it is, for the documents: ``python docs/take_terminal_screenshot.py [FILE.svg]``.

Indexes some of the shipped pictures with the shipped model on a terminal of its own, in a folder of its own
that goes afterwards, searches them from another folder, and writes what the terminal showed as SVG.
"""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import termios
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

ROOT = Path(__file__).parents[1]
OUT = ROOT / "docs" / "images" / "terminal.svg"
PICTURES = ROOT / "sightline" / "data" / "demo-collection" / "images"
COLUMNS, ROWS = 100, 60
FIRST, COUNT = 100, 60
COMMANDS = (
    "sightline index photos -c photos --model demo",
    "cd /",
    'sightline search "a red car and a blue house" -k 5',
    "sightline similar --id picture-151.webp -k 3",
    "sightline search boats -c fotos",
    "sightline jobs",
)
STYLES = re.compile(r"\x1b\[[0-9;]*m")
FONTS = re.compile(r"@font-face \{.*?\}\s*", re.S)
"""Fetched from elsewhere, which a picture of a document shall not be."""


def main() -> None:
    """Run the session and write the picture."""
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else OUT
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    with TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "photos").mkdir()
        for path in sorted(PICTURES.iterdir())[FIRST : FIRST + COUNT]:
            shutil.copy(path, home / "photos")
        where = home
        for command in COMMANDS:
            console.print(Text.assemble(("$ ", "bold green"), command))
            if command.startswith("cd "):
                where = Path(command[3:])
                continue
            console.print(Text.from_ansi(settled(session(command, where, home)).replace(str(home), "~")))
    drawn = console.export_svg(title="sightline", theme=MONOKAI)
    out.write_text(FONTS.sub("", drawn).replace("Fira Code, monospace", "monospace"), encoding="utf-8")


def session(command: str, where: Path, home: Path) -> str:
    """What a terminal is sent by a command."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("SIGHTLINE", "COLUMNS"))
    }
    own = {"HOME": str(home), "XDG_DATA_HOME": str(home / ".local" / "share"), "TERM": "xterm-256color"}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    process = subprocess.Popen(
        ["bash", "-c", command], cwd=where, env=kept | own | {"PATH": path},
        stdin=theirs, stdout=theirs, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    sent = b""
    try:
        while part := os.read(ours, 65536):
            sent += part
    except OSError:  # the other end is closed
        pass
    os.close(ours)
    process.wait()
    return sent.decode()


def settled(sent: str) -> str:
    """What is left on the screen: bars that were drawn over are gone. Knows what rich sends, no more."""
    lines, row = [""], 0
    for part in re.split(r"(\x1b\[[0-9;?]*[A-Za-z]|\n|\r)", sent):
        if part == "\n":
            row += 1
            lines.extend([""] * (row + 1 - len(lines)))
        elif part.endswith("K") and part.startswith("\x1b["):
            lines[row] = ""
        elif part.endswith("A") and part.startswith("\x1b["):
            row = max(0, row - int(part[2:-1] or 1))
        elif part and part != "\r" and (not part.startswith("\x1b") or STYLES.fullmatch(part)):
            lines[row] += part
    return "\n".join(line for line in lines if STYLES.sub("", line).strip())


if __name__ == "__main__":
    main()
