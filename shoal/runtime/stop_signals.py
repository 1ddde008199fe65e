"""The signals that end a process: SIGINT, SIGTERM and SIGHUP. A separate thread receives them, from the first moment.

They are blocked in every thread, and child processes inherit this. So a signal to a whole process group or control
group does not end the processes directly: the process that was started first ends the others in order. Handlers that
libraries install (Ray does) are never called. This module imports little, so that it can be used before long imports.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable

ENDING = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})


def block_ending_signals() -> None:
    """Block the ending signals. Call this before exec: the StopSignals of the next program then receive them."""
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)


def unblock_ending_signals() -> None:
    """Unblock the ending signals, in a program without StopSignals that may have been started with them blocked."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)


def taken_signals(hangup_ignored: bool) -> frozenset[signal.Signals]:
    """Return the signals that end this process.

    An ignored SIGHUP does not: `nohup` ignores it, so that a command outlives its terminal.
    """
    return ENDING - {signal.SIGHUP} if hangup_ignored else ENDING


class StopSignals:
    """Knows whether this process was asked to end. Make it once, in the main thread, before any other thread starts."""

    def __init__(self) -> None:
        taken = taken_signals(signal.getsignal(signal.SIGHUP) is signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, taken)
        self._lock = threading.Lock()
        self._asked = threading.Event()
        self._tell: Callable[[], object] | None = None
        self._tell_again: Callable[[], object] | None = None
        threading.Thread(target=self._take, args=(taken,), name="signals", daemon=True).start()

    def asked(self) -> bool:
        """Return whether the process was asked to end."""
        return self._asked.is_set()

    def when_asked(self, tell: Callable[[], object]) -> None:
        """Call `tell` on another thread when the process is asked to end; call it now if it was asked before.

        Only the last function given is called.
        """
        with self._lock:
            self._tell = tell
            if not self._asked.is_set():
                return
        tell()

    def when_asked_again(self, tell: Callable[[], object]) -> None:
        """Call `tell` on another thread at each further signal. Only the last function given is called."""
        with self._lock:
            self._tell_again = tell

    def _take(self, taken: frozenset[signal.Signals]) -> None:
        signal.sigwait(taken)
        with self._lock:
            self._asked.set()
            tell = self._tell
        if tell is not None:
            tell()
        while True:
            signal.sigwait(taken)
            with self._lock:
                tell = self._tell_again
            if tell is not None:
                tell()
