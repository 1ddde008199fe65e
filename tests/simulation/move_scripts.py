"""Directed schedules of moves and hand-overs."""

from __future__ import annotations

from tests.simulation.network import Mishap
from tests.simulation.stage import Stage, asks_to_hand_over, hands_over
from tests.simulation.violation import hold
from tests.simulation.worker import Worker

PLACE = "a move takes its target in place of its source, and nobody else"
FOREVER = 1e9


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


def _moved(stage: Stage, source: Worker, target: Worker) -> None:
    before = stage.homes()
    stage.move(source, target)
    stage.until_moved()
    hold(stage.homes() == before - {source.me} | {target.me}, PLACE, f"{before} became {stage.homes()}")


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
    source_waits_while_a_member_does_not_answer,
    target_begins_anew,
    another_member_falls_behind_while_the_target_warms,
    source_is_damaged_as_it_moves,
    damaged_replica_is_silent_while_another_moves,
)
