"""Directed schedules in which data is lost or unreachable: they test which replica is believed, kept or deleted."""

from __future__ import annotations

from tests.simulation.stage import Stage
from tests.simulation.violation import hold
from tests.simulation.worker import Worker
from tests.simulation.world import World


def wiped_disk_returns(seed: int) -> Stage:
    """A disk is emptied and its worker returns under its name, while the primary cannot remove it from the isr; then
    the others crash.
    """
    stage = Stage(seed, workers=3)
    stage.until_written(20)
    victim = stage.backups()[0]
    victim.crash(power=True)
    _wipe(stage, victim)
    victim.boot()
    stage.run(0.5)
    stage.primary.crash(power=True)
    stage.run(9.0)
    stage.finish()
    return stage


def wiped_candidate_returns_first(seed: int) -> Stage:
    """Of two replicas, both down, the one that lost its disk returns long before the other. It must neither lead nor
    count.
    """
    stage = Stage(seed, workers=2, replicas=2)
    stage.until_written(20)
    intact, wiped = (stage.primary, stage.backups()[0]) if seed % 2 else (stage.backups()[0], stage.primary)
    for worker in (intact, wiped):
        worker.crash(power=True)
    _wipe(stage, wiped)
    stage.run(25.0)
    wiped.boot()
    stage.run(30.0)
    stage.finish()
    return stage


def damaged_replica_is_silent_for_a_moment(seed: int) -> Stage:
    """Two replicas are down. The damaged one returns first, reports that it is not open, and then misses a question or
    two. The other one returns before or after it was replaced.
    """
    stage = Stage(seed, workers=3, replicas=2)
    intact, damaged = _one_damaged(stage, primary=bool(seed % 2))
    stage.run(9.0)
    damaged.boot()
    stage.run(14.0)
    damaged.pause()
    stage.run(1.5)
    damaged.wake()
    stage.run(1.0 + 8.0 * (seed // 2))
    return _the_intact_one_returns(stage, intact)


def damaged_replica_is_never_heard(seed: int) -> Stage:
    """The same, but no coordinator ever receives the report that it is not open. So it is elected for its silence, and
    no data may be given up for it.
    """
    stage = Stage(seed, workers=3, replicas=2)
    intact, damaged = _one_damaged(stage, primary=bool(seed % 2))
    stage.run(9.0)
    stage.cut(damaged, *(each.name for each in stage.world.coordinators))
    damaged.boot()
    stage.until(lambda: stage.config.primary_worker == damaged.me and stage.config.term > 1, "election by silence")
    stage.run(1.0 + 8.0 * (seed // 2))
    return _the_intact_one_returns(stage, intact)


def successor_cannot_catch_up(seed: int) -> Stage:
    """Of two replicas one is away until it is replaced, but its successor cannot reach the primary. The replica that is
    away must not be given up.
    """
    stage = Stage(seed, workers=3, replicas=2)
    stage.until_written(20)
    away = stage.backups()[0]
    third = next(worker for worker in stage.world.workers.values() if worker not in (away, stage.primary))
    stage.cut(third, stage.primary.name)
    away.crash(power=True)
    stage.until(lambda: len(stage.config.learners) == 2, "successor")
    stage.run(5.0)
    away.boot()
    stage.until(lambda: away.me in {stage.config.worker_of[each] for each in stage.config.isr}, "return of the one that was away")
    stage.finish()
    return stage


def elr_leads_while_who_is_in_sync_cannot_open(seed: int) -> Stage:
    """Below min_isr: the replica in sync is back but has no room to open; the eligible one must lead."""
    stage = Stage(seed, workers=2, replicas=2)
    eligible, in_sync = _one_eligible(stage)
    in_sync.crash(power=True)
    in_sync.disk.opens = False
    stage.run(1.0 + seed)
    for worker in (in_sync, eligible):
        worker.boot()
    stage.until(lambda: stage.primary is eligible and stage.config.elr != (), "election of the eligible one")
    in_sync.disk.opens = True
    stage.finish()
    return stage


def min_isr_lowered_as_the_primary_loses_its_disk(seed: int) -> Stage:
    """The only replica in sync loses its disk, and min_isr is lowered before its lease ends: only the eligible replica
    has everything.
    """
    stage = Stage(seed, workers=3, replicas=2)
    eligible, in_sync = _one_eligible(stage)
    stage.cut_from_members(eligible)
    eligible.boot()
    stage.run(0.5 + 0.1 * seed)
    in_sync.crash(power=True)
    _wipe(stage, in_sync)
    stage.world.alter(2, min_isr=1)
    stage.run(2.0)
    in_sync.boot()
    stage.run(5.0)
    stage.finish()
    return stage


def nobody_leads_who_lacks_something(seed: int) -> Stage:
    """The last member of the isr is down and a replica that fell behind is back. No replica may lead until the operator
    decides, or the member returns.
    """
    stage = Stage(seed, workers=2, replicas=2)
    behind, last = stage.backups()[0], stage.primary
    behind.crash(power=False)
    stage.until(lambda: len(stage.config.isr) == 1, "isr of one")
    stage.until_written(10)
    last.crash(power=False)
    behind.boot()
    term = stage.config.term
    stage.run(20.0)
    hold(stage.config.term == term, "inv 2: only isr and elr lead", f"somebody was elected: {stage.world.shape()}")
    last.boot()
    stage.until_elected()
    stage.finish()
    return stage


def two_of_three_are_lost_before_the_term_begins(seed: int) -> Stage:
    """The primary is away, intact. Of the other two replicas one is damaged; the other is elected, cannot commit
    anything without the damaged one, and loses its disk, too. The replica that is away has everything that was
    acknowledged, so it must lead.
    """
    stage = Stage(seed, workers=3, replicas=3)
    stage.until_written(20)
    intact, (elected, damaged) = stage.primary, stage.backups()
    for worker in (intact, damaged):
        worker.crash(power=True)
    _damage(stage, damaged)
    stage.until_elected()
    stage.run(0.2 * seed)
    elected.crash(power=True)
    _wipe(stage, elected)
    elected.boot()
    stage.run(1.0)
    damaged.boot()
    return _the_intact_one_returns(stage, intact)


def closed_once_and_unheard_much_later(seed: int) -> Stage:
    """At the start a replica reports that it is not open. It opens, and is in sync for long. Later the coordinators
    cannot reach it, and the primary dies. It must lead: its old report no longer holds.
    """
    stage = Stage(seed, workers=3, replicas=2)
    stage.until_written(20)
    primary, late = stage.primary, stage.backups()[0]
    for worker in (primary, late):
        worker.crash(power=True)
    late.disk.opens = False
    late.boot()
    stage.run(8.0)
    primary.boot()
    stage.until_elected()
    late.disk.opens = True
    stage.until(stage.world.is_whole, "whole cluster", 60.0)
    primary, late = stage.primary, stage.backups()[0]
    stage.run(20.0)
    stage.cut(late, *(each.name for each in stage.world.coordinators))
    primary.crash(power=True)
    stage.until(lambda: stage.config.primary_worker == late.me, "election by silence")
    stage.until_written(5)
    stage.finish()
    return stage


def fewer_replicas_while_one_does_not_answer(seed: int) -> Stage:
    """The replica count goes from three to two while one replica does not answer the coordinators. That replica is
    removed, since the others report that they are open.
    """
    stage = Stage(seed, replicas=3)
    stage.until_written(20)
    unheard = stage.backups()[seed % 2]
    stage.cut(unheard, *(each.name for each in stage.world.coordinators))
    stage.run(2.0)
    stage.world.alter(2)
    stage.until(lambda: len(stage.config.isr) == 2, "smaller isr", 60.0)
    hold(unheard.me not in {stage.config.worker_of[each] for each in stage.config.isr}, "heals", "another one went")
    stage.finish()
    return stage


def placed_anew_before_it_was_made(seed: int) -> Stage:
    """The worker of the first primary dies before the shard was ever active. The shard begins elsewhere, and its
    tombstones delete no data.
    """
    stage = Stage.of(World(seed, workers=5, replicas=3, think_s=0.1))
    world = stage.world
    world.begin()
    world.scheduler.run(60.0, stop=lambda: world.config() is not None)
    first = stage.primary
    first.crash(power=True)
    stage.run(20.0)
    first.boot()
    stage.until(world.is_whole, "whole cluster")
    stage.until_written(20)
    stage.finish()
    return stage


def _damage(stage: Stage, worker: Worker) -> None:
    member = {stage.config.worker_of[each]: each for each in stage.config.isr}[worker.me]
    worker.disk.folders[stage.world.shard, member].damaged = True
    stage.world.holdings.wiped(member)


def _one_damaged(stage: Stage, *, primary: bool) -> tuple[Worker, Worker]:
    """Take both replicas down and damage one of them, the primary's or the backup's.

    Return the worker of the intact one and the worker of the damaged one.
    """
    stage.until_written(20)
    intact, damaged = (stage.backups()[0], stage.primary) if primary else (stage.primary, stage.backups()[0])
    for worker in (intact, damaged):
        worker.crash(power=True)
    _damage(stage, damaged)
    return intact, damaged


def _the_intact_one_returns(stage: Stage, intact: Worker) -> Stage:
    """Bring the intact replica back; it must lead, with all data."""
    folders = set(intact.disk.folders)
    intact.boot()
    stage.until(lambda: stage.config.primary_worker == intact.me, "election of the intact replica")
    hold(folders <= set(intact.disk.folders), "data is deleted on a tombstone only", "the intact replica is gone")
    stage.finish()
    return stage


def _one_eligible(stage: Stage) -> tuple[Worker, Worker]:
    """Return the worker of an eligible replica, which is down, and the worker of the primary, alone in the isr.

    There are two replicas, with a min_isr of 2.
    """
    stage.world.alter(2, min_isr=2)
    stage.until(stage.world.is_whole, "min_isr of 2")
    stage.until_written(10)
    eligible, in_sync = stage.primary, stage.backups()[0]
    eligible.crash(power=True)
    stage.until(lambda: len(stage.config.elr) == 1, "an eligible replica")
    return eligible, in_sync


def _wipe(stage: Stage, worker: Worker) -> None:
    for _, replica in sorted(worker.disk.folders):
        stage.world.holdings.wiped(replica)
    worker.disk.folders.clear()


DATA_LOSS_SCRIPTS = (
    wiped_disk_returns,
    wiped_candidate_returns_first,
    damaged_replica_is_silent_for_a_moment,
    damaged_replica_is_never_heard,
    successor_cannot_catch_up,
    two_of_three_are_lost_before_the_term_begins,
    closed_once_and_unheard_much_later,
    fewer_replicas_while_one_does_not_answer,
    placed_anew_before_it_was_made,
    elr_leads_while_who_is_in_sync_cannot_open,
    min_isr_lowered_as_the_primary_loses_its_disk,
    nobody_leads_who_lacks_something,
)
