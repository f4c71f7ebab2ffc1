"""A supervised process ends when its supervisor does, even one that was killed with -9.

The supervisor keeps the write end of a pipe and hands each child the read end; the kernel closes the write
end with the supervisor, whatever ended it, and the child then stops as on SIGTERM.
"""

from __future__ import annotations

import os
import signal
import threading

VARIABLE = "SIGHTLINE_LIFELINE_FD"


def watch() -> None:
    """In a child: from now on, SIGTERM ourselves when the supervisor is gone. Nothing when unsupervised."""
    handed = os.environ.pop(VARIABLE, None)
    if handed is not None:
        threading.Thread(target=_wait_for_the_end, args=(int(handed),), daemon=True, name="lifeline").start()


def _wait_for_the_end(read_end: int) -> None:
    try:
        while os.read(read_end, 1):
            pass
    except OSError:
        return  # not a descriptor of ours: the variable came from somewhere else
    os.kill(os.getpid(), signal.SIGTERM)
