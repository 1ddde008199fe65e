"""Decides which replicas of a shard a read may ask, and in which order. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from shoal.core.ids import ReplicaId, WorkerId
from shoal.core.shard_calls import Consistency
from shoal.core.shard_config import ShardConfig
from shoal.router.logic.breaker import Gate

_USUAL_S = 0.001
_UNMEASURED_FACTOR = 0.5

_HERE_FACTOR = 0.8
"""Factor for a worker in this process: it is preferred if it is about as good as the best, as it needs no network."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReplicaLoad:
    """The load of a worker, for reads of one shard. in_flight: reads under way there. latency_s: smoothed; None before
    the first answer. here: whether it is in this process. gate: the worse of the worker's breaker and the replica's."""

    in_flight: int = 0
    latency_s: float | None = None
    here: bool = False
    gate: Gate = Gate.PASSES


UNKNOWN = ReplicaLoad()


@dataclass(frozen=True, kw_only=True, slots=True)
class ReplicaChoice:
    """A replica to ask. probe: whether this read tests if the replica works again."""

    replica: ReplicaId
    worker: WorkerId
    probe: bool = False


def may_read(config: ShardConfig, consistency: Consistency) -> tuple[ReplicaId, ...]:
    """Return the replicas that may answer a read, on live workers or not. A learner never may."""
    return (config.primary,) if consistency is Consistency.PRIMARY else (*config.isr, *config.elr)


def replicas_to_ask(
    config: ShardConfig, consistency: Consistency, live: Collection[WorkerId], loads: Mapping[WorkerId, ReplicaLoad]
) -> tuple[ReplicaChoice, ...]:
    """Return the replicas that a read asks, one after the other. live: workers that can be called.

    The order: replicas with a shut breaker last; isr before elr; probes first; then by load, which is (reads under way
    + 1) x latency; ties by id. A worker that was never measured counts as twice as fast as the fastest.
    """
    homes = [(replica, config.worker_of[replica]) for replica in may_read(config, consistency) if config.worker_of.get(replica) in live]
    if len(homes) == 1:
        ((replica, worker),) = homes
        return (ReplicaChoice(replica=replica, worker=worker, probe=loads.get(worker, UNKNOWN).gate is Gate.PROBES),)
    known = [load.latency_s for _, worker in homes if (load := loads.get(worker, UNKNOWN)).latency_s is not None]
    usual_s = min(known, default=_USUAL_S)

    def rank(home: tuple[ReplicaId, WorkerId]) -> tuple[bool, bool, bool, float, ReplicaId]:
        replica, worker = home
        load = loads.get(worker, UNKNOWN)
        cost = (load.in_flight + 1) * (_UNMEASURED_FACTOR * usual_s if load.latency_s is None else load.latency_s)
        if load.here:
            cost *= _HERE_FACTOR
        return load.gate is Gate.SHUT, replica not in config.isr, load.gate is not Gate.PROBES, cost, replica

    ordered = sorted(homes, key=rank)
    return tuple(
        ReplicaChoice(replica=replica, worker=worker, probe=loads.get(worker, UNKNOWN).gate is Gate.PROBES) for replica, worker in ordered
    )
