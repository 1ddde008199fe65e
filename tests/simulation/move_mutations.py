"""Every rule of moves and hand-overs, broken on purpose: the part of the mutation table that belongs to them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from shoal.coordinator import act
from shoal.coordinator.logic import failover, moves, plan_run, reconcile, replica_count, tombstones
from shoal.coordinator.logic.snapshot import Snapshot
from shoal.coordinator.logic.steps import AskSuccessor, BeginMove, CancelMove, MoveStep, RetireReplica, WithdrawMove
from shoal.core.collection import Collection
from shoal.core.ids import ReplicaId, WorkerId
from shoal.core.rebalance import RebalanceEntry
from shoal.core.shard_config import ShardConfig, ShardEntry, handed_over, is_spare, keepers, renamed_learner
from shoal.shard_worker.hosting import assignments
from shoal.shard_worker.hosting.assignments import Assignments
from shoal.shard_worker.logic.replication.leadership import Leadership
from shoal.shard_worker.logic.replication.progress import Peer
from shoal.store.interface import Absent, Compare, Unchanged
from shoal.store.keys import Keys
from tests.simulation.mutation import Breaking, Mutation, attribute

# Hand-overs


async def _swaps_first(self: Assignments, entry: ShardEntry, config: ShardConfig) -> None:
    home = config.worker_of[config.primary]
    if await self._swap(config, entry.epoch, also={home: config.primary_reg}) is not None:
        self._host.open[entry.config.shard].lead_no_more(entry.config.term)


_next_term = failover.next_term


def _keeps_the_successor(config: ShardConfig, candidate: ReplicaId, workers: Any) -> ShardConfig:
    return dataclasses.replace(_next_term(config, candidate, workers), successor=config.successor)


_asked = moves.asked


def _elects_without_asking(entry: ShardEntry, snapshot: Snapshot, successor: ReplicaId, plan: RebalanceEntry | None = None) -> AskSuccessor:
    step = _asked(entry, snapshot, successor, plan)
    registration = snapshot.map.workers[entry.config.worker_of[successor]].registration
    return dataclasses.replace(step, config=handed_over(step.config, registration))


@contextmanager
def _coordinator_elects_alone() -> Iterator[None]:
    with patch.object(moves, "asked", _elects_without_asking), patch.object(plan_run, "asked", _elects_without_asking):
        yield


# The begin of a move

_swap_of_move = act._swap_of_move


def _without(dropped: Callable[[Compare, Keys], bool]) -> Breaking:
    """Return the breaking that lets a move begin whatever has become of what these compares prove."""

    def swap_of_move(step: MoveStep, keys: Keys) -> tuple[Compare, ...]:
        compares = _swap_of_move(step, keys)
        return tuple(each for each in compares if not dropped(each, keys)) if isinstance(step, BeginMove) else compares

    return attribute(act, "_swap_of_move", swap_of_move)


def _is_of_plan(compare: Compare, keys: Keys) -> bool:
    return compare.key == keys.rebalance


def _is_of_drain(compare: Compare, keys: Keys) -> bool:
    return isinstance(compare, Absent) and compare.key.startswith(keys.drain(WorkerId("")))


def _is_of_worker(compare: Compare, keys: Keys) -> bool:
    return isinstance(compare, Unchanged) and compare.key.startswith(keys.worker(WorkerId("")))


# Moves

_moving_step, _absent_s = moves.moving_step, tombstones.absent_s


def _source_leaves_first(
    entry: ShardEntry, collection: Collection, snapshot: Snapshot, *, lacks: bool
) -> AskSuccessor | WithdrawMove | CancelMove | RetireReplica | None:
    config, move = entry.config, entry.config.move
    if move is None or move.source == config.primary or move.target in config.isr or lacks or move.source not in config.isr:
        return _moving_step(entry, collection, snapshot, lacks=lacks)
    after = dataclasses.replace(tombstones.retired(config, move.source), move=None)
    return RetireReplica(collection=collection, before=entry, config=after, replica=move.source, registrations={})


def _counts_the_source(config: ShardConfig) -> ReplicaId | None:
    return None if config.move is None or config.move.target in config.isr else config.move.target


def _whoever_is_no_primary(config: ShardConfig, member: ReplicaId, snapshot: Snapshot) -> bool:
    return member != config.primary


def _as_the_configuration_says(config: ShardConfig, member: ReplicaId, snapshot: Snapshot) -> bool:
    return member not in config.elr and is_spare(config, member)


def _perhaps_returns(config: ShardConfig, member: ReplicaId, snapshot: Snapshot) -> float:
    home = config.worker_of.get(member)
    return -1.0 if home is None or home in snapshot.map.workers else snapshot.absent_s.get(home, -1.0)


@contextmanager
def _forgotten_workers_may_return() -> Iterator[None]:
    with ExitStack() as stack:
        for module in (tombstones, moves, replica_count):
            stack.enter_context(patch.object(module, "absent_s", _perhaps_returns))
        yield


@contextmanager
def _nothing_is_given_up() -> Iterator[None]:
    with patch.object(moves, "trouble_of", lambda *_: None), patch.object(plan_run, "trouble_of", lambda *_: None):
        yield


def _only_the_target(self: Leadership) -> Iterable[Peer]:
    config = self.config
    taken, places = len(keepers(config, config.primary)) + 1, max(config.rf, config.min_isr + 1)
    if taken < places:
        return self.peers.values()
    target = None if config.move is None else config.move.target
    return (peer for peer in self.peers.values() if peer.id == target)


def _forgets_the_target(config: ShardConfig, before: ReplicaId, after: ReplicaId) -> ShardConfig:
    return dataclasses.replace(renamed_learner(config, before, after), move=config.move)


MOVE_MUTATIONS: tuple[Mutation, ...] = (
    Mutation(
        rule="a primary steps down before it hands over",
        patched="Assignments._hand_over",
        breaking=attribute(Assignments, "_hand_over", _swaps_first),
        caught_by=("old_primary_hears_late",),
        starred=False,
        by_seeds=True,
    ),
    Mutation(
        rule="an election ends what the old primary was asked",
        patched="failover.next_term",
        breaking=attribute(failover, "next_term", _keeps_the_successor),
        caught_by=("primary_dies_as_it_is_asked",),
        starred=False,
        by_seeds=True,
    ),
    Mutation(
        rule="the extra place in the isr is anybody's once the target has one",
        patched="Leadership._with_a_place",
        breaking=attribute(Leadership, "_with_a_place", _only_the_target),
        caught_by=("another_member_falls_behind_while_the_target_warms",),
        starred=False,
        by_seeds=True,
    ),
    Mutation(
        rule="a replica that begins anew stays the target of its move",
        patched="shard_config.renamed_learner",
        breaking=attribute(assignments, "renamed_learner", _forgets_the_target),
        caught_by=("target_begins_anew",),
        starred=False,
    ),
    Mutation(
        rule="only a primary that has stepped down is followed by another while its lease lives",
        patched="moves.asked",
        breaking=_coordinator_elects_alone,
        caught_by=("old_primary_is_not_asked",),
        starred=False,
        by_seeds=True,
    ),
    Mutation(
        rule="a move begins only for a plan as it is",
        patched="act._swap_of_move",
        breaking=_without(_is_of_plan),
        caught_by=("move_is_cancelled",),
        starred=False,
    ),
    Mutation(
        rule="no move begins to a worker that is drained",
        patched="act._swap_of_move",
        breaking=_without(_is_of_drain),
        caught_by=("target_is_taken_away_as_a_move_begins",),
        starred=False,
    ),
    Mutation(
        rule="no move begins where a program may not know it",
        patched="act._swap_of_move",
        breaking=_without(_is_of_worker),
        caught_by=("target_is_taken_away_as_a_move_begins",),
        starred=False,
    ),
    Mutation(
        rule="the source of a move leaves after its target is in sync",
        patched="moves.moving_step",
        breaking=attribute(replica_count, "moving_step", _source_leaves_first),
        caught_by=("replica_moves",),
        starred=False,
        by_seeds=True,
    ),
    Mutation(
        rule="the source of a move counts until its target is in sync",
        patched="shard_config.passing",
        breaking=attribute(tombstones, "passing", _counts_the_source),
        caught_by=("another_member_falls_behind_while_the_target_warms",),
        starred=False,
    ),
    Mutation(
        rule="a move deletes nothing unless as many others as are wanted are in sync",
        patched="moves._may_get_tombstone",
        breaking=attribute(moves, "_may_get_tombstone", _whoever_is_no_primary),
        caught_by=("move_is_cancelled_while_a_replica_is_missing",),
        starred=False,
        by_seeds=True,
    ),
    Mutation(
        rule="a move deletes nothing unless as many others have just told that they are open",
        patched="moves._may_get_tombstone",
        breaking=attribute(moves, "_may_get_tombstone", _as_the_configuration_says),
        caught_by=("source_waits_while_a_member_does_not_answer",),
        starred=False,
    ),
    Mutation(
        rule="the source of a move stays while the target builds its indexes",
        patched="moves._is_warm",
        breaking=attribute(moves, "_is_warm", lambda config, move, snapshot: True),
        caught_by=("another_member_falls_behind_while_the_target_warms",),
        starred=False,
    ),
    Mutation(
        rule="a move whose target does not come is given up",
        patched="moves.trouble_of",
        breaking=_nothing_is_given_up,
        caught_by=("target_never_returns",),
        starred=False,
    ),
    Mutation(
        rule="a forgotten worker is lost at once",
        patched="tombstones.absent_s",
        breaking=_forgotten_workers_may_return,
        caught_by=("forgotten_worker_is_replaced_at_once",),
        starred=False,
    ),
    Mutation(
        rule="a drained worker leads nothing",
        patched="moves.drained_step",
        breaking=attribute(reconcile, "drained_step", lambda entry, snapshot, loads: None),
        caught_by=("drained_worker_leads_no_more",),
        starred=False,
        by_seeds=True,
    ),
)
