"""Waiting for a condition, and for what a watch says, with a bound."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from shoal.core.errors import Unavailable
from shoal.store.interface import Delta, Listed, Watch

PATIENCE_S = 20.0


async def eventually(condition: Callable[[], Awaitable[object]], patience_s: float = PATIENCE_S) -> None:
    """Return when the condition is true. A store that does not answer counts as not yet."""
    async with asyncio.timeout(patience_s):
        while not await _true(condition):  # noqa: ASYNC110 - what is waited for happens in another process
            await asyncio.sleep(0.02)


async def _true(condition: Callable[[], Awaitable[object]]) -> bool:
    try:
        return bool(await condition())
    except Unavailable:
        return False


async def heard(watch: Watch, patience_s: float = PATIENCE_S) -> Listed | Delta:
    """What the watch says next."""
    return await asyncio.wait_for(anext(watch), patience_s)


async def connected(watch: Watch) -> None:
    """Return when the watch is connected."""

    async def is_connected() -> bool:
        return watch.connected

    await eventually(is_connected)


async def disconnected(watch: Watch) -> None:
    """Return when the watch says it is not connected."""

    async def is_disconnected() -> bool:
        return not watch.connected

    await eventually(is_disconnected)


class Replica:
    """What a reader of a watch believes the store holds; and a record of how it came to believe it."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}
        self.revisions: list[int] = []
        self.listings = 0

    def absorb(self, said: Listed | Delta) -> None:
        self.revisions.append(said.revision)
        match said:
            case Listed(entries=entries):
                self.listings += 1
                self.values = {entry.key: entry.value for entry in entries}
            case Delta(changed=changed, deleted=deleted):
                self.values.update({entry.key: entry.value for entry in changed})
                for key in deleted:
                    self.values.pop(key, None)

    async def follow(self, watch: Watch, until: Callable[[dict[str, bytes]], bool]) -> None:
        """Absorb what the watch says until the values are as wanted."""
        while not until(self.values):
            self.absorb(await heard(watch))

    async def read(self, watch: Watch) -> None:
        """Absorb all that the watch says, until cancelled."""
        async for said in watch:
            self.absorb(said)

    async def grown_to(self, size: int) -> None:
        """Return when that many keys are known."""

        async def grown() -> bool:
            return len(self.values) >= size

        await eventually(grown)
