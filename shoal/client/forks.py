"""What happens in a forked process: locks are free there, and objects that asked for it are told.

The state that a lock guards is the caller's concern.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class ForkLock:
    """A lock that is free in a forked process, even if another thread of the parent held it during the fork."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        _LOCKS.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    @contextmanager
    def within(self, timeout_s: float) -> Iterator[bool]:
        """Hold the lock in a `with` statement. Yields whether it was free within timeout_s seconds; else it is not
        held.
        """
        lock = self._lock
        held = lock.acquire(timeout=min(timeout_s, threading.TIMEOUT_MAX))
        try:
            yield held
        finally:
            if held:
                lock.release()

    def renew(self) -> None:
        """Release the lock, whoever holds it."""
        self._lock = threading.Lock()


class Forked(Protocol):
    """An object with something that a forked process must not share."""

    def in_child(self) -> None:
        """Give up what belongs to the parent. Called in the child, before any other thread can start there."""
        ...


def tell_forks(told: Forked) -> None:
    """Call `told.in_child()` in each process that is forked while `told` exists."""
    _TOLD.add(told)


_LOCKS: weakref.WeakSet[ForkLock] = weakref.WeakSet()
_TOLD: weakref.WeakSet[Forked] = weakref.WeakSet()


def _in_child() -> None:
    for lock in _LOCKS:
        lock.renew()
    for told in _TOLD:
        told.in_child()


# Runs in the child before any other thread can start there.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
