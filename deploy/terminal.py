"""What people see of a command: its own lines and nothing else. What libraries print goes to a log file meanwhile."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from deploy.log_files import send_output_to
from shoal.runtime.logs import configure_logs

log = logging.getLogger("shoal.up")


class Terminal:
    """Standard output as it was when this was made."""

    def __init__(self) -> None:
        self._out = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1, encoding="utf-8", errors="replace")

    def say(self, line: str) -> None:
        """Tell people, and the log. That nobody reads any more must not end a cluster."""
        log.info(line)
        with contextlib.suppress(BrokenPipeError):
            print(line, file=self._out, flush=True)

    @contextlib.contextmanager
    def to_ourselves(self, file: Path, level: str) -> Iterator[None]:
        """For as long as the context lasts, whatever else this process prints goes to `file`, and so do logs of that level."""
        kept = os.dup(1), os.dup(2)
        send_output_to(file)
        configure_logs(level, "up")
        try:
            yield
        finally:
            logging.getLogger().handlers.clear()
            for number, copy in enumerate(kept, start=1):
                os.dup2(copy, number)
                os.close(copy)
