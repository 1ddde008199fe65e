"""Hosts a role on a thread and an event loop of its own, so that whatever owns the process's main thread never delays
it.

Owns the thread, and the word on how the role ended. Knows neither Ray nor any particular role.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

import uvloop

from shoal.core.errors import DataLoss, PreconditionFailed, ShoalError
from shoal.runtime.logs import event
from shoal.runtime.role import Role, host_role

log = logging.getLogger("shoal.role")


@dataclass(frozen=True, kw_only=True, slots=True)
class RoleEnd:
    """How a role ended. message: why, in one line; final: starting it again cannot help."""

    message: str
    final: bool


STOPPED = RoleEnd(message="stopped", final=False)


class RoleThread:
    """One role on one thread. Its methods may be called from any other thread."""

    def __init__(self, make: Callable[[], Role]) -> None:
        """make: called on the thread, its loop running."""
        self._make = make
        self._end: RoleEnd | None = None
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._asked = False
        self._wake: Callable[[], None] | None = None
        self._thread = threading.Thread(target=self._run, name="role", daemon=True)

    def start(self) -> None:
        """Begin to host the role. Returns at once."""
        self._thread.start()

    def wait(self, timeout_s: float) -> RoleEnd | None:
        """How the role ended, after at most timeout_s seconds; None while it runs."""
        self._ended.wait(timeout_s)
        return self._end

    def stop(self, timeout_s: float) -> bool:
        """Ask the role to end cleanly. Returns whether it did so within timeout_s seconds."""
        with self._lock:
            self._asked = True
            if self._wake is not None:
                self._wake()
        return self._ended.wait(timeout_s)

    def _run(self) -> None:
        try:
            uvloop.run(self._host())
            self._end = STOPPED
        except ShoalError as error:
            log.error(event("role_failed", reason=error.message))
            self._end = RoleEnd(message=error.message, final=isinstance(error, PreconditionFailed | DataLoss))
        except Exception as error:
            log.exception(event("role_failed", reason=error))
            self._end = RoleEnd(message=f"{type(error).__name__}: {error}", final=False)
        finally:
            self._ended.set()

    async def _host(self) -> None:
        asked = asyncio.Event()
        loop = asyncio.get_running_loop()
        with self._lock:
            self._wake = lambda: _set_from_outside(loop, asked)
            if self._asked:
                asked.set()
        await host_role(self._make, asked)


def _set_from_outside(loop: asyncio.AbstractEventLoop, asked: asyncio.Event) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(asked.set)
