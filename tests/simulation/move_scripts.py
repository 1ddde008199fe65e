"""Directed schedules of moves, hand-overs, drains and forgotten workers."""

from __future__ import annotations

from shoal.core.ids import WorkerId
from shoal.core.rebalance import PlanState
from tests.simulation.network import Mishap
from tests.simulation.stage import (
    Judge,
    Stage,
    asks_to_hand_over,
    begins_move,
    hands_over,
    source_leaves,
    target_joins,
)
from tests.simulation.violation import hold
from tests.simulation.worker import Worker
from tests.simulation.world import World

PLACE = "a move takes its target in place of its source, and nobody else"
FOREVER = 1e9

STEPS: tuple[Judge, ...] = (begins_move, target_joins, asks_to_hand_over, hands_over, source_leaves)
"""What happens to a moved primary, in order. A moved backup is not asked to hand over."""


def replica_moves(seed: int) -> Stage:
    """A backup, or the primary, moves to a free worker; then another one moves to the worker that is free now."""
    stage = Stage(seed)
    for turn in range(2):
        stage.until_written(10)
        source = stage.primary if (seed + turn) % 2 else stage.backups()[0]
        _moved(stage, source, stage.free()[0])
    stage.finish()
    return stage


def old_primary_hears_late(seed: int) -> Stage:
    """The answer to the swap of a hand-over is lost, and the old primary sees old maps and reaches no member. It must
    not answer primary reads.
    """
    stage = Stage(seed)
    stage.until_written(20)
    old = stage.primary

    def met() -> None:
        stage.lag(old, seconds=12.0)
        stage.cut_from_members(old)

    met_at = stage.order(hands_over, Mishap.ANSWER_LOST, met)
    assert stage.world.operator.hand_over()
    stage.until(lambda: bool(met_at), "hand-over")
    _ask_again_and_again(stage, old)
    stage.finish()
    return stage


def old_primary_is_not_asked(seed: int) -> Stage:
    """Another replica is to lead while the primary sees old maps and reaches no member. No other one may lead before it
    has stepped down.
    """
    stage = Stage(seed)
    stage.until_written(20)
    old = stage.primary
    stage.lag(old, seconds=12.0)
    stage.cut_from_members(old)
    assert stage.world.operator.hand_over()
    _ask_again_and_again(stage, old)
    stage.finish()
    return stage


def successor_is_away_when_it_is_asked_for(seed: int) -> Stage:
    """The successor dies as the primary is asked to hand over to it. Writes go on."""
    stage = Stage(seed)
    stage.until_written(20)
    successors: list[Worker] = []

    def met() -> None:
        plan = stage.world.operator.map.rebalance
        assert plan is not None
        successors.append(stage.world.workers[plan.plan.hand_overs[0].target])
        successors[0].crash(power=True)

    met_at = stage.order((asks_to_hand_over, hands_over)[seed % 2], (None, Mishap.ANSWER_LOST, Mishap.LATE)[seed % 3], met)
    assert stage.world.operator.hand_over()
    stage.until(lambda: bool(met_at), "request to hand over")
    stage.until_written(10)
    stage.finish()
    return stage


def primary_dies_as_it_is_asked(seed: int) -> Stage:
    """The primary dies as it is asked to hand over, before or after its swap is sent. An election is no hand-over: what
    was asked is over.
    """
    stage = Stage(seed)
    stage.until_written(20)
    primary = stage.primary
    mishap = (None, Mishap.REQUEST_LOST)[seed % 2]
    met_at = stage.order((asks_to_hand_over, hands_over)[seed // 2 % 2], mishap, lambda: primary.crash(power=True))
    assert stage.world.operator.hand_over()
    stage.until(lambda: bool(met_at), "hand-over")
    stage.until_elected()
    stage.until_written(5)
    stage.finish()
    return stage


def move_is_cancelled(seed: int) -> Stage:
    """The operator cancels the plan at each step of the move of a primary, or in the middle of the copy."""
    stage = Stage(seed)
    stage.until_written(20)
    before, source, target = stage.homes(), stage.primary, stage.free()[0]
    operator = stage.world.operator
    if seed == len(STEPS):
        stage.cut(target, source.name)
        stage.move(source, target)
        stage.until(lambda: stage.config.move is not None, "move")
        stage.run(3.0)
        assert operator.control(PlanState.CANCELLED)
    else:

        def cancel() -> None:
            operator.control(PlanState.CANCELLED)

        met_at = stage.order(STEPS[seed], None, cancel)
        stage.move(source, target)
        stage.until(lambda: bool(met_at), "step")
    stage.until(lambda: stage.config.move is None and stage.world.is_whole(), "end of the move")
    _check_homes(stage, before, source, target)
    stage.finish()
    return stage


def move_is_cancelled_while_a_replica_is_missing(seed: int) -> Stage:
    """Of two replicas one moves, the other is away. The plan is cancelled: the target is kept until enough others
    are in sync.
    """
    stage = Stage(seed, workers=4, replicas=2)
    stage.until_written(20)
    source, target = (stage.primary if seed % 2 else stage.backups()[0]), stage.free()[0]
    away = next(worker for worker in (stage.primary, *stage.backups()) if worker is not source)
    stage.cut(target, *stage.world.workers)
    stage.move(source, target)
    stage.until(lambda: stage.config.move is not None, "move")
    away.crash(power=True)
    stage.until(lambda: stage.config.primary_worker == source.me and len(stage.config.isr) == 1, "isr of one")
    assert stage.world.operator.control(PlanState.CANCELLED)
    stage.run(3.0)
    stage.world.network.heal()
    stage.run(3.0)
    stage.finish()
    return stage


def target_is_taken_away_as_a_move_begins(seed: int) -> Stage:
    """The target's worker is drained, or registers again with an older program, as its move is about to begin. It must
    not begin.
    """
    stage = Stage(seed, workers=5)
    stage.until_written(20)
    source, target = (stage.primary if seed % 2 else stage.backups()[0]), stage.free()[0]

    def met() -> None:
        if seed % 3:
            assert stage.world.operator.drain(target.me, primaries_only=False)
        else:
            target.crash(power=True)
            target.moves = False
            target.boot()

    met_at = stage.order(begins_move, None if seed % 3 else Mishap.LATE, met)
    stage.move(source, target)
    stage.until(lambda: bool(met_at), "begin of a move")
    stage.run(10.0)
    if not target.moves:
        target.crash(power=False)
        target.moves = True
    stage.finish()
    return stage


def target_never_returns(seed: int) -> Stage:
    """The target dies in the middle of the copy, or as it joins, and its operator forgets it. The move is given up, or
    the target is replaced.
    """
    stage = Stage(seed, workers=6)
    stage.until_written(20)
    source, target = (stage.primary if seed % 2 else stage.backups()[0]), stage.free()[0]
    met_at = stage.order((begins_move, target_joins)[seed // 2 % 2], None, lambda: target.crash(power=True))
    stage.move(source, target)
    stage.until(lambda: bool(met_at), "step of the move")
    stage.until(lambda: target.me not in stage.world.etcd.map.workers, "end of its registration")
    assert stage.world.operator.forget(target.me)
    stage.finish()
    return stage


def source_waits_while_a_member_does_not_answer(seed: int) -> Stage:
    """The target is in sync, but a member does not answer the coordinators: the source keeps its data until it does."""
    stage = Stage(seed)
    stage.until_written(20)
    source, target = (stage.primary if seed % 2 else stage.backups()[0]), stage.free()[0]
    unheard = next(worker for worker in (*stage.backups(), stage.primary) if worker is not source)
    stage.move(source, target)
    stage.until(lambda: target.me in {stage.config.worker_of[each] for each in stage.config.isr}, "target in sync")
    stage.cut(unheard, *(each.name for each in stage.world.coordinators))
    stage.run(8.0)
    stage.finish()
    return stage


def target_begins_anew(seed: int) -> Stage:
    """The target loses its disk in the middle of the copy, begins anew under another id, and takes the place all the
    same.
    """
    stage = Stage(seed)
    stage.until_written(20)
    before, source, target = stage.homes(), (stage.primary, stage.backups()[0])[seed % 2], stage.free()[0]
    stage.cut(target, stage.primary.name)
    stage.move(source, target)
    stage.until(lambda: target.me in map(stage.config.worker_of.get, stage.config.learners), "target")
    stage.until(lambda: bool(target.disk.folders), "folder")
    target.crash(power=True)
    for _, replica in sorted(target.disk.folders):
        stage.world.holdings.wiped(replica)
    target.disk.folders.clear()
    stage.run(0.5)
    target.boot()
    stage.run(1.0)
    stage.cut_back(target, stage.primary.name)
    stage.until_moved()
    hold(stage.homes() == before - {source.me} | {target.me}, PLACE, f"{before} became {stage.homes()}")
    stage.finish()
    return stage


def another_member_falls_behind_while_the_target_warms(seed: int) -> Stage:
    """The target is in sync and builds its indexes. Another backup falls out of the isr, and must find a place in it
    before the source can leave.
    """
    stage = Stage(seed)
    stage.until_written(20)
    before, target = stage.homes(), stage.free()[0]
    source = stage.primary if seed % 2 else stage.backups()[0]
    other = next(worker for worker in stage.backups() if worker is not source)
    target.builds_until = FOREVER
    stage.move(source, target)
    stage.until(lambda: len(stage.config.isr) == 4, "target in sync")
    stage.run(4.0)
    hold(len(stage.config.isr) == 4, "a target builds its indexes before the source leaves", f"{stage.config}")
    stage.cut_from_members(other)
    stage.until(lambda: len(stage.config.isr) == 3, "shrink")
    stage.until_written(5)
    stage.world.network.heal()
    target.builds_until = 0.0
    stage.until_moved()
    hold(stage.homes() == before - {source.me} | {target.me}, PLACE, f"{before} became {stage.homes()}")
    stage.finish()
    return stage


def source_is_damaged_as_it_moves(seed: int) -> Stage:
    """Of two replicas one moves. It is damaged before the target is in sync, and returns without what it had."""
    stage = Stage(seed, replicas=2)
    stage.until_written(20)
    source, target = (stage.primary if seed % 2 else stage.backups()[0]), stage.free()[0]
    stage.cut(target, *stage.world.workers)
    stage.move(source, target)
    stage.until(lambda: stage.config.move is not None, "move")
    _damage(stage, source)
    stage.run(1.0 + seed)
    source.boot()
    stage.until(lambda: len(stage.config.isr) == 1, "isr without the source")
    stage.world.network.heal()
    stage.finish()
    return stage


def damaged_replica_is_silent_while_another_moves(seed: int) -> Stage:
    """Of two replicas the intact one moves, and is away; the damaged one reports that it is not open, then misses a
    question. The intact one must stay, and lead when it is back, before or after it was replaced.
    """
    stage = Stage(seed, replicas=2)
    stage.until_written(20)
    intact, damaged = (stage.backups()[0], stage.primary) if seed % 2 else (stage.primary, stage.backups()[0])
    target = stage.free()[0]
    stage.cut(target, *stage.world.workers)
    stage.move(intact, target)
    stage.until(lambda: stage.config.move is not None, "move")
    intact.crash(power=True)
    _damage(stage, damaged)
    stage.run(9.0)
    damaged.boot()
    stage.run(14.0)
    damaged.pause()
    stage.run(1.5)
    damaged.wake()
    stage.run(1.0 + 8.0 * (seed // 2))
    folders = set(intact.disk.folders)
    intact.boot()
    stage.until(lambda: stage.config.primary_worker == intact.me, "election of the intact replica")
    hold(folders <= set(intact.disk.folders), "data is deleted on a tombstone only", "the intact replica is gone")
    stage.finish()
    return stage


def drained_worker_leads_no_more(seed: int) -> Stage:
    """The primary's worker is drained of primaries: another replica leads, without a plan. Then it dies, unnoticed."""
    stage = Stage(seed)
    stage.until_written(20)
    drained = stage.primary
    assert stage.world.operator.drain(drained.me, primaries_only=True)
    stage.until(lambda: stage.primary is not drained, "hand-over")
    term = stage.config.term
    drained.crash(power=bool(seed % 2))
    stage.until_written(20)
    stage.run(8.0)
    hold(stage.config.term == term, "heals", "a worker that leads nothing died, and another primary was elected")
    stage.finish()
    return stage


def worker_is_drained(seed: int) -> Stage:
    """A worker is drained while the coordinator that leads, or its target, crashes. Nothing is left on it."""
    stage = Stage(seed, workers=5)
    stage.until_written(20)
    drained = stage.primary if seed % 2 else stage.backups()[0]
    assert stage.world.operator.drain(drained.me, primaries_only=False)
    if seed % 3 == 1:
        stage.leader.kill()
    stage.until(lambda: stage.config.move is not None, "move")
    if seed % 3 == 2:
        stage.worker_of(stage.config.learners[0]).crash(power=True)
        stage.run(2.0)
    stage.finish()
    return stage


def forgotten_worker_is_replaced_at_once(seed: int) -> Stage:
    """A worker is gone, and an operator says that it will not return: its replica is replaced before the usual time."""
    stage = Stage(seed, workers=5)
    stage.until_written(20)
    gone = stage.primary if seed % 2 else stage.backups()[0]
    gone.crash(power=True)
    stage.until(lambda: gone.me not in stage.world.etcd.map.workers, "end of its registration")
    began = stage.world.now
    stage.until_written(1)
    assert stage.world.operator.forget(gone.me)
    stage.until(stage.world.is_whole, "whole cluster", 10.0 - min(stage.world.now - began, 5.0))
    stage.finish()
    return stage


def moved_to_a_program_without_moves(seed: int) -> Stage:
    """The target's program, or the program of a member, knows no moves. None begins, and the plan ends."""
    stage = Stage.of(World(seed, workers=5, replicas=3, think_s=0.1))
    older = stage.world.workers[f"w{seed % 5}"]
    older.moves = False
    stage.begin()
    stage.until_written(10)
    source, free = (stage.primary if seed % 2 else stage.backups()[0]), stage.free()
    target = older if older in free else free[0]
    stage.move(source, target)
    plan = stage.world.operator.map.rebalance
    assert plan is not None
    stage.until(lambda: stage.world.operator.unfinished() is None, "end of the plan", 60.0)
    hold(not stage.world.configurations.moves.counts["moves begun"], PLACE, "a move began")
    stage.finish()
    return stage


def program_is_replaced_by_one_without_moves(seed: int) -> Stage:
    """In the middle of a move, the worker of the primary, of the source or of the target gets an older program, which
    loses the move with the next change that it makes.
    """
    stage = Stage(seed)
    stage.until_written(20)
    source, target = stage.backups()[0], stage.free()[0]
    older = (stage.primary, source, target)[seed % 3]
    target.builds_until = FOREVER
    stage.move(source, target)
    stage.until(lambda: stage.config.move is not None and (seed < 3 or stage.config.move.target in stage.config.isr), "move")
    older.crash(power=True)
    older.moves = False
    older.boot()
    target.builds_until = FOREVER
    stage.run(6.0)
    older.crash(power=False)
    older.moves = True
    older.boot()
    stage.finish()
    return stage


def replica_count_changes_during_a_move(seed: int) -> Stage:
    """While the target copies or warms, the replica count goes from three to two, or from two to three."""
    few = seed % 2
    stage = Stage(seed, workers=5, replicas=2 if few else 3)
    stage.until_written(20)
    source, target = (stage.primary if seed % 3 else stage.backups()[0]), stage.free()[0]
    target.builds_until = FOREVER
    if seed % 4 < 2:
        stage.cut_from_members(target)
    stage.move(source, target)
    stage.until(lambda: stage.config.move is not None, "move")
    stage.run(2.0)
    stage.world.alter(3 if few else 2)
    stage.run(2.0)
    stage.finish()
    return stage


def collection_is_dropped_during_a_move(seed: int) -> Stage:
    """A collection is dropped while a replica of it is copied, or warms, or hands over."""
    stage = Stage(seed)
    stage.until_written(20)
    source, target = (stage.primary if seed % 2 else stage.backups()[0]), stage.free()[0]
    target.builds_until = FOREVER if seed < 4 else 0.0
    stage.move(source, target)
    stage.until(lambda: stage.config.move is not None, "move")
    stage.run((0.05, 0.3, 3.0)[seed % 3])
    stage.world.stop_clients()
    stage.world.drop()
    stage.until(lambda: stage.world.operator.unfinished() is None, "end of the plan")
    return stage


def _moved(stage: Stage, source: Worker, target: Worker) -> None:
    before = stage.homes()
    stage.move(source, target)
    stage.until_moved()
    hold(stage.homes() == before - {source.me} | {target.me}, PLACE, f"{before} became {stage.homes()}")


def _check_homes(stage: Stage, before: set[WorkerId], source: Worker, target: Worker) -> None:
    after = stage.homes()
    hold(after in (before, before - {source.me} | {target.me}), PLACE, f"{before} became {after}")


def _ask_again_and_again(stage: Stage, worker: Worker) -> None:
    for _ in range(60):
        stage.run(0.1)
        for number in range(4):
            for name in ("c1", "c2"):
                stage.world.clients[0].read_at(worker, f"{name}.{number}")


def _damage(stage: Stage, worker: Worker) -> None:
    replica = next(each for each, home in stage.config.worker_of.items() if home == worker.me)
    worker.crash(power=True)
    worker.disk.folders[stage.world.shard, replica].damaged = True
    stage.world.holdings.wiped(replica)


MOVE_SCRIPTS = (
    replica_moves,
    old_primary_hears_late,
    old_primary_is_not_asked,
    successor_is_away_when_it_is_asked_for,
    primary_dies_as_it_is_asked,
    move_is_cancelled,
    move_is_cancelled_while_a_replica_is_missing,
    target_is_taken_away_as_a_move_begins,
    target_never_returns,
    source_waits_while_a_member_does_not_answer,
    target_begins_anew,
    another_member_falls_behind_while_the_target_warms,
    source_is_damaged_as_it_moves,
    damaged_replica_is_silent_while_another_moves,
    drained_worker_leads_no_more,
    worker_is_drained,
    forgotten_worker_is_replaced_at_once,
    moved_to_a_program_without_moves,
    program_is_replaced_by_one_without_moves,
    replica_count_changes_during_a_move,
    collection_is_dropped_during_a_move,
)
