"""Runs a role as a plain process: start it on uvloop, serve until a signal or a failure, stop it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from functools import partial
from typing import Protocol, runtime_checkable

import uvloop

from shoal.core.errors import ShoalError
from shoal.runtime.interpreter import settle_interpreter
from shoal.runtime.logs import event
from shoal.runtime.stop_signals import StopSignals
from shoal.runtime.streams import tell

log = logging.getLogger("shoal.role")


class Role(Protocol):
    """A coordinator, worker or router. Any process can host it."""

    async def start(self) -> None:
        """Begin to serve. May wait for the store. Raises ShoalError if it can never serve."""
        ...

    async def failed(self) -> None:
        """Wait until the role cannot go on, and raise the reason. Never returns."""
        ...

    async def stop(self) -> None:
        """End cleanly. May also be called after a failed start."""
        ...


@runtime_checkable
class HastenedRole(Protocol):
    """A role whose `stop` does something that others gain by, and that can be left out."""

    def hasten(self) -> None:
        """Let `stop`, which may be under way, end as soon as it can."""
        ...


def run_role(make: Callable[[], Role], stop: StopSignals) -> int:
    """Host one role until a signal ends it.

    Returns the exit code: 0 after a signal, 1 after an error (one line on stderr).
    """
    settle_interpreter()
    try:
        uvloop.run(_until_signal(make, stop))
    except ShoalError as error:
        tell(f"error: {error.message}")
        return 1
    return 0


async def host_role(make: Callable[[], Role], asked: asyncio.Event, again: asyncio.Event | None = None) -> None:
    """Host one role until `asked` is set, then stop it, and hasten that when `again` is set. If the role fails, stop it
    and raise its error.
    """
    role = make()
    waiting = asyncio.create_task(asked.wait())
    serving = asyncio.create_task(_served(role))
    try:
        await asyncio.wait({waiting, serving}, return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            serving.result()
        log.info(event("stopping"))
    finally:
        serving.cancel()
        waiting.cancel()
        await asyncio.gather(serving, waiting, return_exceptions=True)
        await _stop(role, again)


async def _stop(role: Role, again: asyncio.Event | None) -> None:
    if again is None or not isinstance(role, HastenedRole):
        await role.stop()
        return
    stopping, waiting = asyncio.create_task(role.stop()), asyncio.create_task(again.wait())
    await asyncio.wait({stopping, waiting}, return_when=asyncio.FIRST_COMPLETED)
    if not stopping.done():
        role.hasten()
    waiting.cancel()
    await stopping


async def _until_signal(make: Callable[[], Role], stop: StopSignals) -> None:
    asked, again = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    stop.when_asked(partial(_set_from_outside, loop, asked))
    stop.when_asked_again(partial(_set_from_outside, loop, again))
    await host_role(make, asked, again)


def _set_from_outside(loop: asyncio.AbstractEventLoop, said: asyncio.Event) -> None:
    # A signal may come when the loop has just ended.
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(said.set)


async def _served(role: Role) -> None:
    await role.start()
    await role.failed()
