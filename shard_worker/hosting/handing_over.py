"""Hands over the shards that a worker leads before the worker ends, so that writes do not wait for an election."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from functools import partial

from shoal.core.cluster_map import ClusterMap
from shoal.core.ids import ReplicaId, ShardId, Term, WorkerId
from shoal.core.shard_config import ShardEntry, leads
from shoal.runtime.logs import event
from shoal.shard_worker.hosting.assignments import Assignments
from shoal.shard_worker.hosting.host import Host
from shoal.shard_worker.hosting.membership import Membership
from shoal.shard_worker.logic.handing_over import successors
from shoal.shard_worker.logic.hosting import HandOver, hand_over_to

log = logging.getLogger("shoal.worker.handing_over")

MOST_S = 5.0
"""Longest time for all hand-overs together. What is not handed over by then is elected anew, as after a crash."""

AT_ONCE = 16
LOOK_S = 0.01


class HandingOver:
    """The last thing that a worker does while it is still registered. cluster: returns the newest map."""

    def __init__(
        self, *, host: Host, assignments: Assignments, membership: Membership, me: WorkerId, cluster: Callable[[], ClusterMap]
    ) -> None:
        self._host, self._assignments, self._membership = host, assignments, membership
        self._me, self._cluster = me, cluster
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def run(self, hurried: asyncio.Event) -> None:
        """Hand over every shard that this worker leads and another one can lead, several at the same time.

        Returns when the others lead, and in any case after MOST_S or when `hurried` is set.
        """
        if not self._membership.held_now(self._membership.registration):
            return
        began = time.monotonic()
        chosen = successors(self._cluster(), self._me, self._led())
        working = asyncio.create_task(self._hand_over_all(chosen))
        waiting = asyncio.create_task(hurried.wait())
        try:
            await asyncio.wait({working, waiting}, timeout=MOST_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            working.cancel()
            waiting.cancel()
            outcome, _ = await asyncio.gather(working, waiting, return_exceptions=True)
        if isinstance(outcome, Exception):
            log.error(event("hand_over_failed", reason=f"{type(outcome).__name__}: {outcome}"))
        left = len(self._led())
        log.info(event("primaries_handed_over", chosen=len(chosen), left=left, seconds=f"{time.monotonic() - began:.2f}"))

    def _led(self) -> list[ShardId]:
        """Return the shards that open replicas of this worker lead, as far as they know."""
        led: list[ShardId] = []
        for shard, replica in self._host.open.items():
            entry = self._cluster().shards.get(shard)
            is_elected = entry is not None and leads(entry.config, replica.id, self._membership.registration)
            if is_elected and replica.failure is None and replica.idle_term is None:
                led.append(shard)
        return led

    async def _hand_over_all(self, chosen: Mapping[ShardId, ReplicaId]) -> None:
        await asyncio.gather(*(self._hand_over(shard, successor) for shard, successor in chosen.items()))

    async def _hand_over(self, shard: ShardId, successor: ReplicaId) -> None:
        async with self._turns:
            term = await self._assignments.hand_over(shard, partial(self._step, successor))
        # A member of the isr has the first record of the new primary before that one serves.
        while term is not None and not self._follows(shard, term):  # noqa: ASYNC110
            await asyncio.sleep(LOOK_S)

    def _step(self, successor: ReplicaId, entry: ShardEntry) -> HandOver | None:
        still = entry.config.worker_of.get(entry.config.primary) == self._me
        return hand_over_to(self._cluster(), entry, successor) if still else None

    def _follows(self, shard: ShardId, term: Term) -> bool:
        replica = self._host.open.get(shard)
        return replica is None or replica.failure is not None or replica.log_end[0] >= term
