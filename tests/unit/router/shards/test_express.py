"""When a search goes to a worker of this process in one call, and what is recorded of it."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shoal.core.collection import CollectionSpec, CollectionState
from shoal.core.deadline import Deadline
from shoal.core.errors import DeadlineExceeded, Internal, ShoalError, Unavailable
from shoal.core.filter import In
from shoal.core.map_tables import CollectionTable
from shoal.core.metric import Metric
from shoal.core.points import PointColumns
from shoal.core.requests import ReadAs, Search, SearchForm, ShardToken, Upsert
from shoal.core.shard_calls import Consistency, QueryGroup
from shoal.core.topk import HitColumns
from shoal.router.logic import express_plan
from shoal.router.logic.express_plan import Lane
from shoal.router.shards import express as express_module
from shoal.runtime.clock import boot_s
from shoal.shard_worker.replica.express import ReplicasSearch
from tests.support.worker.local_shards import ELSEWHERE, HERE, OTHER_REPLICA, LocalShards, local_shards
from tests.support.worker.replica_bench import REPLICA
from tests.twins.cluster import worker_entry

SPEC = CollectionSpec(name="a", dim=4, metric=Metric.L2, shards=2)


def search(**parts: Any) -> Search:
    queries = parts.pop("queries", np.ones((1, 4), dtype=np.float32))
    return Search(**{"collection": "a", "queries": queries, "groups": (QueryGroup(k=3),), "with_payload": False, **parts})


def at_once(shards: LocalShards, question: Search) -> HitColumns | None:
    return shards.router.reads.search_at_once(SearchForm(question), question.queries)


def with_shards(folder: Path, work: Callable[[LocalShards], Awaitable[None]], **options: Any) -> None:
    """Run the work with two shards that hold 20 points."""

    async def run() -> None:
        async with local_shards(folder, SPEC, **options) as shards:
            vectors = np.arange(80, dtype=np.float32).reshape(20, 4)
            points = PointColumns(ids=np.arange(20), vectors=vectors, payloads=(b'{"a":1}',) * 20)
            await shards.router.writes.upsert(Upsert(collection="a", points=points), 10.0)
            await work(shards)

    asyncio.run(run())


async def goes_at_once(shards: LocalShards, question: Search) -> bool:
    """Return whether a search is answered in one call. It is answered rightly in any case."""
    before = len(shards.host.searches)
    found = await shards.router.reads.search(question, 5.0)
    asked = len(shards.host.searches) - before
    assert found.hits.ids.tolist() == (await shards.general.reads.search(question, 5.0)).hits.ids.tolist()
    return asked == 0


def test_the_usual_searches_are_answered_in_one_call(tmp_path: Path) -> None:
    async def work(shards: LocalShards) -> None:
        for consistency in Consistency:
            assert await goes_at_once(shards, search(read=ReadAs(consistency=consistency)))
        assert await goes_at_once(shards, search(allow_partial=True))
        assert await goes_at_once(shards, search(radius=1e6))
        assert await goes_at_once(shards, search(queries=np.ones((50, 4), dtype=np.float32)))

    with_shards(tmp_path, work)


def test_explain_goes_shard_by_shard(tmp_path: Path) -> None:
    async def work(shards: LocalShards) -> None:
        question = search(explain=True)
        assert not await goes_at_once(shards, question)
        assert len((await shards.router.reads.search(question, 5.0)).explain) == 2

    with_shards(tmp_path, work)


def test_a_filter_whose_rows_are_not_known_is_matched_shard_by_shard_and_then_in_one_call(tmp_path: Path) -> None:
    async def work(shards: LocalShards) -> None:
        question = search(groups=(QueryGroup(k=3, filter=In(("a",), (1,))),))
        assert [await goes_at_once(shards, question) for _ in range(2)] == [False, True]

    with_shards(tmp_path, work)


def test_a_plan_lasts_until_the_map_changes(tmp_path: Path) -> None:
    async def work(shards: LocalShards) -> None:
        made: list[Any] = []
        usual = express_module.express_plan

        def counted(*asked: Any) -> Any:
            made.append(asked)
            return usual(*asked)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(express_module, "express_plan", counted)
            form = SearchForm(search())
            for _ in range(3):
                assert at_once(shards, search()) is not None
                assert shards.router.reads.search_at_once(form, form.search.queries) is not None
            assert len(made) == 1
            assert at_once(shards, search(read=ReadAs(consistency=Consistency.PRIMARY))) is not None
            assert len(made) == 2, "reads at the primary have a plan of their own"
            shard = next(iter(shards.benches))
            shards.configure(shard, isr=(OTHER_REPLICA,), primary=OTHER_REPLICA, worker_of={OTHER_REPLICA: ELSEWHERE, REPLICA: ELSEWHERE})
            shards.change(workers={**shards.view.current.workers, ELSEWHERE: worker_entry(ELSEWHERE)})
            assert not await goes_at_once(shards, search()), "one shard is elsewhere now"
            shards.configure(shard, isr=(REPLICA,), primary=REPLICA, worker_of={REPLICA: HERE})
            assert await goes_at_once(shards, search())

    with_shards(tmp_path, work)


@pytest.mark.parametrize("state", [CollectionState.CREATING, CollectionState.DROPPING])
def test_a_collection_that_is_not_active_has_the_errors_of_a_search_shard_by_shard(tmp_path: Path, state: CollectionState) -> None:
    async def work(shards: LocalShards) -> None:
        shards.change(collections=CollectionTable((dataclasses.replace(shards.collection, state=state),)))
        assert at_once(shards, search()) is None
        errors = []
        for router in (shards.router, shards.general):
            with pytest.raises(ShoalError) as caught:
                await router.reads.search(search(), 0.3)
            errors.append((type(caught.value), caught.value.message))
        assert errors[0] == errors[1]

    with_shards(tmp_path, work)


def test_records_that_are_not_applied_yet_are_waited_for_shard_by_shard(tmp_path: Path) -> None:
    async def work(shards: LocalShards) -> None:
        shard, bench = next(iter(shards.benches.items()))
        seq = bench.replica.stats_now().applied_seq
        applied = search(read=ReadAs(tokens=(ShardToken(shard.collection, shard.number, seq),)))
        assert await goes_at_once(shards, applied)
        awaited = search(read=ReadAs(tokens=(ShardToken(shard.collection, shard.number, seq + 1),)))
        assert at_once(shards, awaited) is None
        running = asyncio.create_task(shards.router.reads.search(awaited, 5.0))
        await bench.upsert([1_000], np.ones((1, 4)))
        assert (await running).hits.ids.tolist()[0] == 1_000

    with_shards(tmp_path, work)


def test_without_a_certain_lease_a_read_at_the_primary_is_refused_as_ever(tmp_path: Path) -> None:
    async def work(shards: LocalShards) -> None:
        next(iter(shards.benches.values())).lease[0] = False
        assert await goes_at_once(shards, search())
        question = search(read=ReadAs(consistency=Consistency.PRIMARY))
        assert at_once(shards, question) is None
        with pytest.raises(Unavailable, match="not certainly the primary"):
            await shards.router.reads.search(question, 0.3)

    with_shards(tmp_path, work)


def test_a_lease_lost_during_the_search_of_the_primary_is_noticed(tmp_path: Path) -> None:
    async def work(shards: LocalShards) -> None:
        bench, usual = next(iter(shards.benches.values())), ReplicasSearch._hits

        def losing(self: ReplicasSearch, *asked: Any) -> HitColumns | None:
            hits = usual(self, *asked)
            bench.lease[0] = False
            return hits

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ReplicasSearch, "_hits", losing)
            assert at_once(shards, search(read=ReadAs(consistency=Consistency.PRIMARY))) is None
            assert at_once(shards, search()) is not None

    with_shards(tmp_path, work)


def test_an_error_of_the_search_goes_shard_by_shard(tmp_path: Path) -> None:
    async def work(shards: LocalShards) -> None:
        def failing(*_: Any) -> HitColumns | None:
            raise Internal("faiss could not search")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ReplicasSearch, "_hits", failing)
            assert not await goes_at_once(shards, search())
            patch.setattr(express_module, "lane_of", lambda **_: Lane.POOL)
            assert not await goes_at_once(shards, search())

    with_shards(tmp_path, work)


def test_other_replicas_share_long_searches_and_are_asked_when_they_wait_for_a_probe(tmp_path: Path) -> None:
    async def work(shards: LocalShards) -> None:
        shard = next(iter(shards.benches))
        here = HERE
        shards.configure(shard, isr=(REPLICA, OTHER_REPLICA), worker_of={REPLICA: here, OTHER_REPLICA: ELSEWHERE})
        shards.change(workers={**shards.view.current.workers, ELSEWHERE: worker_entry(ELSEWHERE)})
        express, traffic = shards.router.reads._express, shards.router.reads._express._traffic
        assert await goes_at_once(shards, search())
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(express_plan, "ON_LOOP_US", 0.0)
            assert await express.search(search(), shards.collection, far()) is None
        for _ in range(3):
            sent = traffic.sent((shard,), here, probe=False)
            traffic.failed(sent, Unavailable("broken"))
        assert at_once(shards, search()) is None, "the breaker of the worker here is open"

    with_shards(tmp_path, work)


def far() -> Deadline:
    return Deadline.after(10.0, boot_s)


def test_a_search_in_the_pool_ends_at_the_deadline_as_ever(tmp_path: Path) -> None:
    async def work(shards: LocalShards) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(express_module, "lane_of", lambda **_: Lane.POOL)
            assert await goes_at_once(shards, search())
            with pytest.raises(DeadlineExceeded):
                await shards.router.reads.search(search(), 0.0)

    with_shards(tmp_path, work)


def test_a_map_that_moves_a_replica_during_a_search_in_the_pool_is_noticed(tmp_path: Path) -> None:
    async def work(shards: LocalShards) -> None:
        shard, usual = next(iter(shards.benches)), ReplicasSearch.run_in_pool

        async def moved(self: ReplicasSearch, deadline: Any) -> HitColumns | None:
            hits = await usual(self, deadline)
            shards.configure(shard, isr=(OTHER_REPLICA,), primary=OTHER_REPLICA)
            return hits

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(express_module, "lane_of", lambda **_: Lane.POOL)
            express = shards.router.reads._express
            assert await express.search(search(), shards.collection, far()) is not None
            patch.setattr(ReplicasSearch, "run_in_pool", moved)
            assert await express.search(search(), shards.collection, far()) is None

    with_shards(tmp_path, work)


class Counted:
    """Metrics that remember the outcomes of calls on shards."""

    def __init__(self) -> None:
        self.calls: dict[tuple[str, ...], float] = {}

    def measure(self, metric: Any, *labels: str) -> Any:
        def add(value: float) -> None:
            key = (metric.name, *labels)
            self.calls[key] = self.calls.get(key, 0.0) + value

        return add

    def gather(self, *_: Any) -> None:
        """Do nothing."""

    start = stop = gather


def test_each_shard_counts_as_a_read_that_was_answered(tmp_path: Path) -> None:
    metrics = Counted()

    async def work(shards: LocalShards) -> None:
        metrics.calls.clear()
        assert at_once(shards, search()) is not None
        assert metrics.calls == {("shoal_shard_calls_total", "ok"): 2.0}

    with_shards(tmp_path, work, metrics=metrics)


def test_an_answer_closes_breakers_that_began_to_count(tmp_path: Path) -> None:
    async def work(shards: LocalShards) -> None:
        shard = next(iter(shards.benches))
        here = HERE
        traffic = shards.router.reads._express._traffic
        for _ in range(4):
            traffic.failed(traffic.sent((shard,), here, probe=False), Unavailable("broken"))
            assert at_once(shards, search()) is not None
        assert traffic.gate(here, shard).name == "PASSES"

    with_shards(tmp_path, work)


def test_searches_in_the_pool_that_would_wait_run_as_one_and_one_by_one_if_that_fails(tmp_path: Path) -> None:
    metrics = Counted()

    async def work(shards: LocalShards) -> None:
        questions = [search(queries=np.full((1, 4), at, dtype=np.float32), with_payload=True) for at in range(9)]
        expected = [(await shards.general.reads.search(each, 5.0)).hits for each in questions]
        usual = ReplicasSearch.run_in_pool

        async def alone(self: ReplicasSearch, deadline: Any) -> HitColumns | None:
            return await usual(self, deadline) if len(self.queries) == 1 else None

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(express_module, "lane_of", lambda **_: Lane.POOL)
            for by_shard in (0, 1):
                before = len(shards.host.searches)
                metrics.calls.clear()
                found = await asyncio.gather(*(shards.router.reads.search(each, 5.0) for each in questions))
                for each, wanted in zip(found, expected, strict=True):
                    assert each.hits.ids.tolist() == wanted.ids.tolist()
                    assert each.hits.scores.tolist() == wanted.scores.tolist()
                    assert each.hits.payloads == wanted.payloads
                joined = metrics.calls[("shoal_joined_searches_total",)]
                assert joined == 9 - shards.benches[next(iter(shards.benches))].replica.pools.search_threads
                assert (len(shards.host.searches) - before > 0) == bool(by_shard)
                patch.setattr(ReplicasSearch, "run_in_pool", alone)

    with_shards(tmp_path, work, metrics=metrics)
