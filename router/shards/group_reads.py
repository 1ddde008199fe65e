"""Reads the shards of a collection with one call a worker. Shards that fail are asked for again until they answer,
the patience ends, or a retry cannot help.

Three kinds of shards are asked for one by one: those of a call that the map has overtaken, those whose common answer
was too large for a message, and those of a worker of an older version, which does not know calls on several shards.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from shoal.core.cluster_map import ClusterMap
from shoal.core.collection import Collection
from shoal.core.deadline import Clock, Deadline
from shoal.core.errors import ShoalError
from shoal.core.express import EncodedSearch, HitBytes
from shoal.core.ids import CollectionId, Revision, ShardId, WorkerId
from shoal.core.points import Matrix
from shoal.core.shard_calls import Consistency, OlderWorker, ShardsFound, ShardsSearch
from shoal.core.shard_config import may_lead
from shoal.router.cluster.view import ClusterView
from shoal.router.cluster.workers import Workers
from shoal.router.logic.group_retry import may_be_answered_alone, next_attempt
from shoal.router.logic.outcomes import Covered, Missed, deadline_passed, named
from shoal.router.logic.read_plan import is_still_led, shard_name
from shoal.router.logic.retry import RetryPatience
from shoal.router.logic.shard_groups import NONE_ALONE, AskedAlone, ShardChoices, ShardGroup, choices_of_shards, grouped
from shoal.router.logic.shard_places import ShardPlaces, places_of
from shoal.router.shards.group_ask import F, GroupAsk, VectorAsk
from shoal.router.shards.group_race import GroupRace, Raced
from shoal.router.shards.metrics import UNMETERED, ShardCallMeter
from shoal.router.shards.traffic import Traffic
from shoal.router.shards.under_way import Overtaken, UnderWay

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupPlan:
    """One attempt. groups: of the shards that have a live replica; failed: errors of the others."""

    seen: ClusterMap
    places: ShardPlaces
    alone: AskedAlone
    groups: Sequence[ShardGroup]
    failed: Mapping[int, ShoalError]

    @property
    def branches(self) -> list[ShardGroup | None]:
        """Return what goes on by itself: each group, and None for the shards without a live replica."""
        return [*self.groups, *([None] if self.failed else [])]


class GroupReads:
    """Searches shards in groups. Used from one event loop."""

    def __init__(
        self,
        *,
        view: ClusterView,
        workers: Workers,
        under_way: UnderWay,
        traffic: Traffic,
        clock: Clock,
        meter: ShardCallMeter = UNMETERED,
    ) -> None:
        self.view, self.workers, self.under_way = view, workers, under_way
        self.traffic, self.clock, self.meter = traffic, clock, meter
        self._older: dict[WorkerId, Revision] = {}
        self._places_at: ClusterMap | None = None
        self._places: dict[tuple[CollectionId, Consistency], ShardPlaces] = {}

    async def search(self, collection: Collection, call: ShardsSearch, patience: RetryPatience) -> Covered[ShardsFound]:
        """Return the answers that cover the shards of a search, see `ask`."""
        return await self.ask(collection, VectorAsk(call), patience)

    async def ask(self, collection: Collection, asked: GroupAsk[F], patience: RetryPatience) -> Covered[F]:
        """Return the answers that cover the shards of a call, which are shards of the collection.

        An error of a shard is a part of the result; it is not raised.
        """
        search = _GroupSearch(self, collection, asked, patience.deadline)
        if patience.deadline.passed:
            return search.missed({shard.number: deadline_passed(shard_name(collection, shard.number)) for shard in asked.shards})
        return await search.all_of(search.plan([shard.number for shard in asked.shards]), patience, 0)

    async def at_one_worker(self, collection: Collection, asked: GroupAsk[F], deadline: Deadline) -> F | None:
        """Return the answer of the one worker that has all shards of the collection. None if there is no such worker,
        if shards have several replicas that may answer, and if a shard did not answer.

        asked: of all shards of the collection.
        """
        plan = None if deadline.passed else self.lone_plan(collection, asked.consistency)
        if plan is None:
            return None
        found = await _GroupSearch(self, collection, asked, deadline).first(plan)
        return None if found is None or found.failed else found

    def lone_plan(self, collection: Collection, consistency: Consistency) -> GroupPlan | None:
        """Return the plan of a search of all shards of a collection by the newest map, if each of them has one replica
        that may answer, and one worker has them all; else None.
        """
        seen = self.view.current
        places = self.places(seen, collection, consistency)
        if places.groups is None or len(places.groups) != 1:
            return None
        return GroupPlan(seen=seen, places=places, alone=NONE_ALONE, groups=places.groups, failed={})

    async def first_answer(
        self, plan: GroupPlan, collection: Collection, call: ShardsSearch, encoded: EncodedSearch, queries: Matrix, deadline: Deadline
    ) -> HitBytes | FailedFirst:
        """Return the hits of a search that goes by a lone plan of the newest map, or how its first attempt ended.

        call: what to search for, but for the queries (n, dim). The hits may be more than fit into a message.
        """
        search, group = _GroupSearch(self, collection, VectorAsk(call), deadline), plan.groups[0]
        found = await search.answer(plan, group, encoded.run(queries, call.caller, deadline.left_s))
        if isinstance(found, bytes):
            self.meter.ended("ok", len(group.shards))
            return found
        return FailedFirst(search, call, plan, found if isinstance(found, Raced) else search.counted(group, found))

    def places(self, seen: ClusterMap, collection: Collection, consistency: Consistency) -> ShardPlaces:
        """Return where the shards of a collection may be read. It is worked out once for each map."""
        if self._places_at is not seen:
            self._places_at, self._places = seen, {}
        found = self._places.get((collection.id, consistency))
        if found is None:
            live = {*seen.workers, *self.workers.here}
            found = self._places[collection.id, consistency] = places_of(seen, collection, consistency, live)
        return found

    def has_hop(self, collection: Collection, consistency: Consistency) -> bool:
        """Return whether a search of the collection may ask a worker of another process."""
        return not self.places(self.view.current, collection, consistency).workers <= self.workers.here

    def is_older(self, seen: ClusterMap, worker: WorkerId) -> None:
        """Remember that the process of a worker does not know calls on several shards."""
        entry = seen.workers.get(worker)
        if entry is not None:
            self._older[worker] = entry.registration

    def older(self, seen: ClusterMap) -> frozenset[WorkerId]:
        """Return the workers that do not know calls on several shards. A worker that registered again may know them."""
        if self._older:
            known = {worker: entry.registration for worker, entry in seen.workers.items()}
            self._older = {worker: registration for worker, registration in self._older.items() if known.get(worker) == registration}
        return frozenset(self._older)


class FailedFirst:
    """A search whose first attempt was not answered by all shards with nothing but hits."""

    def __init__(self, search: _GroupSearch[ShardsFound], call: ShardsSearch, plan: GroupPlan, raced: Raced[ShardsFound]) -> None:
        self._search, self._call, self._plan, self._raced = search, call, plan, raced

    async def rest(self, queries: Matrix, patience: RetryPatience) -> Covered[ShardsFound]:
        """Return the outcome of the search: shards that failed are asked for again, see GroupReads.search."""
        self._search.ask_for(VectorAsk(dataclasses.replace(self._call, queries=queries)))
        return await self._search.branch(self._plan, self._plan.groups[0], patience, 0, self._raced)


class _GroupSearch(Generic[F]):
    """One call. alone: numbers of the shards that are not asked for in groups any more."""

    def __init__(self, reads: GroupReads, collection: Collection, asked: GroupAsk[F], deadline: Deadline) -> None:
        self._reads, self._collection, self._asked, self._deadline = reads, collection, asked, deadline
        self._alone: frozenset[int] = frozenset()

    def ask_for(self, asked: GroupAsk[F]) -> None:
        """Ask for this from now on."""
        self._asked = asked

    def plan(self, numbers: Sequence[int]) -> GroupPlan:
        """Plan one attempt at these shards, with the newest map."""
        reads = self._reads
        seen = reads.view.current
        places = reads.places(seen, self._collection, self._asked.consistency)
        alone = AskedAlone(shards=self._alone, workers=reads.older(seen))
        return GroupPlan(
            seen=seen,
            places=places,
            alone=alone,
            groups=self._groups(places, numbers, alone),
            failed={number: places.failed[number] for number in numbers if number in places.failed} if places.failed else {},
        )

    def _groups(self, places: ShardPlaces, numbers: Sequence[int], alone: AskedAlone) -> tuple[ShardGroup, ...]:
        """Return the shards in groups by the worker that is asked first."""
        if places.groups is not None and len(numbers) == len(places.only) and not (alone.shards or alone.workers):
            return places.groups
        return grouped(self._choices(places, numbers), alone)

    def _choices(self, places: ShardPlaces, numbers: Sequence[int]) -> list[ShardChoices]:
        """Return the replicas of the shards that have any."""
        chosen = [places.only[number] for number in numbers if number in places.only]
        if places.several:
            reads = self._reads
            several = [places.several[number] for number in numbers if number in places.several]
            loads, gates = reads.traffic.worker_loads(places.homes, reads.workers.here), reads.traffic.gates()
            chosen += choices_of_shards(several, loads, gates)
        return chosen

    async def all_of(self, plan: GroupPlan, patience: RetryPatience, attempt: int) -> Covered[F]:
        """Return the answers of the shards of a plan. Those that fail together are asked for again together."""
        branches = plan.branches
        if len(branches) == 1:
            return await self.branch(plan, branches[0], patience, attempt)
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(self.branch(plan, group, patience, attempt)) for group in branches]
        covered: Covered[F] = Covered()
        for each in running:
            covered += each.result()
        return covered

    async def branch(
        self, plan: GroupPlan, group: ShardGroup | None, patience: RetryPatience, attempt: int, first: Raced[F] | None = None
    ) -> Covered[F]:
        """Return the answers of one group; None: of the shards that have no live replica.

        first: outcome of this attempt, if it was made already.
        """
        covered: Covered[F] = Covered()
        while True:
            raced, first = first or await self._raced(plan, group), None
            covered = Covered(parts=(*covered.parts, *raced.found), missed=covered.missed)
            if not raced.failed:
                return covered
            if attempt == 0 and group is not None and len(group.shards) > 1:
                # A shard that failed at once was told only with the answer of the others.
                patience = patience.from_now()
            again, missed = await self._after(plan, raced.failed, patience, attempt)
            covered += missed
            if not again:
                return covered
            attempt += 1
            plan = self.plan(again)
            branches = plan.branches
            if len(branches) > 1:
                return covered + await self.all_of(plan, patience, attempt)
            group = branches[0]

    async def _after(
        self, plan: GroupPlan, failed: Mapping[int, ShoalError], patience: RetryPatience, attempt: int
    ) -> tuple[Sequence[int], Covered[F]]:
        """Wait until shards that failed may be asked for again. Return their numbers, and those that are not."""
        reads, entries = self._reads, plan.places.entries
        newest = reads.view.current.shards
        following = next_attempt(
            failed,
            configs={number: entries[number].config for number in failed if number in entries},
            changed=[each for each in failed if newest.get(shard := ShardId(self._collection.id, each)) != plan.seen.shards.get(shard)],
            now_alone=self._alone - plan.alone.shards,
            at_primary=self._asked.consistency is Consistency.PRIMARY,
            attempt=attempt,
            left_s=patience.attempts.left_s,
        )
        missed = self.missed({number: failed[number] for number in following.given_up})
        if not following.again:
            return (), missed
        if following.wait_s:
            await reads.view.wait_for_change(plan.seen, following.wait_s)
        reads.meter.retried(len(following.again))
        if patience.deadline.passed:
            return (), missed + self.missed({number: failed[number] for number in following.again})
        return following.again, missed

    async def _raced(self, plan: GroupPlan, group: ShardGroup | None) -> Raced[F]:
        """Return the outcome of one attempt at a group."""
        reads = self._reads
        if group is None:
            for error in plan.failed.values():
                reads.meter.ended(error.status)
            return Raced((), plan.failed)
        if not group.has_others:
            found = await self.answer(plan, group, self._sent(plan, group))
            return found if isinstance(found, Raced) else self.counted(group, found)
        reads.traffic.hedges.earn()
        race = GroupRace(
            group=group,
            alone=plan.alone,
            shards={number: plan.places.entries[number].config.shard for number in group.numbers},
            ask=partial(self._ask, plan),
            kind=self._asked.kind(len(group.shards)),
            traffic=reads.traffic,
            clock=reads.clock,
            meter=reads.meter,
        )
        return await race.run()

    async def answer(self, plan: GroupPlan, group: ShardGroup, call: Awaitable[T]) -> T | Raced[F]:
        """Return the answer of the only worker that may answer, or that the attempt has failed.

        Its speed is not recorded, because there is nothing to choose. call: the search of the group at its worker.
        """
        try:
            found = await self._watched(plan, group, call)
        except ShoalError as error:
            self._reads.meter.ended(error.status, len(group.shards))
            return Raced((), dict.fromkeys(group.numbers, error))
        self._reads.traffic.heard(group.worker)
        return found

    async def first(self, plan: GroupPlan) -> F | None:
        """Return the answer of the only worker of a lone plan; None if it fails."""
        group = plan.groups[0]
        found = await self.answer(plan, group, self._sent(plan, group))
        if isinstance(found, Raced):
            return None
        self.counted(group, found)
        return found

    def counted(self, group: ShardGroup, found: F) -> Raced[F]:
        """Return the outcome of an attempt that the only worker has answered, and count it."""
        self._reads.meter.answered(len(group.shards), found.failed.values())
        answers = (found,) if len(found.failed) < len(group.shards) else ()
        return Raced(answers, {shard.number: error for shard, error in found.failed.items()})

    async def _ask(self, plan: GroupPlan, group: ShardGroup) -> F:
        """Send the search of a group to its worker, and watch it."""
        return await self._watched(plan, group, self._sent(plan, group))

    async def _sent(self, plan: GroupPlan, group: ShardGroup) -> F:
        """Send the search of a group to its worker."""
        entries, service = plan.places.entries, self._reads.workers.service(plan.seen, group.worker)
        asked = self._asked
        whole = len(group.shards) == len(asked.shards)
        shards = asked.shards if whole else tuple(entries[each.number].config.shard for each in group.shards)
        return await asked.send(service, shards, self._deadline.left_s)

    async def _watched(self, plan: GroupPlan, group: ShardGroup, call: Awaitable[T]) -> T:
        """Return the answer of a group's worker. The call ends when the map shows that it may not answer any more."""
        reads = self._reads
        try:
            return await reads.under_way.run_while(partial(self._overtaken, plan, group), call)
        except ShoalError as error:
            older = isinstance(error, OlderWorker)
            if older or (len(group.shards) > 1 and (isinstance(error, Overtaken) or may_be_answered_alone(error))):
                self._alone |= set(group.numbers)
            if older:
                reads.is_older(plan.seen, group.worker)
            raise

    def _overtaken(self, plan: GroupPlan, group: ShardGroup, newest: ClusterMap) -> ShardId | None:
        """Return the first shard of a group whose replica may not answer any more by this map; None if all may."""
        at_primary = self._asked.consistency is Consistency.PRIMARY
        for each in group.shards:
            before = plan.places.entries[each.number]
            entry = newest.shards.get(before.config.shard)
            if entry is before:
                continue
            if at_primary:
                holds = entry is not None and is_still_led(before.config, entry.config)
            else:
                holds = entry is not None and may_lead(entry.config, each.first.replica)
            if not holds:
                return before.config.shard
        return None

    def missed(self, errors: Mapping[int, ShoalError]) -> Covered[F]:
        """Return that these shards are missed."""
        return Covered(missed=tuple(self._missed(number, error) for number, error in errors.items()))

    def _missed(self, number: int, error: ShoalError) -> Missed:
        name, shard = shard_name(self._collection, number), ShardId(self._collection.id, number)
        return Missed(shard=name, number=number, error=named(error, name, str(shard)), applied="no")
