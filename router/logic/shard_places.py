"""Tells where the shards of a collection may be read, as one map says. Pure."""

from __future__ import annotations

from collections.abc import Collection as Container
from collections.abc import Mapping
from dataclasses import dataclass

from shoal.core.cluster_map import ClusterMap
from shoal.core.collection import Collection
from shoal.core.errors import ErrorDetails, ShoalError, Unavailable
from shoal.core.ids import WorkerId
from shoal.core.shard_calls import Consistency
from shoal.core.shard_config import ShardConfig, ShardEntry
from shoal.router.logic.read_plan import shard_entry, shard_name
from shoal.router.logic.replica_choice import homes_of, may_read
from shoal.router.logic.shard_groups import ShardChoices, ShardGroup, ShardHomes, grouped


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardPlaces:
    """The shards by number, each in one of three places.

    only: those with one live replica that may answer; several: those with more; failed: those without one, and why;
    entries: configurations of the shards that are placed; homes: live workers of the replicas of `several`; workers:
    those, and the workers of `only`; groups: of all shards, if every one is in `only`, else None.
    """

    entries: Mapping[int, ShardEntry]
    only: Mapping[int, ShardChoices]
    several: Mapping[int, ShardHomes]
    failed: Mapping[int, ShoalError]
    homes: frozenset[WorkerId]
    workers: frozenset[WorkerId]
    groups: tuple[ShardGroup, ...] | None


def places_of(seen: ClusterMap, collection: Collection, consistency: Consistency, live: Container[WorkerId]) -> ShardPlaces:
    """Return where the shards of a collection may be read. live: workers that can be called."""
    entries: dict[int, ShardEntry] = {}
    only: dict[int, ShardChoices] = {}
    several: dict[int, ShardHomes] = {}
    failed: dict[int, ShoalError] = {}
    homes: set[WorkerId] = set()
    for number in range(collection.spec.shards):
        try:
            entry = entries[number] = shard_entry(seen, collection, number)
        except ShoalError as error:
            failed[number] = error.with_traceback(None)
            continue
        found = homes_of(entry.config, consistency, live)
        if len(found) > 1:
            several[number] = ShardHomes(shard=entry.config.shard, homes=found)
            homes.update(each.worker for each in found)
        elif found:
            only[number] = ShardChoices(number=number, choices=(found[0].usual,))
        else:
            failed[number] = nobody_may_answer(entry.config, consistency, shard_name(collection, number))
    workers = homes.union(each.first.worker for each in only.values())
    return ShardPlaces(
        entries=entries,
        only=only,
        several=several,
        failed=failed,
        homes=frozenset(homes),
        workers=frozenset(workers),
        groups=None if several or failed else grouped(only.values()),
    )


def nobody_may_answer(config: ShardConfig, consistency: Consistency, name: str) -> Unavailable:
    """Return the error of a read of a shard that has no live replica which may answer. name: of the shard."""
    homes = [config.worker_of[each] for each in may_read(config, consistency) if each in config.worker_of]
    why = " and ".join(f"worker {worker} is down" for worker in homes) or "it has no replica that may answer"
    return Unavailable(f"shard {name}: {why}", ErrorDetails(shard=name))
