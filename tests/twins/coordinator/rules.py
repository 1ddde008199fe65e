"""The rules of every committed step, independent of the decider. Each step is checked against the cluster just before
it.
"""

from __future__ import annotations

import dataclasses
from typing import assert_never

from shoal.coordinator.logic.steps import (
    ActivateCollection,
    AddLearners,
    AskSuccessor,
    BeginMove,
    CancelMove,
    CreateCluster,
    CreateShard,
    DeleteCollection,
    DeleteShard,
    ElectPrimary,
    EndPlan,
    ForgetReplicas,
    GiveUpItems,
    MoveStep,
    PlaceShardAnew,
    PlanStep,
    RetireReplica,
    SetReplication,
    Step,
    WithdrawMove,
)
from shoal.core.cluster_map import ClusterMap
from shoal.core.collection import CollectionState
from shoal.core.ids import WorkerId
from shoal.core.rebalance import PlanState
from shoal.core.shard_config import ShardConfig, ShardState, is_gone, leads, passing


def check_step(step: Step, now: ClusterMap) -> None:
    match step:
        case CreateCluster():
            assert now.cluster is None
        case CreateShard(config=config):
            assert config.shard not in now.shards
            _check_initial_placement(config, now)
        case PlaceShardAnew(config=config):
            old = now.shards[config.shard].config
            assert old.state is ShardState.CREATING, "an ACTIVE shard was begun anew: its data would be lost"
            assert config.term > old.term
            assert not {*config.members} & {*old.worker_of}
            assert all(is_gone(config, member) for member in config.worker_of if member in old.worker_of)
            _check_initial_placement(config, now)
        case ElectPrimary(config=config):
            _check_election(config, now.shards[config.shard].config, now)
        case SetReplication(config=config):
            _check_replication(config, now.shards[config.shard].config, now)
        case AddLearners(config=config):
            _check_addition(config, now.shards[config.shard].config, now)
        case RetireReplica(config=config):
            _check_retirement(config, now.shards[config.shard].config, now)
        case ForgetReplicas(config=config):
            _check_forgetting(config, now.shards[config.shard].config, now)
        case DeleteShard(entry=entry):
            assert not now.shards[entry.config.shard].config.worker_of
            assert now.collections[entry.config.shard.collection].state is CollectionState.DROPPING
        case ActivateCollection(collection=collection):
            entries = now.shards_of(collection.id)
            assert [entry.config.shard.number for entry in entries] == list(range(collection.spec.shards))
            assert all(entry.config.state is ShardState.ACTIVE for entry in entries)
            # Enough replicas were in sync in the map of the decision; some may have died since.
        case DeleteCollection(collection=collection):
            assert now.collections[collection.id].state is CollectionState.DROPPING
            assert not now.shards_of(collection.id)
        case _:
            _check_move_step(step, now)


def _check_move_step(step: MoveStep | PlanStep, now: ClusterMap) -> None:
    match step:
        case BeginMove(config=config, target=target, plan=plan, number=number):
            _check_begun(config, now.shards[config.shard].config, now, target)
            assert now.rebalance is not None
            assert (now.rebalance.revision, now.rebalance.state) == (plan.revision, PlanState.RUNS)
            assert number not in now.rebalance.given_up
        case AskSuccessor(config=config):
            _check_asked(config, now.shards[config.shard].config, now)
        case WithdrawMove(config=config):
            old = now.shards[config.shard].config
            _unchanged(config, old, "move", "successor")
            assert (config.move, config.successor) != (old.move, old.successor)
            assert config.move in (None, old.move)
            assert config.successor in (None, old.successor)
        case CancelMove(config=config, replica=replica):
            old = now.shards[config.shard].config
            assert old.move is not None
            assert old.move.target == replica == config.leaving[-1]
            _check_retirement(config, old, now)
        case GiveUpItems(before=before, after=after) | EndPlan(before=before, after=after):
            assert now.rebalance == before, "a plan was changed that had changed"
            assert before.given_up.items() <= after.given_up.items()
            assert after.plan == before.plan
        case _:
            assert_never(step)


def check_shape(config: ShardConfig) -> None:
    """Assert the rules of every configuration."""
    for members in (config.isr, config.elr, config.learners, config.leaving):
        assert len(set(members)) == len(members)
    assert not {*config.isr} & {*config.elr}
    assert not {*config.learners} & {*config.isr, *config.elr, *config.leaving}
    assert len(set(config.worker_of.values())) == len(config.worker_of), "two replicas of a shard are on one worker"


def _check_initial_placement(config: ShardConfig, now: ClusterMap) -> None:
    collection = now.collections[config.shard.collection]
    check_shape(config)
    assert collection.state is CollectionState.CREATING
    assert {config.worker_of[member] for member in config.members} <= set(now.workers)
    assert (config.isr, config.elr) == ((config.primary,), ())
    assert len(config.members) <= collection.spec.replicas == config.rf
    assert config.min_isr == collection.spec.min_isr
    assert now.workers[config.worker_of[config.primary]].registration == config.primary_reg


def _check_election(config: ShardConfig, old: ShardConfig, now: ClusterMap) -> None:
    check_shape(config)
    assert config.primary in {*old.isr, *old.elr}, "somebody was elected who may miss committed records"
    assert config.term == old.term + 1
    assert config.primary in config.isr
    assert config.primary not in config.leaving
    assert {*old.members} - {*old.leaving} <= {*config.members} - {*config.leaving}, "a replica is nothing any more"
    assert config.primary_reg == now.workers[config.worker_of[config.primary]].registration
    assert dict(config.worker_of) == dict(old.worker_of)
    assert (config.state, config.rf, config.min_isr) == (old.state, old.rf, old.min_isr)
    assert (config.move, config.successor) == (old.move, None)
    home = old.primary_worker
    assert {*config.isr, *config.elr} == {*old.isr, *old.elr}, "a replica that may lead was given up on hearsay"
    assert {*old.isr} & {*config.isr} or config.primary in old.elr, "the isr was replaced, though one of it leads"
    over = old.primary_reg == 0 or home is None or home not in now.workers or now.workers[home].registration != old.primary_reg
    assert over, "a living term was ended"


def _check_begun(config: ShardConfig, old: ShardConfig, now: ClusterMap, target: WorkerId) -> None:
    check_shape(config)
    _unchanged(config, old, "learners", "worker_of", "move")
    assert old.move is None
    assert config.move is not None
    assert (config.learners[:-1], config.learners[-1]) == (old.learners, config.move.target)
    assert {each: home for each, home in config.worker_of.items() if each != config.move.target} == dict(old.worker_of)
    assert config.worker_of[config.move.target] == target
    assert target in now.workers
    assert target not in now.drains
    assert target not in old.worker_of.values(), "two replicas of a shard on one worker"
    assert config.move.source in old.members
    assert _leads(old, now)
    assert len([each for each in old.isr if each not in old.leaving]) >= old.rf, "a move begins while replicas are missing"
    assert all(now.workers[home].can_move for home in config.worker_of.values() if home in now.workers)


def _check_asked(config: ShardConfig, old: ShardConfig, now: ClusterMap) -> None:
    _unchanged(config, old, "successor")
    assert old.successor is None
    assert config.successor in old.isr
    assert config.successor != old.primary
    assert config.worker_of[config.successor] in now.workers
    assert old.primary_worker is not None
    assert now.workers[old.primary_worker].can_move


def _unchanged(config: ShardConfig, old: ShardConfig, *but: str) -> None:
    """Assert that only the named fields differ."""
    assert dataclasses.replace(config, **{name: getattr(old, name) for name in but}) == old


def _leads(config: ShardConfig, now: ClusterMap) -> bool:
    home = config.primary_worker
    return home is not None and home in now.workers and leads(config, config.primary, now.workers[home].registration)


def _check_replication(config: ShardConfig, old: ShardConfig, now: ClusterMap) -> None:
    spec = now.collections[config.shard.collection].spec
    check_shape(config)
    _unchanged(config, old, "rf", "min_isr", "leaving")
    assert {*config.leaving} <= {*old.leaving}
    assert {*old.leaving} - {*config.leaving} <= {*config.isr}, "a tombstone was taken back from a replica that may be deleted already"
    assert config.rf == spec.replicas
    assert config.min_isr in (old.min_isr, spec.min_isr)
    assert config.min_isr <= old.min_isr or len(config.isr) >= config.min_isr, "min_isr was raised beyond what is in sync"


def _check_addition(config: ShardConfig, old: ShardConfig, now: ClusterMap) -> None:
    check_shape(config)
    _unchanged(config, old, "learners", "worker_of")
    new = config.learners[len(old.learners) :]
    assert new
    assert config.learners == (*old.learners, *new)
    assert {each: home for each, home in config.worker_of.items() if each not in new} == dict(old.worker_of)
    assert {config.worker_of[each] for each in new} <= set(now.workers)
    live = [each for each in config.members if each not in config.leaving and config.worker_of[each] in now.workers]
    assert len([each for each in live if each != passing(config)]) <= config.rf, "more live replicas than are wanted"


def _check_retirement(config: ShardConfig, old: ShardConfig, now: ClusterMap) -> None:
    check_shape(config)
    _unchanged(config, old, "learners", "leaving", "move", "successor")
    *before, victim = config.leaving
    if old.move is None:
        assert (config.move, config.successor) == (None, old.successor)
    elif victim in (old.move.source, old.move.target):
        assert config.move is None
        assert config.successor in (None, old.successor)
    else:
        assert (config.move, config.successor) == (old.move, old.successor)
    assert tuple(before) == old.leaving
    assert victim != config.primary
    assert victim not in config.elr, "a replica got its tombstone that may be needed to lead"
    left = [each for each in config.isr if each not in config.leaving]
    assert len(left) >= config.rf, "a replica got its tombstone before as many others as are wanted are in sync"
    if victim in config.isr:
        assert len(config.isr) > config.min_isr
        homes = {config.worker_of[each] for each in config.isr}
        assert homes <= set(now.workers), "a member of the isr got its tombstone while another's worker is gone, or its own"
        assert sum(each in config.isr for each in config.leaving) == 1


def _check_forgetting(config: ShardConfig, old: ShardConfig, now: ClusterMap) -> None:
    collection = now.collections[config.shard.collection]
    _unchanged(config, old, "worker_of", "leaving")
    forgotten = {*old.worker_of} - {*config.worker_of}
    assert forgotten
    assert not {old.worker_of[each] for each in forgotten} & set(now.workers)
    assert collection.state is CollectionState.DROPPING or all(is_gone(old, each) for each in forgotten)
