"""The signals that end a process: SIGINT, SIGTERM and SIGHUP, taken by a thread of their own from the first moment on.

They are blocked in every thread, which what this process starts inherits: a signal to a whole group or control group
ends nothing by itself, and the process that was started first ends the others in order. Libraries that install handlers
(Ray does) have none called. Imports little, so that it can be made before what takes long to import.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable

ENDING = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})


def block_ending_signals() -> None:
    """Let them wait: for the StopSignals of the program that this process is about to become."""
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)


def unblock_ending_signals() -> None:
    """For a program without StopSignals that may have been started with them blocked."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)


def taken_signals(hangup_ignored: bool) -> frozenset[signal.Signals]:
    """Signals that end this process.

    An ignored SIGHUP is none: `nohup` ignores it, so that a command outlives its terminal.
    """
    return ENDING - {signal.SIGHUP} if hangup_ignored else ENDING


class StopSignals:
    """Whether this process was asked to end. To be made once, by the main thread, before there is any other."""

    def __init__(self) -> None:
        taken = taken_signals(signal.getsignal(signal.SIGHUP) is signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, taken)
        self._lock = threading.Lock()
        self._asked = threading.Event()
        self._tell: Callable[[], object] | None = None
        threading.Thread(target=self._take, args=(taken,), name="signals", daemon=True).start()

    def asked(self) -> bool:
        """Whether to end."""
        return self._asked.is_set()

    def when_asked(self, tell: Callable[[], object]) -> None:
        """Call this once we are asked, on another thread, or now when we were already. The last one given counts."""
        with self._lock:
            self._tell = tell
            if not self._asked.is_set():
                return
        tell()

    def _take(self, taken: frozenset[signal.Signals]) -> None:
        signal.sigwait(taken)
        with self._lock:
            self._asked.set()
            tell = self._tell
        if tell is not None:
            tell()
        while True:
            signal.sigwait(taken)
