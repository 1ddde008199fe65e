"""One search of several replicas answers what the merge of their own answers is, bit for bit. One that
fails is named.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shoal.core.collection import CollectionSpec
from shoal.core.deadline import Deadline
from shoal.core.errors import DataLoss, DeadlineExceeded, InvalidArgument, Unavailable
from shoal.core.filter import In
from shoal.core.ids import CollectionId, ReplicaId, Seq, ShardId
from shoal.core.metric import Metric
from shoal.core.points import PointId, StoredColumns
from shoal.core.shard_calls import (
    Accuracy,
    Consistency,
    Exact,
    QueryGroup,
    RecallTarget,
    ShardSearch,
    ShardsFound,
    ShardsSearch,
    k_of_queries,
)
from shoal.core.topk import HitColumns
from shoal.shard_worker.hosting.host import FailedReplica, Host
from shoal.shard_worker.hosting.shards_search import search_replicas
from shoal.shard_worker.replica.reading import FoundRows
from shoal.shard_worker.replica.replica import Replica
from tests.support.worker.replica_bench import DIM, Bench, opened
from tests.twins.merge import merge_by_sorting

SHARDS = tuple(ShardId(CollectionId("collection"), number) for number in range(3))
HIDDEN = ShardId(CollectionId("collection"), 9)
WAIT_S = 20.0


def ids_of(number: int, count: int) -> list[PointId]:
    return [f"id {3 * at + number}" if at % 5 == 0 else 3 * at + number for at in range(count)]


@contextlib.asynccontextmanager
async def three(folder: Path, metric: Metric = Metric.L2, points: int = 40) -> AsyncIterator[tuple[Host, list[Bench]]]:
    """A worker with three shards. Many points have the same scores."""
    spec = CollectionSpec(name="c", dim=DIM, metric=metric)
    random = np.random.default_rng(7)
    async with contextlib.AsyncExitStack() as stack:
        benches = [await stack.enter_async_context(opened(folder / str(shard.number), term=1, spec=spec, shard=shard)) for shard in SHARDS]
        for number, bench in enumerate(benches):
            vectors = random.integers(1, 4, size=(points, DIM)).astype(np.float32)
            texts = tuple(b'{"label":%d,"of":%d}' % (at % 3, number) if at % 7 else None for at in range(points))
            await bench.upsert(ids_of(number, points), vectors, texts)
        yield Host(open={bench.shard: bench.replica for bench in benches}), benches


def search(**options: Any) -> ShardsSearch:
    queries = np.random.default_rng(8).integers(1, 4, size=(4, DIM)).astype(np.float32)
    return ShardsSearch(**{"shards": SHARDS, "queries": queries, "groups": (QueryGroup(k=6),), "accuracy": Exact(), **options})


def comparable(hits: HitColumns) -> tuple[object, ...]:
    vectors = None if hits.vectors is None else hits.vectors.tobytes()
    return hits.counts.tolist(), hits.ids.tolist(), hits.scores.tobytes(), hits.payloads, vectors


async def one_by_one(host: Host, call: ShardsSearch, metric: Metric) -> HitColumns:
    """The merge of the answers of the shards, each asked for alone."""
    found = [await host.search(call.of(shard), WAIT_S) for shard in call.shards]
    return merge_by_sorting([each.hits for each in found], k_of_queries(call.groups, len(call.queries)), metric)


GROUPS: dict[str, tuple[QueryGroup, ...]] = {
    "one": (QueryGroup(k=6),),
    "more than there is": (QueryGroup(k=500),),
    "filtered": (QueryGroup(k=4, filter=In(("label",), (1,))),),
    "several": (QueryGroup(k=2, queries=np.array([0, 2])), QueryGroup(k=9, filter=In(("label",), (2,)), queries=np.array([1, 3]))),
    "nothing": (QueryGroup(k=3, filter=In(("label",), ("no such label",))),),
}


ACCURACIES: list[Accuracy] = [Exact(), RecallTarget(0.9)]
FLAGS: list[dict[str, bool]] = [{}, {"with_vectors": True}, {"with_payload": False}]


@pytest.mark.parametrize("metric", Metric)
def test_the_answer_is_the_merge_of_the_answers_of_the_shards(tmp_path: Path, metric: Metric) -> None:
    async def run() -> None:
        async with three(tmp_path, metric) as (host, _):
            for groups, radius, accuracy, flags in itertools.product(GROUPS.values(), (None, 3.0), ACCURACIES, FLAGS):
                call = search(groups=groups, radius=radius, accuracy=accuracy, **flags)
                expected = comparable(await one_by_one(host, call, metric))
                for found in (await host.search_shards(call, WAIT_S), await search_replicas(host.replica, call, WAIT_S)):
                    assert comparable(found.hits) == expected
                    assert (dict(found.failed), found.explain) == ({}, ())

    asyncio.run(run())


def test_explanations_are_those_of_the_shards_in_their_order(tmp_path: Path) -> None:
    async def run() -> None:
        async with three(tmp_path) as (host, _):
            call = search(explain=True, groups=GROUPS["several"])
            found = await host.search_shards(call, WAIT_S)
            alone = [each for shard in SHARDS for each in (await host.search(call.of(shard), WAIT_S)).explain]

            def timeless(each: Any) -> Any:
                return dataclasses.replace(each, filter_us=0.0, search_us=0.0, score_us=0.0, filter_cached=True)

            assert list(map(timeless, found.explain)) == list(map(timeless, alone))

    asyncio.run(run())


def test_payloads_are_read_only_of_hits_that_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    complete = Replica.complete

    async def watched(self: Replica, found: FoundRows, hits: Any, call: ShardSearch, deadline: Deadline) -> StoredColumns | None:
        read.append(len(hits))
        return await complete(self, found, hits, call, deadline)

    monkeypatch.setattr(Replica, "complete", watched)

    async def run() -> None:
        async with three(tmp_path) as (host, _):
            found = await search_replicas(host.replica, search(), WAIT_S)
            assert sum(read) == len(found.hits) == 4 * 6

    asyncio.run(run())


def test_shards_that_fail_are_named_with_their_errors_and_do_not_fail_the_others(tmp_path: Path) -> None:
    async def run() -> None:
        async with three(tmp_path) as (host, benches):
            host.failed[HIDDEN] = FailedReplica(replica=ReplicaId("r"), reason=DataLoss("crc"))
            benches[1].lease[0] = False
            shards = (*SHARDS, HIDDEN, ShardId(CollectionId("collection"), 8))
            call = search(shards=shards, consistency=Consistency.PRIMARY)
            found = await host.search_shards(call, WAIT_S)
            assert {shard.number: type(error) for shard, error in found.failed.items()} == {1: Unavailable, 9: DataLoss, 8: Unavailable}
            assert {error.details.shard for error in found.failed.values()} == {str(shard) for shard in found.failed}
            left = dataclasses.replace(call, shards=(SHARDS[0], SHARDS[2]))
            assert comparable(found.hits) == comparable(await one_by_one(host, left, Metric.L2))

    asyncio.run(run())


def test_a_shard_that_is_late_leaves_the_others_time_to_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[float] = []
    find = Replica.find

    async def watched(self: Replica, call: ShardSearch, deadline: Deadline) -> FoundRows:
        given.append(deadline.left_s)
        return await find(self, call, deadline)

    monkeypatch.setattr(Replica, "find", watched)

    async def run() -> ShardsFound:
        async with three(tmp_path) as (host, benches):
            benches[2].lease[0] = False
            call = search(min_seqs={SHARDS[2]: Seq(10_000)}, consistency=Consistency.SESSION)
            return await host.search_shards(call, 0.5)

    found = asyncio.run(run())
    assert max(given) <= 0.45
    assert {shard: type(error) for shard, error in found.failed.items()} == {SHARDS[2]: DeadlineExceeded}
    assert len(found.hits) == 4 * 6


def test_when_no_shard_answers_the_answer_is_empty(tmp_path: Path) -> None:
    found = asyncio.run(Host().search_shards(search(), WAIT_S))
    assert (found.hits.counts.tolist(), len(found.hits), set(found.failed)) == ([0, 0, 0, 0], 0, set(SHARDS))


def test_bad_queries_are_refused_by_each_shard(tmp_path: Path) -> None:
    async def run() -> None:
        async with three(tmp_path, points=2) as (host, _):
            found = await host.search_shards(search(queries=np.ones((1, DIM + 1), dtype=np.float32)), WAIT_S)
            assert {type(error) for error in found.failed.values()} == {InvalidArgument}

    asyncio.run(run())


@pytest.mark.parametrize("lost", [False, True])
def test_rows_that_are_replaced_before_their_payloads_are_read_are_searched_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: bool
) -> None:
    """lost: the replica fails meanwhile."""

    async def run() -> None:
        async with three(tmp_path) as (host, benches):
            complete, disturbed = Replica.complete, benches[0]
            best = [each for each in (await host.search_shards(search(), WAIT_S)).hits.ids.tolist() if each in ids_of(0, 40)]
            left = [1]

            async def late(self: Replica, found: FoundRows, hits: Any, call: ShardSearch, deadline: Deadline) -> StoredColumns | None:
                if self is disturbed.replica and left:
                    left.clear()
                    if lost:
                        raise Unavailable("it is closing")
                    await disturbed.upsert(best, np.full((len(best), DIM), 9.0), (b'{"new":1}',) * len(best))
                return await complete(self, found, hits, call, deadline)

            monkeypatch.setattr(Replica, "complete", late)
            call = search(with_vectors=True)
            found = await search_replicas(host.replica, call, WAIT_S)
            expected = dataclasses.replace(call, shards=SHARDS[1:]) if lost else call
            assert comparable(found.hits) == comparable(await one_by_one(host, expected, Metric.L2))
            assert set(found.failed) == ({SHARDS[0]} if lost else set())
            assert best
            assert not left

    asyncio.run(run())
