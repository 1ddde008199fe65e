"""Carries out steps: each becomes one compare-and-swap in the store. It decides nothing: a step whose conditions do not
hold any more is not applied.

Several swaps are sent as one transaction, which applies all of them or none. If it is rejected, each is tried alone.
Else nothing is tried again here: after a rejected step, or one with an unknown outcome, the next round decides again.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Callable, Sequence
from typing import assert_never

from shoal.coordinator.bundles import Attempt, Bundle, bundled
from shoal.coordinator.logic.failover import has_resigned
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
    OneKeyStep,
    PlaceShardAnew,
    PlanStep,
    Registrations,
    RetireReplica,
    SetReplication,
    Step,
    WithdrawMove,
)
from shoal.core.collection import Collection, CollectionState
from shoal.core.errors import Unavailable
from shoal.core.ids import Revision
from shoal.core.rebalance import RebalanceEntry
from shoal.core.shard_config import ShardConfig, ShardEntry
from shoal.runtime.logs import event
from shoal.store.codecs import encode_collection, encode_shard
from shoal.store.interface import Absent, Changed, Committed, Compare, Created, DeleteKey, Operation, Put, Store, Transaction, Unchanged
from shoal.store.keys import Keys
from shoal.store.rebalance_codecs import encode_rebalance

log = logging.getLogger("shoal.coordinator.act")

DONE, REJECTED, IN_DOUBT = "done", "rejected", "in_doubt"
"""Outcomes of a step: committed; rejected, because something had changed; unknown until the next round."""


def transaction_of(step: Step, keys: Keys, leadership: Revision) -> Transaction:
    """Return the transaction of a step. leadership: creation revision of our key `leader`.

    The transaction compares this revision, so a coordinator that leads no more commits nothing.
    """
    compares, operations = _swap_of(step, keys)
    return Transaction(compares=(Created(key=keys.leader, create_revision=leadership), *compares), then=operations)


def _swap_of(step: Step, keys: Keys) -> tuple[tuple[Compare, ...], tuple[Operation, ...]]:
    match step:
        case GiveUpItems() | EndPlan():
            return _change_of_plan(step, keys)
        case BeginMove() | AskSuccessor() | WithdrawMove() | CancelMove():
            return _swap_of_move(step, keys), (put_shard(step.config, keys),)
        case _:
            compares, operation = _swap_of_one(step, keys)
            return compares, (operation,)


def _change_of_plan(step: PlanStep, keys: Keys) -> tuple[tuple[Compare, ...], tuple[Operation, ...]]:
    value = encode_rebalance(step.after)
    kept = Put(key=keys.ended_plan(step.after.started_ms, step.after.plan.id), value=value)
    puts = (Put(key=keys.rebalance, value=value), *((kept,) if isinstance(step, EndPlan) else ()))
    return (_plan_as_is(step.before, keys),), puts


def _swap_of_move(step: MoveStep, keys: Keys) -> tuple[Compare, ...]:
    epoch = epoch_of(step.before, keys)
    match step:
        case BeginMove(plan=plan, collection=collection, target=target, registrations=live):
            planned = (_plan_as_is(plan, keys), _as_is(collection, keys), Absent(key=keys.drain(target)))
            return (epoch, *planned, *_are_live(live, keys))
        case AskSuccessor(registrations=live, plan=plan):
            return (epoch, *_are_live(live, keys), *(() if plan is None else (_plan_as_is(plan, keys),)))
        case WithdrawMove():
            return (epoch,)
        case CancelMove(collection=collection, registrations=live):
            return (epoch, _as_is(collection, keys), *_are_live(live, keys))


def _swap_of_one(step: OneKeyStep, keys: Keys) -> tuple[tuple[Compare, ...], Operation]:
    match step:
        case CreateCluster(cluster=cluster):
            return (Absent(key=keys.cluster),), Put(key=keys.cluster, value=cluster.encode("utf-8"))
        case CreateShard(collection=collection, config=config, registrations=live):
            absent = Absent(key=keys.shard(config.shard))
            return (absent, _as_is(collection, keys), *_are_live(live, keys)), put_shard(config, keys)
        case PlaceShardAnew(collection=collection, before=before, config=config, registrations=live):
            return (*_old_term_over(before, keys), _as_is(collection, keys), *_are_live(live, keys)), put_shard(config, keys)
        case ElectPrimary(before=before, config=config):
            live = {config.worker_of[config.primary]: config.primary_reg}
            return (*_old_term_over(before, keys), *_are_live(live, keys)), put_shard(config, keys)
        case AddLearners(collection=collection, before=before, config=config, registrations=live):
            return (epoch_of(before, keys), _as_is(collection, keys), *_are_live(live, keys)), put_shard(config, keys)
        case SetReplication(collection=collection, before=before, config=config):
            return (epoch_of(before, keys), _as_is(collection, keys)), put_shard(config, keys)
        case RetireReplica(collection=collection, before=before, config=config, registrations=live):
            return (epoch_of(before, keys), _as_is(collection, keys), *_are_live(live, keys)), put_shard(config, keys)
        case ForgetReplicas(before=before, config=config, homes=homes):
            gone = tuple(Absent(key=keys.worker(worker)) for worker in sorted(set(homes.values())))
            return (epoch_of(before, keys), *gone), put_shard(config, keys)
        case ActivateCollection(collection=collection):
            active = dataclasses.replace(collection, state=CollectionState.ACTIVE)
            return (_as_is(collection, keys),), Put(key=keys.collection(collection.id), value=encode_collection(active))
        case DeleteShard(entry=entry):
            return (epoch_of(entry, keys),), DeleteKey(key=keys.shard(entry.config.shard))
        case DeleteCollection(collection=collection):
            return (_as_is(collection, keys),), DeleteKey(key=keys.collection(collection.id))
        case _:
            assert_never(step)


def epoch_of(entry: ShardEntry, keys: Keys) -> Compare:
    """Return the compare that holds while a shard's configuration is unchanged."""
    return Unchanged(key=keys.shard(entry.config.shard), mod_revision=entry.epoch)


def _plan_as_is(plan: RebalanceEntry, keys: Keys) -> Compare:
    return Unchanged(key=keys.rebalance, mod_revision=plan.revision)


def _as_is(collection: Collection, keys: Keys) -> Compare:
    return Unchanged(key=keys.collection(collection.id), mod_revision=collection.revision)


def _old_term_over(before: ShardEntry, keys: Keys) -> tuple[Compare, ...]:
    config = before.config
    home = config.primary_worker
    # If the primary resigned, or has no worker any more, the configuration itself proves the end of its term.
    if home is None or has_resigned(config):
        return (epoch_of(before, keys),)
    return epoch_of(before, keys), Changed(key=keys.worker(home), mod_revision=config.primary_reg)


def _are_live(registrations: Registrations, keys: Keys) -> tuple[Compare, ...]:
    return tuple(Unchanged(key=keys.worker(worker), mod_revision=registrations[worker]) for worker in sorted(registrations))


def put_shard(config: ShardConfig, keys: Keys) -> Operation:
    """Return the operation that puts a shard's configuration."""
    return Put(key=keys.shard(config.shard), value=encode_shard(config))


def story_of(step: Step) -> dict[str, object]:
    """Return the fields of a step's log line."""
    match step:
        case BeginMove() | AskSuccessor() | WithdrawMove() | CancelMove() | GiveUpItems() | EndPlan():
            return _story_of_move(step)
        case _:
            return _story_of_one(step)


def _story_of_move(step: MoveStep | PlanStep) -> dict[str, object]:
    match step:
        case BeginMove(number=number, config=config, target=target, plan=plan):
            return {"shard": config.shard, "plan": plan.plan.id, "item": number, "to": target}
        case AskSuccessor(config=config):
            return {"shard": config.shard, "successor": config.successor}
        case WithdrawMove(config=config):
            return {"shard": config.shard, "moves": config.move is not None, "successor": config.successor or ""}
        case CancelMove(before=before, replica=replica):
            return {"shard": before.config.shard, "replica": replica, "worker": before.config.worker_of.get(replica)}
        case GiveUpItems(before=before, after=after):
            given_up = {number: why for number, why in after.given_up.items() if number not in before.given_up}
            return {"plan": after.plan.id, "given_up": given_up}
        case EndPlan(after=after):
            return {"plan": after.plan.id, "state": after.state}
        case _:
            assert_never(step)


def _story_of_one(step: OneKeyStep) -> dict[str, object]:
    match step:
        case CreateCluster(cluster=cluster):
            return {"cluster": cluster}
        case CreateShard(config=config) | PlaceShardAnew(config=config) | ElectPrimary(config=config):
            return {"shard": config.shard, "term": config.term, "primary": config.primary, "worker": config.primary_worker}
        case SetReplication(config=config):
            return {"shard": config.shard, "replicas": config.rf, "min_isr": config.min_isr}
        case AddLearners(before=before, config=config, replaced=replaced):
            new = [config.worker_of[member] for member in config.learners if member not in before.config.worker_of]
            return {"shard": config.shard, "workers": ",".join(new), "replaced": ",".join(replaced)}
        case RetireReplica(before=before, replica=replica):
            return {"shard": before.config.shard, "replica": replica, "worker": before.config.worker_of.get(replica)}
        case ForgetReplicas(before=before, homes=homes):
            forgotten = ",".join(f"{replica}@{worker}" for replica, worker in homes.items())
            return {"shard": before.config.shard, "forgotten": forgotten}
        case ActivateCollection(collection=collection) | DeleteCollection(collection=collection):
            return {"collection": collection.id, "collection_name": collection.spec.name}
        case DeleteShard(entry=entry):
            return {"shard": entry.config.shard}
        case _:
            assert_never(step)


def _untold(step: Step, outcome: str) -> None:
    """Do nothing: the default for told."""


class Actor:
    """Commits the steps of a round, at most `at_once` transactions at a time, each within timeout_s seconds."""

    def __init__(
        self,
        *,
        store: Store,
        keys: Keys,
        leadership: Callable[[], Revision | None],
        at_once: int,
        timeout_s: float,
        told: Callable[[Step, str], None] = _untold,
    ) -> None:
        """leadership: returns the creation revision of our key `leader` while we lead, else None.

        told: called with each step that was tried, and its outcome: done, rejected or in_doubt.
        """
        self._told = told
        self._store, self._keys, self._leadership, self._timeout_s = store, keys, leadership, timeout_s
        self._at_once = at_once

    async def carry_out(self, steps: Sequence[Step]) -> Revision:
        """Try each step once. Returns the newest committed revision, 0 for none.

        Steps are committed together, see bundles. After the end of our leadership, the remaining ones are not tried.
        """
        leadership = self._leadership()
        if leadership is None:
            return Revision(0)
        places = asyncio.Semaphore(self._at_once)
        bundles = bundled(Attempt(step, transaction_of(step, self._keys, leadership)) for step in steps)
        ends = await asyncio.gather(*(self._in_turn(bundle, leadership, places) for bundle in bundles), return_exceptions=True)
        for end in ends:
            if isinstance(end, BaseException):
                raise end
        return max((end for end in ends if isinstance(end, int)), default=Revision(0))

    async def _in_turn(self, bundle: Bundle, leadership: Revision, places: asyncio.Semaphore) -> Revision:
        async with places:
            committed = await self._commit(bundle, leadership)
            if committed is not None or len(bundle.attempts) == 1:
                return committed or Revision(0)
            # Something has changed for at least one of the steps. The others must not wait for it.
            alone = [await self._commit(each, leadership) for attempt in bundle.attempts for each in bundled([attempt])]
            return max(committed or Revision(0) for committed in alone)

    async def _commit(self, bundle: Bundle, leadership: Revision) -> Revision | None:
        """Return the revision of the commit; 0 if it is in doubt or our leadership ended; None if it was rejected."""
        if self._leadership() != leadership:
            return Revision(0)
        try:
            answer = await self._store.commit(bundle.transaction, self._timeout_s)
        except Unavailable as error:
            # It may or may not have been applied. The next round reads the map and decides again.
            reason = f"{type(error).__name__}: {error.message}"
            self._tell(bundle, IN_DOUBT, lambda story: log.warning(event("step_in_doubt", **story, reason=reason)))
            return Revision(0)
        if isinstance(answer, Committed):
            self._tell(bundle, DONE, lambda story: log.info(event("step_done", **story, revision=answer.revision)))
            return answer.revision
        if len(bundle.attempts) == 1:
            self._tell(bundle, REJECTED, lambda story: log.info(event("step_rejected", **story, revision=answer.revision)))
        return None

    def _tell(self, bundle: Bundle, outcome: str, write: Callable[[dict[str, object]], None]) -> None:
        for attempt in bundle.attempts:
            self._told(attempt.step, outcome)
            write({"step": type(attempt.step).__name__, **story_of(attempt.step)})
