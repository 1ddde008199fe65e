"""The output of a command: its own lines only. The output of libraries goes to a log file.

The terminal may be gone, the disk full, or the reader slow. So a separate thread writes, no other thread waits for it,
and the log file has every line.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import select
import threading
from collections.abc import Iterator
from pathlib import Path

from shoal.deploy.processes.log_files import send_output_to
from shoal.runtime.logs import configure_logs, event

log = logging.getLogger("shoal.up")

CLOSE_TIMEOUT_S = 2.0
"""Time in seconds for a slow reader to read the last lines."""

_LINES_WAITING = 1_000


class Terminal:
    """Writes to the standard output that the process had when this was made.

    As a context, it waits at its end for the last lines, for at most CLOSE_TIMEOUT_S.
    """

    def __init__(self) -> None:
        self._out = os.dup(1)
        self._lines: queue.Queue[str | None] = queue.Queue(_LINES_WAITING)
        self._lost = 0
        self._writer = threading.Thread(target=self._write_all, name="terminal", daemon=True)
        self._writer.start()

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(queue.Full):
            self._lines.put_nowait(None)
        self._writer.join(CLOSE_TIMEOUT_S)

    def say(self, line: str) -> None:
        """Print a line and log it. Returns at once. A terminal that cannot be written is no error."""
        log.info(line)
        with contextlib.suppress(queue.Full):
            self._lines.put_nowait(line)

    @contextlib.contextmanager
    def to_ourselves(self, file: Path, level: str) -> Iterator[None]:
        """Send all other output of this process, and logs of that level, to `file` within the context."""
        kept = os.dup(1), os.dup(2)
        try:
            send_output_to(file)
            configure_logs(level, "up")
            yield
        finally:
            logging.getLogger().handlers[:] = [logging.NullHandler()]
            for number, copy in enumerate(kept, start=1):
                os.dup2(copy, number)
                os.close(copy)

    def _write_all(self) -> None:
        while (line := self._lines.get()) is not None:
            try:
                _write(self._out, f"{line}\n".encode(errors="replace"))
            except OSError as error:
                if not self._lost:
                    log.warning(event("output_lost", reason=error.strerror, action="go on; this log has every line"))
                self._lost += 1
            else:
                if self._lost:
                    log.info(event("output_is_back", lines_not_shown=self._lost))
                self._lost = 0


def _write(descriptor: int, text: bytes) -> None:
    """Write the whole text. Raises OSError."""
    while text:
        try:
            text = text[os.write(descriptor, text) :]
        except BlockingIOError:
            select.select([], [descriptor], [])
