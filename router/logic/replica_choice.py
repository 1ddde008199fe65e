"""Decides which replicas of a shard a read may ask, and in which order. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter

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


@dataclass(frozen=True, slots=True)
class Home:
    """A replica on a live worker. in_sync: whether it is in the isr. usual, probe: the two choices of it."""

    replica: ReplicaId
    worker: WorkerId
    in_sync: bool
    usual: ReplicaChoice
    probe: ReplicaChoice


def homes_of(config: ShardConfig, consistency: Consistency, live: Collection[WorkerId]) -> tuple[Home, ...]:
    """Return the replicas that may answer a read and are on live workers. live: workers that can be called."""
    found = []
    for replica in may_read(config, consistency):
        worker = config.worker_of.get(replica)
        if worker is not None and worker in live:
            usual, probe = (ReplicaChoice(replica=replica, worker=worker, probe=each) for each in (False, True))
            found.append(Home(replica, worker, replica in config.isr, usual, probe))
    return tuple(found)


def replicas_to_ask(homes: Sequence[Home], loads: Mapping[WorkerId, ReplicaLoad]) -> tuple[ReplicaChoice, ...]:
    """Return the replicas that a read asks, one after the other.

    The order: replicas with a shut breaker last; isr before elr; probes first; then by load, which is (reads under way
    + 1) x latency; ties by id. A worker that was never measured counts as twice as fast as the fastest.
    """
    if len(homes) == 1:
        (home,) = homes
        return (home.probe if loads.get(home.worker, UNKNOWN).gate is Gate.PROBES else home.usual,)
    known = [load.latency_s for home in homes if (load := loads.get(home.worker, UNKNOWN)).latency_s is not None]
    unmeasured_s = _UNMEASURED_FACTOR * min(known, default=_USUAL_S)
    ranked = []
    for home in homes:
        load = loads.get(home.worker, UNKNOWN)
        cost = (load.in_flight + 1) * (unmeasured_s if load.latency_s is None else load.latency_s)
        if load.here:
            cost *= _HERE_FACTOR
        probes = load.gate is Gate.PROBES
        rank = (load.gate is Gate.SHUT, not home.in_sync, not probes, cost, home.replica)
        ranked.append((rank, home.probe if probes else home.usual))
    ranked.sort(key=_rank)
    return tuple([choice for _, choice in ranked])


_rank = itemgetter(0)
