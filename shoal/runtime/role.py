"""Runs a role as a plain process: start it on uvloop, serve until a signal or a failure, stop it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

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


async def host_role(make: Callable[[], Role], asked: asyncio.Event) -> None:
    """Host one role until `asked` is set, then stop it. If the role fails, stop it and raise its error."""
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
        await role.stop()


async def _until_signal(make: Callable[[], Role], stop: StopSignals) -> None:
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    stop.when_asked(lambda: loop.call_soon_threadsafe(asked.set))
    await host_role(make, asked)


async def _served(role: Role) -> None:
    await role.start()
    await role.failed()
