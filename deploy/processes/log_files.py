"""Log files of processes. A process appends to its file; if the file is large at the start, it is renamed first."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import BinaryIO

LARGE_BYTES = 16 * 1024 * 1024


def opened_log(file: Path) -> BinaryIO:
    """Open the log file for appending, and return it.

    A file larger than LARGE_BYTES is renamed to <name>.1 first, which replaces an older file of that name.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.exists() and file.stat().st_size > LARGE_BYTES:
        file.replace(file.with_name(file.name + ".1"))
    return file.open("ab")


def send_output_to(file: Path) -> None:
    """Send standard output and standard error of this process to the log file, also the output of a crash."""
    with opened_log(file) as log:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
