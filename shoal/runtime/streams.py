"""The standard streams of a process. They may be closed, full, or a terminal that is gone; the process must not end
because of that.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
from typing import TextIO


def open_streams() -> None:
    """Open the standard streams that are closed (`>&-`), so that no file or socket of ours gets their numbers.

    Call this before anything is opened. Writes to these streams fail, as on a full disk. At the end of the process,
    unwritten output is dropped: Python would try to write it again, fail, and exit with code 120.
    """
    atexit.register(_give_up_the_rest)
    for number, flags in enumerate((os.O_WRONLY, os.O_RDONLY, os.O_RDONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, flags), True)
    sys.stdin = sys.stdin or os.fdopen(0, "r", closefd=False)
    sys.stdout = sys.stdout or _writing(1)
    sys.stderr = sys.stderr or _writing(2)


def tell(line: str) -> None:
    """Write a line to standard error. Do nothing if that fails."""
    with contextlib.suppress(OSError):
        print(line, file=sys.stderr, flush=True)


def _give_up_the_rest() -> None:
    for number, stream in ((1, sys.stdout), (2, sys.stderr)):
        try:
            stream.flush()
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, number)
            os.close(nowhere)


def _writing(number: int) -> TextIO:
    return os.fdopen(number, "w", buffering=1, closefd=False, encoding="utf-8", errors="backslashreplace")
