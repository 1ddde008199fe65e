"""Hosts a role on its own thread and event loop, so that the owner of the process's main thread never delays it.

It owns the thread and records how the role ended. It knows neither Ray nor a particular role.
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
    """How a role ended. message: the reason, in one line. final: a new start cannot help."""

    message: str
    final: bool


STOPPED = RoleEnd(message="stopped", final=False)


class RoleThread:
    """One role on one thread. Its methods may be called from any other thread."""

    def __init__(self, make: Callable[[], Role]) -> None:
        """make: makes the role. It is called on the thread, inside the running event loop."""
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
        """Wait for the end of the role, at most timeout_s seconds. Returns how it ended, None if it still runs."""
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
