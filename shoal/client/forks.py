"""Locks that survive a fork. Refuses to care for what they guard."""

from __future__ import annotations

import os
import threading
import weakref


class ForkLock:
    """A lock that a forked process finds open, also when another thread of its parent held it at that moment."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        _LOCKS.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def renew(self) -> None:
        """Open it, whoever held it."""
        self._lock = threading.Lock()


_LOCKS: weakref.WeakSet[ForkLock] = weakref.WeakSet()


def _renew_all() -> None:
    for lock in _LOCKS:
        lock.renew()


# In the child, before any other thread can run there.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)
