"""Entry point of the `shoal` program.

The import of the command tree takes long. Ctrl-C is answered in one line during that time, too.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import NoReturn

from shoal.runtime.streams import open_streams

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells define it."""

INTERRUPTED_LINE = "error: interrupted; run it again to go on, nothing is done twice\n"
ENDED_LINE = "error: ended at once by the second Ctrl-C; what was under way may be done in part, run it again to go on\n"


def main() -> NoReturn:
    """Run the command line and exit."""
    if _is_taken():
        signal.signal(signal.SIGINT, _end_at_once)
    open_streams()
    from shoal.cli.main import main as run

    if _is_taken():
        signal.signal(signal.SIGINT, _interrupt)
    try:
        run()
    except KeyboardInterrupt:
        _end_at_once()
    finally:
        if _is_taken():
            signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
    sys.exit(0)


def _is_taken() -> bool:
    """Return whether this process is to react to Ctrl-C. A shell makes background processes ignore it."""
    return signal.getsignal(signal.SIGINT) is not signal.SIG_IGN


def _interrupt(*_: object) -> NoReturn:
    """Leave the command in order. A second Ctrl-C ends the process at once."""
    signal.signal(signal.SIGINT, _end_at_second)
    raise KeyboardInterrupt


def _end_at_second(*_: object) -> NoReturn:
    _end(ENDED_LINE)


def _end_at_once(*_: object) -> NoReturn:
    _end(INTERRUPTED_LINE)


def _end(line: str) -> NoReturn:
    try:
        os.write(2, line.encode())
    finally:
        os._exit(INTERRUPTED)


if __name__ == "__main__":
    main()
