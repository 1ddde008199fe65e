"""Elects the next primary of a shard whose primary is gone, and makes the configuration of the new term (invariants 2
and 4 in docs/design/replication.md).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

from shoal.coordinator.logic.snapshot import Told
from shoal.coordinator.logic.steps import ElectPrimary
from shoal.core.cluster_map import WorkerEntry
from shoal.core.ids import ReplicaId, ShardId, Term, WorkerId
from shoal.core.shard_config import ShardConfig, ShardEntry, leads

Workers = Mapping[WorkerId, WorkerEntry]

UNTOLD_AFTER_S = 10.0
"""Longest time that a shard stays without a primary because no worker answers. Then a candidate is elected anyway:
perhaps only the coordinator cannot reach the workers. If that replica cannot be opened, nothing is lost: the others
stay eligible until the elected primary, with its log open, removes them."""

_NOBODY_TOLD = Told()


def has_primary(config: ShardConfig, workers: Workers) -> bool:
    """Return whether the elected primary's worker is live under the registration of its election."""
    home = config.primary_worker
    return home is not None and home in workers and leads(config, config.primary, workers[home].registration)


def has_resigned(config: ShardConfig) -> bool:
    """Return whether the primary ended its term itself, because its storage failed."""
    return config.primary_reg == 0


def candidates_of(config: ShardConfig, workers: Workers) -> tuple[ReplicaId, ...]:
    """Return the replicas on live workers that may lead: those of the isr; if there are none, those of the elr.

    The old primary comes first, because with it the isr need not change. A primary that resigned is a candidate only if
    there is no other one.
    """
    home = config.worker_of.get
    live = [[member for member in group if home(member) in workers] for group in (config.isr, config.elr)]
    willing = [[member for member in group if member != config.primary or not has_resigned(config)] for group in live]
    chosen = next((group for group in (*willing, *live) if group), [])
    return tuple(sorted(chosen, key=lambda member: member != config.primary))


def choose_candidate(config: ShardConfig, workers: Workers, told: Told = _NOBODY_TOLD, *, unled_s: float = 0.0) -> ReplicaId | None:
    """Return the next primary: the candidate with the longest log among those that are open; None for no one yet.

    One with a tombstone is elected only if no other one is open: it would stay, and another replica would be surplus.
    unled_s: seconds for which the shard has needed an election. If several replicas may lead, a candidate whose log is
    not open may have lost its disk and be about to resign. So the election waits for UNTOLD_AFTER_S. After that, a
    member of the elr whose log is open is elected; else a candidate that its worker has not reported as not open under
    its present registration. A primary that resigned is elected again only when its worker reports its log open.
    """
    candidates = candidates_of(config, workers)
    if not _others_may_lead(config) and not has_resigned(config):
        return next(iter(candidates), None)
    candidate = _longest(config, candidates, told)
    if candidate is not None or (_others_may_lead(config) and unled_s < UNTOLD_AFTER_S):
        return candidate
    spare = _longest(config, _live_elr(config, workers), told)
    if spare is not None:
        return spare
    resigned = config.primary if has_resigned(config) else None
    unheard = (each for each in candidates if each != resigned and each not in told.closed)
    return next(unheard, None)


def _live_elr(config: ShardConfig, workers: Workers) -> tuple[ReplicaId, ...]:
    return tuple(member for member in config.elr if config.worker_of.get(member) in workers)


def _longest(config: ShardConfig, members: Iterable[ReplicaId], told: Told) -> ReplicaId | None:
    opened = (each for each in members if each in told.ends)
    return max(opened, key=lambda each: (each not in config.leaving, told.ends[each]), default=None)


def _others_may_lead(config: ShardConfig) -> bool:
    return len({*config.isr, *config.elr}) > 1


def needs_election(config: ShardConfig, workers: Workers) -> bool:
    """Return whether the shard has no live primary and the end of the last one's term can be proved.

    It cannot be proved if the old primary has no worker but did not resign.
    """
    return not has_primary(config, workers) and (config.primary_worker is not None or has_resigned(config))


def election_of(entry: ShardEntry, workers: Workers, told: Told = _NOBODY_TOLD, *, unled_s: float = 0.0) -> ElectPrimary | None:
    """Return the election that a shard needs and can have now; None if it needs none or no replica may lead yet."""
    config = entry.config
    candidate = choose_candidate(config, workers, told, unled_s=unled_s) if needs_election(config, workers) else None
    return None if candidate is None else ElectPrimary(before=entry, config=next_term(config, candidate, workers))


def to_be_asked(entries: Iterable[ShardEntry], workers: Workers) -> Mapping[WorkerId, tuple[ShardId, ...]]:
    """Return which workers to ask for the ends of which shards' logs, before these shards get a primary.

    If only one replica of a shard may lead, and it did not resign, no question is needed."""
    asked: dict[WorkerId, list[ShardId]] = {}
    for config in (entry.config for entry in entries if needs_election(entry.config, workers)):
        if _others_may_lead(config) or has_resigned(config):
            members = (*candidates_of(config, workers), *_live_elr(config, workers))
            for home in dict.fromkeys(config.worker_of[each] for each in members):
                asked.setdefault(home, []).append(config.shard)
    return {worker: tuple(shards) for worker, shards in asked.items()}


def next_term(config: ShardConfig, candidate: ReplicaId, workers: Workers) -> ShardConfig:
    """Return the configuration with `candidate`, whose worker is live, as primary in the next term.

    An old primary whose worker is gone leaves the isr. It stays eligible (elr), like all replicas that may lead, until
    the new primary removes them itself, before it commits anything: at that time its log is surely open, while the
    reports used here may be out of date. A candidate from the isr keeps the other members. A candidate from the elr is
    elected only if no member of the isr can lead, so it begins alone in the isr: nothing was committed without it since
    it became eligible. A hand-over that was asked of the old primary has no meaning any more.
    """
    returns = config.primary_worker in workers
    stay = tuple(member for member in config.isr if returns or member != config.primary)
    isr = stay if candidate in stay else (candidate,)
    elr = tuple(dict.fromkeys(member for member in (*config.isr, *config.elr) if member not in isr))
    return dataclasses.replace(
        config,
        term=Term(config.term + 1),
        primary=candidate,
        primary_reg=workers[config.worker_of[candidate]].registration,
        isr=isr,
        elr=elr,
        leaving=tuple(member for member in config.leaving if member != candidate),
        successor=None,
    )
