"""Directed schedules of what operators do: plans that are paused, cancelled or cannot go on, drains, forgotten workers,
programs of another version, and collections that change while a replica moves.
"""

from __future__ import annotations

from shoal.core.ids import WorkerId
from shoal.core.rebalance import ItemState, PlanState
from tests.simulation.move_scripts import FOREVER, PLACE
from tests.simulation.network import Mishap
from tests.simulation.stage import Judge, Stage, asks_to_hand_over, begins_move, hands_over, source_leaves, target_joins
from tests.simulation.violation import hold
from tests.simulation.worker import Worker
from tests.simulation.world import World

STEPS: tuple[Judge, ...] = (begins_move, target_joins, asks_to_hand_over, hands_over, source_leaves)
"""What happens to a primary that moves, in order. A backup is not asked to hand over."""


def plan_is_paused(seed: int) -> Stage:
    """A plan of two moves is paused in the middle of the first, which ends; the second begins when the plan goes on."""
    stage = Stage(seed, workers=5)
    stage.until_written(10)
    before, (first, second), targets = stage.homes(), stage.backups()[:2], stage.free()
    operator, counts = stage.world.operator, stage.world.configurations.moves.counts
    assert operator.apply([(first.me, targets[0].me), (second.me, targets[1].me)])
    met_at = stage.order((begins_move, target_joins)[seed % 2], None, lambda: None)
    stage.until(lambda: bool(met_at), "step of the first move")
    stage.run(0.01)
    assert operator.control(PlanState.PAUSED)
    stage.run(6.0)
    hold(counts["moves begun"] == 1 == counts["moves done"], "a paused plan begins nothing, and ends what has begun", str(counts))
    assert operator.control(PlanState.RUNS)
    stage.until_moved()
    hold(stage.homes() == before - {first.me, second.me} | {target.me for target in targets}, PLACE, f"{before} became {stage.homes()}")
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


def target_makes_no_progress(seed: int) -> Stage:
    """The target cannot reach the primary: the item is given up, the reason is noted, and the plan ends."""
    stage = Stage(seed)
    stage.until_written(10)
    before, source, target = stage.homes(), (stage.primary if seed % 2 else stage.backups()[0]), stage.free()[0]
    stage.cut_from_members(target)
    stage.move(source, target)
    stage.until(lambda: stage.world.operator.unfinished() is None, "end of the plan", 60.0)
    plan = stage.world.operator.map.rebalance
    assert plan is not None
    hold(plan.outcomes[1] is ItemState.FAILED and bool(plan.given_up[1]), PLACE, f"the item ended as {plan.outcomes}")
    stage.finish(lambda: hold(stage.homes() == before, PLACE, f"{before} became {stage.homes()}"))
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


def primary_is_drained_while_its_move_waits_to_be_given_up(seed: int) -> Stage:
    """The target of a primary's move makes no progress, and cannot be removed while another replica is away. The
    primary's worker, which sees old maps, is drained meanwhile: it is asked once to hand over, and then does.
    """
    stage = Stage(seed, workers=5)
    stage.until_written(10)
    source, away, target = stage.primary, stage.backups()[seed % 2], stage.free()[0]
    stage.cut_from_members(target)
    stage.move(source, target)
    stage.until(lambda: stage.config.move is not None, "move")
    stage.run(4.0)
    away.crash(power=True)

    def is_given_up() -> bool:
        plan = stage.world.operator.map.rebalance
        return plan is not None and bool(plan.given_up)

    stage.until(is_given_up, "note that the item is given up")
    stage.lag(source, seconds=2.0)
    assert stage.world.operator.drain(source.me, primaries_only=True)
    stage.until(lambda: stage.primary is not source, "hand-over")
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


def one_replica_is_wanted_while_a_backup_moves(seed: int) -> Stage:
    """While a backup moves, one replica becomes enough. The source stays until the target is in sync, for which the isr
    must have a place beside the source and the primary."""
    stage = Stage(seed, replicas=2)
    stage.until_written(20)
    (source,), target = stage.backups(), stage.free()[0]
    stage.cut_from_members(target)
    stage.move(source, target)
    stage.until(lambda: stage.config.move is not None, "move")
    stage.world.alter(1)
    stage.run(1.0 + seed)
    for other in list(stage.world.workers):
        stage.cut_back(target, other)
    stage.until_moved()
    stage.finish()
    hold(len(stage.homes()) == 1, PLACE, f"one replica was asked for, and there are {stage.homes()}")
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


def _check_homes(stage: Stage, before: set[WorkerId], source: Worker, target: Worker) -> None:
    after = stage.homes()
    hold(after in (before, before - {source.me} | {target.me}), PLACE, f"{before} became {after}")


OPERATOR_SCRIPTS = (
    plan_is_paused,
    move_is_cancelled,
    move_is_cancelled_while_a_replica_is_missing,
    target_is_taken_away_as_a_move_begins,
    target_never_returns,
    target_makes_no_progress,
    drained_worker_leads_no_more,
    primary_is_drained_while_its_move_waits_to_be_given_up,
    worker_is_drained,
    forgotten_worker_is_replaced_at_once,
    moved_to_a_program_without_moves,
    program_is_replaced_by_one_without_moves,
    replica_count_changes_during_a_move,
    one_replica_is_wanted_while_a_backup_moves,
    collection_is_dropped_during_a_move,
)
