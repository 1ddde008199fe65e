"""Who leads a shard whose primary is gone, and the configuration of the new reign (invariants 2 and 4 of the replication design)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from coordinator.logic.steps import ElectPrimary
from shoal.core.cluster_map import WorkerEntry
from shoal.core.ids import ReplicaId, Revision, Term, WorkerId
from shoal.core.shard_config import ShardConfig, ShardEntry, leads, may_lead

Workers = Mapping[WorkerId, WorkerEntry]


def has_primary(config: ShardConfig, workers: Workers) -> bool:
    """Whether the elected primary's worker is live under the registration it was elected with."""
    home = config.primary_worker
    return home is not None and home in workers and leads(config, config.primary, workers[home].registration)


def heir_of(config: ShardConfig, workers: Workers) -> ReplicaId | None:
    """The replica on a live worker that may lead: the old primary if it is back (nothing has to leave the isr), then isr, then elr."""
    in_order = (config.primary, *config.isr, *config.elr)
    return next((replica for replica in in_order if may_lead(config, replica) and config.worker_of.get(replica) in workers), None)


def election_of(entry: ShardEntry, workers: Workers) -> ElectPrimary | None:
    """The election that a shard needs and can have now.

    None when its primary reigns, when nobody may lead, and when the old primary has no worker, whose end could then not be proved.
    """
    config = entry.config
    if config.primary_worker is None or has_primary(config, workers):
        return None
    heir = heir_of(config, workers)
    if heir is None:
        return None
    return ElectPrimary(before=entry, config=next_reign(config, heir, workers[config.worker_of[heir]].registration))


def next_reign(config: ShardConfig, heir: ReplicaId, registration: Revision) -> ShardConfig:
    """The configuration with `heir` as primary in the next term.

    An old primary that does not return leaves the isr. While the isr is too small to commit, whoever may lead still holds every
    committed record and stays in elr; once it can commit, elr is empty, because its members would miss the next commit.
    """
    stay = tuple(member for member in config.isr if heir == config.primary or member != config.primary)
    isr = stay if heir in stay else (*stay, heir)
    waiting = dict.fromkeys(member for member in (*config.isr, *config.elr) if member not in isr)
    return dataclasses.replace(
        config,
        term=Term(config.term + 1),
        primary=heir,
        primary_reg=registration,
        isr=isr,
        elr=tuple(waiting) if len(isr) < config.min_isr else (),
        learners=tuple(learner for learner in config.learners if learner not in isr),
    )
