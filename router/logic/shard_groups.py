"""Groups the shards of a search by worker, so that each worker gets one call for all its shards. Pure.

The replica is chosen for each shard by the rules of replica_choice. Shards that have the same worker first form a
group. A probe, and a shard without another replica, are not mixed with other shards: a probe may fail, and a group can
be asked for elsewhere only if all its shards can.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass, replace

from shoal.core.ids import ShardId, WorkerId
from shoal.router.logic.breaker import Gate
from shoal.router.logic.replica_choice import UNKNOWN, Home, ReplicaChoice, ReplicaLoad, replicas_to_ask


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardHomes:
    """A shard and its replicas that may answer and are on live workers, at least two."""

    shard: ShardId
    homes: tuple[Home, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardChoices:
    """A shard and the replicas that it is asked at, one after the other, at least one. number: of the shard."""

    number: int
    choices: tuple[ReplicaChoice, ...]

    @property
    def first(self) -> ReplicaChoice:
        """Return the replica that is asked first."""
        return self.choices[0]

    @property
    def others(self) -> ShardChoices | None:
        """Return the shard without its first replica; None if there is no other one."""
        return ShardChoices(number=self.number, choices=self.choices[1:]) if len(self.choices) > 1 else None


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardGroup:
    """Shards that one worker is asked for in one call. It has the first replica of each of them, at least one."""

    worker: WorkerId
    shards: tuple[ShardChoices, ...]

    @property
    def numbers(self) -> tuple[int, ...]:
        """Return the numbers of the shards."""
        return tuple(each.number for each in self.shards)

    @property
    def probe(self) -> bool:
        """Return whether this call tests if the worker, or its replica, works again."""
        return self.shards[0].first.probe

    @property
    def has_others(self) -> bool:
        """Return whether the shards, all of them, have other replicas."""
        return len(self.shards[0].choices) > 1


@dataclass(frozen=True, kw_only=True, slots=True)
class AskedAlone:
    """What is not asked for in groups: these shards, and all shards at these workers."""

    shards: frozenset[int] = frozenset()
    workers: frozenset[WorkerId] = frozenset()


NONE_ALONE = AskedAlone()


def grouped(shards: Iterable[ShardChoices], alone: AskedAlone = NONE_ALONE) -> tuple[ShardGroup, ...]:
    """Return the shards in groups by their first replica. Each shard is in exactly one group."""
    groups: dict[Hashable, list[ShardChoices]] = {}
    for shard in shards:
        worker = shard.first.worker
        apart = shard.number if shard.number in alone.shards or worker in alone.workers else None
        groups.setdefault((worker, shard.first.probe, len(shard.choices) > 1, apart), []).append(shard)
    return tuple(ShardGroup(worker=members[0].first.worker, shards=tuple(members)) for members in groups.values())


def elsewhere(group: ShardGroup, numbers: Collection[int], alone: AskedAlone = NONE_ALONE) -> tuple[ShardGroup, ...]:
    """Return these shards of a group, grouped by their next replica. Shards without another replica are left out."""
    return grouped((others for each in group.shards if each.number in numbers and (others := each.others) is not None), alone)


def choices_of_shards(
    shards: Iterable[ShardHomes], loads: Mapping[WorkerId, ReplicaLoad], gates: Mapping[tuple[WorkerId, ShardId], Gate]
) -> list[ShardChoices]:
    """Return the replicas that each shard is asked at.

    loads: of each worker, with the gate of its breaker; gates: those of replicas whose breaker is not closed. Each
    choice counts as a read under way for the next ones, and a probe shuts its worker for them, as if the shards were
    asked for one after the other.
    """
    chosen, now = [], dict(loads)
    for each in shards:
        choices = replicas_to_ask(each.homes, _with_gates(now, each, gates) if gates else now)
        chosen.append(ShardChoices(number=each.shard.number, choices=choices))
        worker = choices[0].worker
        load = now.get(worker, UNKNOWN)
        now[worker] = ReplicaLoad(
            in_flight=load.in_flight + 1,
            latency_s=load.latency_s,
            here=load.here,
            gate=Gate.SHUT if load.gate is Gate.PROBES else load.gate,
        )
    return chosen


def _with_gates(
    loads: Mapping[WorkerId, ReplicaLoad], shard: ShardHomes, gates: Mapping[tuple[WorkerId, ShardId], Gate]
) -> Mapping[WorkerId, ReplicaLoad]:
    """Return the loads for the replicas of one shard: the worse gate of worker and replica counts."""
    mine = dict(loads)
    for home in shard.homes:
        gate = gates.get((home.worker, shard.shard))
        if gate is not None:
            load = mine.get(home.worker, UNKNOWN)
            mine[home.worker] = replace(load, gate=max(gate, load.gate))
    return mine
