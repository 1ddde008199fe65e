"""Locks that can be used after a fork. The state that they guard is the caller's concern."""

from __future__ import annotations

import os
import threading
import weakref


class ForkLock:
    """A lock that is free in a forked process, even if another thread of the parent held it during the fork."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        _LOCKS.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def renew(self) -> None:
        """Release the lock, whoever holds it."""
        self._lock = threading.Lock()


_LOCKS: weakref.WeakSet[ForkLock] = weakref.WeakSet()


def _renew_all() -> None:
    for lock in _LOCKS:
        lock.renew()


# Runs in the child before any other thread can start there.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)
