"""The rules of every committed step, independent of the decider. Each step is checked against the cluster just before
it.
"""

from __future__ import annotations

import dataclasses
from typing import assert_never

from shoal.coordinator.logic.steps import (
    ActivateCollection,
    AddLearners,
    CreateCluster,
    CreateShard,
    DeleteCollection,
    DeleteShard,
    ElectPrimary,
    ForgetReplicas,
    PlaceShardAnew,
    RetireReplica,
    SetReplication,
    Step,
)
from shoal.core.cluster_map import ClusterMap
from shoal.core.collection import CollectionState
from shoal.core.shard_config import ShardConfig, ShardState, is_gone, leads


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
    home = old.primary_worker
    assert {*config.isr, *config.elr} == {*old.isr, *old.elr}, "a replica that may lead was given up on hearsay"
    assert {*old.isr} & {*config.isr} or config.primary in old.elr, "the isr was replaced, though one of it leads"
    over = old.primary_reg == 0 or home is None or home not in now.workers or now.workers[home].registration != old.primary_reg
    assert over, "a living term was ended"


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
    assert len(live) <= config.rf, "more live replicas than are wanted"


def _check_retirement(config: ShardConfig, old: ShardConfig, now: ClusterMap) -> None:
    check_shape(config)
    _unchanged(config, old, "learners", "leaving")
    *before, victim = config.leaving
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
