"""How long the writes of a shard wait when this worker hands it over: from the moment in which it leads no more until
it has the first record of the new primary, which serves then.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping

from shoal.core.ids import ShardId
from shoal.core.shard_calls import HandOverTime
from shoal.core.shard_config import ShardConfig
from shoal.shard_worker.replica.replica import Replica

LOOK_S, LOOK_SHARE = 0.005, 0.05
"""Pause between two looks at the log, in seconds and as a share of the time so far, whichever is longer. A time is too
long by at most as much."""

MOST_S = 30.0
"""After so many seconds a hand-over is not looked at any more, and has no time: the new primary did not begin."""

MOST_KEPT = 1_024
"""Shards whose last times are kept."""


class HandOverTimes:
    """The last time of each shard. Used on the event loop.

    took: called with each time, in seconds. clock: monotonic, in seconds; wall_ms: the time in ms since 1970.
    """

    def __init__(
        self,
        *,
        took: Callable[[float], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
        wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._took, self._clock, self._wall_ms = took, clock, wall_ms
        self._kept: dict[ShardId, HandOverTime] = {}
        self._looking: set[asyncio.Task[None]] = set()

    def newest(self) -> Mapping[str, HandOverTime]:
        """Return the last time of each shard, by "collection id/number"."""
        return {str(shard): each for shard, each in self._kept.items()}

    def now(self) -> float:
        """Return the time of the clock, for `measure`."""
        return self._clock()

    def measure(self, shard: ShardId, began: float, follows: Callable[[], bool | None]) -> None:
        """Take the time from `began` until `follows` returns True. It returns None once it never will."""
        task = asyncio.create_task(self._measured(shard, began, follows))
        self._looking.add(task)
        task.add_done_callback(self._looking.discard)

    async def _measured(self, shard: ShardId, began: float, follows: Callable[[], bool | None]) -> None:
        while (followed := follows()) is False:
            passed_s = self._clock() - began
            if passed_s > MOST_S:
                return
            await asyncio.sleep(max(LOOK_S, LOOK_SHARE * passed_s))
        if followed is None:
            return
        seconds = self._clock() - began
        self._took(seconds)
        self._kept.pop(shard, None)
        self._kept[shard] = HandOverTime(seconds=seconds, ended_ms=self._wall_ms())
        if len(self._kept) > MOST_KEPT:
            del self._kept[next(iter(self._kept))]

    def close(self) -> None:
        """Look at no hand-over any more."""
        for task in self._looking:
            task.cancel()


def follows(open_replicas: Mapping[ShardId, Replica], replica: Replica, config: ShardConfig) -> bool | None:
    """Return whether a replica has a record of the term of `config`; None if it is closed or has failed."""
    if open_replicas.get(config.shard) is not replica or replica.failure is not None:
        return None
    return replica.log_end[0] >= config.term
