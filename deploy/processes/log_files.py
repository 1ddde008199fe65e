"""Log files of processes: appended to, and put aside when they have grown large by the time a process starts."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import BinaryIO

LARGE_BYTES = 16 * 1024 * 1024


def opened_log(file: Path) -> BinaryIO:
    """The log file, open for appending. One larger than LARGE_BYTES is renamed to <name>.1 first, over an older one."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.exists() and file.stat().st_size > LARGE_BYTES:
        file.replace(file.with_name(file.name + ".1"))
    return file.open("ab")


def send_output_to(file: Path) -> None:
    """Let this process write what it prints, and what libraries print when they crash, to the log file."""
    with opened_log(file) as log:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
