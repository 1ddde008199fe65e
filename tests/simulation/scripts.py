"""Directed schedules: the histories in which the rules of replication matter most, played exactly.

Random seeds alone miss some of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from tests.simulation.data_loss_scripts import DATA_LOSS_SCRIPTS
from tests.simulation.move_scripts import MOVE_SCRIPTS
from tests.simulation.network import Mishap
from tests.simulation.operator_scripts import OPERATOR_SCRIPTS
from tests.simulation.replica import Replica
from tests.simulation.stage import Stage, expands, gives_up, shrinks
from tests.simulation.violation import hold
from tests.simulation.worker import Worker

Script = Callable[[int], Stage]


def lost_answer_of_an_expansion(seed: int) -> Stage:
    """A member joins, the primary does not receive that it has, and the joiner is cut off. Nothing may be committed
    without it.
    """
    stage = Stage(seed)
    joiner = _left_out(stage)
    stage.world.network.heal()

    def met() -> None:
        stage.lag(stage.primary, seconds=9.0)
        stage.cut_from_members(joiner)

    met_at = stage.order(expands, Mishap.ANSWER_LOST, met)
    stage.until(lambda: bool(met_at), "expansion")
    stage.run(12.0)
    stage.finish()
    return stage


def primary_killed_at_an_expansion(seed: int) -> Stage:
    """The primary dies with its expansion under way; the joiner may have become the candidate."""
    stage = Stage(seed)
    joiner = _left_out(stage)
    stage.world.network.heal()
    primary = stage.primary
    met_at = stage.order(expands, (None, Mishap.LATE, Mishap.REQUEST_LOST)[seed % 3], lambda: primary.crash(power=True))
    stage.until(lambda: bool(met_at), "expansion")
    others = [worker for worker in stage.backups() if worker is not joiner]
    stage.run(0.01)
    for other in others:
        if other.alive:
            other.crash(power=True)
    stage.run(8.0)
    stage.finish()
    return stage


def two_joiners_in_flight(seed: int) -> Stage:
    """The replica count goes from one to three; the answers to both expansions are lost, and the joiners are cut off in
    turn.
    """
    stage = Stage(seed, replicas=1)
    stage.world.alter(3)
    for _ in range(2):

        def met() -> None:
            stage.lag(stage.primary, seconds=7.0)
            stage.cut_from_members(stage.primary)

        met_at = stage.order(expands, Mishap.ANSWER_LOST, met)
        stage.until(partial(bool, met_at), "expansion")
        stage.run(8.0)
        stage.world.network.heal()
    stage.finish()
    return stage


def primary_cut_from_members(seed: int) -> Stage:
    """The primary reaches etcd but no member. It may remove members from the isr while min_isr allows it, then it must
    wait.
    """
    stage = Stage(seed)
    stage.until_written(20)
    primary = stage.primary
    stage.cut_from_members(primary)
    stage.run(10.0)
    hold(stage.config.primary_worker == primary.me, "heals", "a primary that reaches etcd lost its term")
    stage.finish()
    return stage


def primary_cut_from_etcd(seed: int) -> Stage:
    """The primary reaches the members but not etcd. Another is elected, and its first append ends the old term."""
    stage = Stage(seed)
    stage.until_written(20)
    stage.cut_from_etcd(stage.primary)
    stage.until_elected()
    stage.until_written(20)
    stage.finish()
    return stage


def lost_answer_of_a_shrink(seed: int) -> Stage:
    """A member is cut off, and for long it is unknown whether it has left the isr. Until then nothing may be
    acknowledged without it.
    """
    stage = Stage(seed)
    primary, (slow, _) = stage.primary, stage.backups()
    met_at = stage.order(shrinks, Mishap(1 + seed % 3), lambda: stage.lag(primary, seconds=7.0))
    stage.cut_from_members(slow)
    stage.until(lambda: bool(met_at), "shrink")
    stage.run(9.0)
    stage.finish()
    return stage


def who_is_eligible_is_given_up_in_doubt(seed: int) -> Stage:
    """A primary dies. For long the next one does not know whether it has given up the old one, which may still be
    elected.
    """
    stage = Stage(seed)
    stage.until_written(20)
    others = stage.backups()
    met_at = stage.order(gives_up, Mishap(1 + seed % 3), lambda: stage.lag(*others, seconds=7.0))
    stage.primary.crash(power=True)
    stage.until(lambda: bool(met_at), "giving up of the old primary")
    stage.run(9.0)
    stage.finish()
    return stage


def registered_again_while_cut_off(seed: int) -> Stage:
    """A primary loses its lease and registers again, without knowing that another was elected. It must not answer
    primary reads.
    """
    stage = Stage(seed)
    stage.until_written(20)
    primary = stage.primary
    stage.only_reads(stage.world.clients[0])
    stage.run(1.0)
    stage.cut_from_members(primary)
    stage.cut_from_etcd(primary)
    stage.lag(primary, stage.world.clients[0], seconds=20.0)
    stage.until_elected()
    stage.until_written(5)
    stage.cut_back(primary, "etcd")
    stage.run(9.0)
    stage.finish()
    return stage


def paused_primary_wakes_with_reads(seed: int) -> Stage:
    """A primary is paused past the end of its lease, with waiting reads of a client that does not know the new one."""
    stage = Stage(seed)
    stage.until_written(20)
    primary = stage.primary
    stage.only_reads(stage.world.clients[0])
    stage.run(1.0)
    stage.lag(stage.world.clients[0], seconds=30.0)
    primary.pause()
    stage.until_elected()
    stage.until_written(10)
    stage.until(lambda: len(primary.held) > 0 and seed % 3 < len(primary.held), "something that waits for it")
    stage.run(0.1 * (seed % 5))
    primary.wake()
    stage.run(3.0)
    stage.finish()
    return stage


def cut_off_primary_is_asked(seed: int) -> Stage:
    """A primary is cut from etcd and members, but not from a client that still takes it for the primary after its
    lease.
    """
    stage = Stage(seed)
    stage.until_written(20)
    primary = stage.primary
    stage.only_reads(stage.world.clients[0])
    stage.run(1.0)
    stage.lag(stage.world.clients[0], seconds=30.0)
    stage.cut_from_members(primary)
    stage.cut_from_etcd(primary)
    stage.until_elected()
    stage.until_written(20)
    stage.run(6.0)
    stage.finish()
    return stage


def new_primary_asked_before_its_noop(seed: int) -> Stage:
    """A write is acknowledged, but no other replica knows that it is committed. The candidate is asked before it can
    commit its no-op.
    """
    stage = Stage(seed)
    world, primary = stage.world, stage.primary
    _commit_unheard(stage)
    primary.crash(power=True)
    for client in world.clients:
        stage.only_reads(client)
    stage.until_elected()
    stage.cut_from_members(stage.primary)
    stage.run(2.0)
    stage.finish()
    return stage


def primary_read_begun_before_the_noop(seed: int) -> Stage:
    """A write is acknowledged, but no other replica knows that it is committed. The candidate is asked after it commits
    that write and its no-op and before it has applied them, and answers when it serves.
    """
    stage = Stage(seed)
    world, primary = stage.world, stage.primary
    _commit_unheard(stage)
    primary.crash(power=True)
    stage.until_elected()
    asked: list[str] = []

    def committed(replica: Replica, _: int) -> None:
        if replica.process is stage.primary and replica.machine.applied_seq < world.history.primary_floor:
            world.watcher.on_commit = None
            for client in world.clients:
                client.read_at(stage.primary, f"{client.name}.0")
                asked.append(client.name)

    world.watcher.on_commit = committed
    stage.until(lambda: bool(asked), "commit by the candidate")
    stage.run(2.0)
    stage.finish()
    return stage


def acknowledgement_lost(seed: int) -> Stage:
    """The primary dies with a write that is committed but not acknowledged. Its client sends it to the next primary,
    which must not apply it twice.
    """
    stage = Stage(seed)
    world = stage.world
    for _ in range(2):
        stage.until_written(10)
        primary = stage.primary

        def committed(replica: Replica, reached: int, primary: Worker = primary) -> None:
            if replica.process is primary and world.committed.records[reached - 1].request_id is not None:
                world.watcher.on_commit = None
                world.scheduler.at(world.now, lambda: primary.crash(power=True))

        world.watcher.on_commit = committed
        stage.until_elected()
        stage.until_written(5)
        primary.boot()
        stage.until(world.is_whole, "whole cluster")
    stage.finish()
    return stage


def updates_beside_each_other(seed: int) -> Stage:
    """Many updates, with and without filters, of few points; then the primary dies and a member takes over."""
    stage = Stage(seed)
    stage.until_written(60)
    primary = stage.primary
    primary.crash(power=True)
    stage.until_elected()
    stage.until_written(20)
    stage.finish()
    return stage


def snapshot_overtaken(seed: int) -> Stage:
    """A learner fetches a snapshot. Its primary resigns, and the log of the next one reaches back far enough. Records
    that the learner acknowledges then must stay.
    """
    stage = Stage(seed, workers=3)
    primary, (learner, candidate) = stage.primary, stage.backups()
    candidate.replicas[stage.world.shard].engine.never_trim()
    stage.cut_from_members(learner)
    stage.until(lambda: len(stage.config.isr) == 2, "shrink")
    behind, leading = learner.replicas[stage.world.shard], primary.replicas[stage.world.shard]
    stage.until(lambda: leading.disk.base[1] > behind.disk.last_seq, "trimmed log")
    stage.world.network.heal()
    stage.until(lambda: behind.behind == leading.id, "learner that is behind")
    primary.disk.full = True
    stage.until_elected()
    stage.until(lambda: len(stage.config.isr) == 2, "expansion")
    stage.run(6.0)
    stage.finish()
    return stage


def elected_replica_crashes(seed: int) -> Stage:
    """Every elected replica dies at once: before its term is stored, after it, or with its no-op under way."""
    stage = Stage(seed, workers=4)
    stage.until_written(20)
    for turn in range(4):
        victim = stage.primary
        victim.crash(power=turn % 2 == 0)
        stage.until_elected()
        candidate = stage.primary
        stage.run(0.0005 + 0.0015 * ((seed + turn) % 6))
        if candidate.alive:
            candidate.crash(power=True)
        victim.boot()
        stage.run(2.0)
        candidate.boot()
        stage.until_written(5)
    stage.finish()
    return stage


def replicas_changed_live(seed: int) -> Stage:
    """The replica count goes from 1 to 3 to 2, with a crash in the middle of each change."""
    stage = Stage(seed, replicas=1)
    for replicas in (3, 2):
        stage.world.alter(replicas)
        stage.run(0.1 + 0.3 * (seed % 4))
        victim = stage.primary if seed % 2 else stage.world.workers[sorted(stage.world.workers)[seed % 4]]
        victim.crash(power=True)
        stage.run(3.0)
        victim.boot()
        stage.until(stage.world.is_whole, f"{replicas} replicas", 60.0)
    stage.finish()
    return stage


def full_disk_of_a_primary(seed: int) -> Stage:
    """The primary's disk becomes full while it writes its log: it resigns, another leads, and it returns."""
    stage = Stage(seed)
    stage.primary.disk.full = True
    stage.until_elected()
    stage.until_written(10)
    stage.finish()
    return stage


def _left_out(stage: Stage) -> Worker:
    """Return a backup that was cut off until it left the isr, and still is."""
    joiner = stage.backups()[0]
    stage.cut_from_members(joiner)
    stage.until(lambda: len(stage.config.isr) == 2, "shrink")
    stage.until_written(10)
    return joiner


def _commit_unheard(stage: Stage) -> None:
    """Let the primary commit and acknowledge a write, and cut it off before a member receives the commit point."""
    stage.until_written(10)
    world, primary = stage.world, stage.primary

    def committed(replica: Replica, _: int) -> None:
        if replica.process is primary:
            world.watcher.on_commit = None
            stage.cut_from_members(primary)

    world.watcher.on_commit = committed
    stage.until(lambda: world.watcher.on_commit is None, "commit")
    stage.run(0.05)


SCRIPTS: Mapping[str, Script] = {
    script.__name__: script
    for script in (
        lost_answer_of_an_expansion,
        primary_killed_at_an_expansion,
        two_joiners_in_flight,
        primary_cut_from_members,
        primary_cut_from_etcd,
        lost_answer_of_a_shrink,
        who_is_eligible_is_given_up_in_doubt,
        registered_again_while_cut_off,
        paused_primary_wakes_with_reads,
        cut_off_primary_is_asked,
        new_primary_asked_before_its_noop,
        primary_read_begun_before_the_noop,
        acknowledgement_lost,
        updates_beside_each_other,
        snapshot_overtaken,
        elected_replica_crashes,
        replicas_changed_live,
        full_disk_of_a_primary,
        *DATA_LOSS_SCRIPTS,
        *MOVE_SCRIPTS,
        *OPERATOR_SCRIPTS,
    )
}
