"""One search of several replicas of a worker: when it may begin, and what the replicas keep of it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shoal.core.collection import CollectionSpec
from shoal.core.deadline import Deadline
from shoal.core.errors import Unavailable
from shoal.core.ids import CollectionId, Seq, ShardId
from shoal.core.metric import Metric
from shoal.core.points import PointColumns
from shoal.core.requests import Upsert
from shoal.core.shard_calls import Consistency, Exact, QueryGroup, ShardsSearch
from shoal.runtime.clock import boot_s
from shoal.shard_worker.replica import express
from shoal.shard_worker.replica.express import ReplicasSearch
from shoal.shard_worker.replica.files import ReplicaFiles
from tests.support.worker.local_shards import LocalShards, local_shards

SPEC = CollectionSpec(name="a", dim=4, metric=Metric.L2, shards=2)
VECTORS = np.arange(160, dtype=np.float32).reshape(40, 4)


def with_shards(folder: Path, work: Callable[[LocalShards], Awaitable[None]]) -> None:
    async def run() -> None:
        async with local_shards(folder, SPEC) as shards:
            points = PointColumns(ids=np.arange(40), vectors=VECTORS, payloads=tuple(b'{"at":%d}' % at for at in range(40)))
            await shards.router.writes.upsert(Upsert(collection="a", points=points), 10.0)
            await work(shards)

    asyncio.run(run())


def call(local: LocalShards, count: int = 1, **parts: Any) -> ShardsSearch:
    asked = {"queries": VECTORS[:count], "groups": (QueryGroup(k=3),), "accuracy": Exact(), "with_payload": False} | parts
    return ShardsSearch(**{"shards": tuple(local.benches), **asked})


def asked_of(shards: LocalShards, asked: ShardsSearch) -> ReplicasSearch | None:
    return shards.host.ready(asked, asked.queries)


def ready(shards: LocalShards, asked: ShardsSearch) -> ReplicasSearch:
    prepared = asked_of(shards, asked)
    assert prepared is not None
    return prepared


def soon() -> Deadline:
    return Deadline.after(10.0, boot_s)


def test_what_is_not_plain_or_not_here_is_left_to_each_replica(tmp_path: Path) -> None:
    async def work(shards: LocalShards) -> None:
        assert asked_of(shards, call(shards)) is not None
        unusual: list[dict[str, Any]] = [
            {"explain": True},
            {"queries": np.ones((1, 5), dtype=np.float32)},
            {"groups": (QueryGroup(k=0),)},
            {"groups": tuple(QueryGroup(k=1, queries=np.array([at])) for at in range(20)), "queries": VECTORS[:20]},
            {"min_seqs": {next(iter(shards.benches)): Seq(1_000)}},
            {"shards": (*shards.benches, ShardId(CollectionId("collection"), 7))},
        ]
        assert [asked_of(shards, call(shards, **each)) for each in unusual] == [None] * len(unusual)

    with_shards(tmp_path, work)


def test_a_replica_that_closes_or_is_not_sure_of_its_term_does_not_begin(tmp_path: Path) -> None:
    async def work(shards: LocalShards) -> None:
        first = next(iter(shards.benches.values()))
        at_primary = call(shards, consistency=Consistency.PRIMARY)
        assert asked_of(shards, at_primary) is not None
        first.lease[0] = False
        assert asked_of(shards, at_primary) is None
        assert asked_of(shards, call(shards)) is not None
        await first.replica.close()
        assert asked_of(shards, call(shards)) is None

    with_shards(tmp_path, work)


def test_every_tuner_samples_the_queries_that_were_answered_and_no_others(tmp_path: Path) -> None:
    async def work(shards: LocalShards) -> None:
        tuners = [bench.replica.vectors.of("").tuner for bench in shards.benches.values()]
        assert ready(shards, call(shards, 3)).run() is not None
        assert [tuner._queries.heard for tuner in tuners] == [3, 3]
        assert await ready(shards, call(shards, 9)).run_in_pool(soon()) is not None
        assert [tuner._queries.heard for tuner in tuners] == [12, 12]
        asked_of(shards, call(shards, 5))
        assert await ready(shards, call(shards, 5)).run_in_pool(Deadline.after(0.0, boot_s)) is None
        assert [tuner._queries.heard for tuner in tuners] == [12, 12]

    with_shards(tmp_path, work)


def test_a_batch_is_cut_by_queries_for_the_threads_and_put_together_again(tmp_path: Path) -> None:
    async def work(shards: LocalShards) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(express, "CUT_US", 1.0)
            prepared = ready(shards, call(shards, 9, with_payload=True, with_vectors=True))
            assert [len(piece) for piece in prepared._pieces(2)] == [5, 4]
            assert [len(piece) for piece in prepared._pieces(1)] == [9]
            own = (QueryGroup(k=1, queries=np.arange(4)), QueryGroup(k=2, queries=np.arange(4, 9)))
            assert [len(piece) for piece in ready(shards, call(shards, 9, groups=own))._pieces(2)] == [9]
            whole, cut = prepared.run(), await prepared.run_in_pool(soon())
        assert whole is not None
        assert cut is not None
        assert [whole.counts.tolist(), whole.ids.tolist(), whole.payloads] == [cut.counts.tolist(), cut.ids.tolist(), cut.payloads]
        assert np.array_equal(whole.scores, cut.scores)
        assert np.array_equal(whole.vectors, cut.vectors)
        assert np.array_equal(whole.vectors, VECTORS[whole.ids])

    with_shards(tmp_path, work)


def test_a_row_that_was_replaced_before_its_payload_was_read_gives_no_answer(tmp_path: Path) -> None:
    async def work(shards: LocalShards) -> None:
        with_payload = ready(shards, call(shards, with_payload=True))
        without = ready(shards, call(shards))
        again = PointColumns(ids=np.arange(40), vectors=VECTORS + 1, payloads=None)
        await shards.router.writes.upsert(Upsert(collection="a", points=again), 10.0)
        assert with_payload.run() is None
        assert without.run() is not None
        found = ready(shards, call(shards, with_payload=True)).run()
        assert found is not None
        assert found.payloads == (None, None, None)

    with_shards(tmp_path, work)


def test_closing_a_replica_waits_for_the_searches_of_several_and_they_give_no_answer(tmp_path: Path) -> None:
    async def work(shards: LocalShards) -> None:
        begun, go_on, usual = threading.Event(), threading.Event(), ReplicasSearch._hits

        def held(self: ReplicasSearch, *asked: Any) -> Any:
            begun.set()
            go_on.wait(10.0)
            return usual(self, *asked)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ReplicasSearch, "_hits", held)
            running = asyncio.create_task(ready(shards, call(shards)).run_in_pool(soon()))
            await asyncio.to_thread(begun.wait, 10.0)
            last = list(shards.benches.values())[-1].replica
            closing = asyncio.create_task(last.close())
            assert await asyncio.wait_for(running, 10.0) is None
            assert not closing.done(), "the thread still reads the replica"
            go_on.set()
            await asyncio.wait_for(closing, 10.0)
        assert not last.reads._running

    with_shards(tmp_path, work)


@pytest.mark.parametrize("stored", [False, True])
def test_the_files_of_all_replicas_stay_open_while_a_search_in_the_pool_reads_their_stores(tmp_path: Path, stored: bool) -> None:
    async def work(shards: LocalShards) -> None:
        held: list[object] = []
        seen: list[int] = []
        kept_open, usual = ReplicaFiles.kept_open, ReplicasSearch._hits

        @contextlib.asynccontextmanager
        async def counted(files: ReplicaFiles) -> AsyncIterator[None]:
            async with kept_open(files):
                held.append(files)
                yield
                held.remove(files)

        def watched(self: ReplicasSearch, *asked: Any) -> Any:
            seen.append(len(set(held)))
            return usual(self, *asked)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ReplicaFiles, "kept_open", counted)
            patch.setattr(ReplicasSearch, "_hits", watched)
            assert await ready(shards, call(shards, with_payload=stored)).run_in_pool(soon()) is not None
        assert seen == [2 if stored else 0]
        assert held == []

    with_shards(tmp_path, work)


def test_a_search_in_the_pool_waits_for_no_files(tmp_path: Path) -> None:
    async def work(shards: LocalShards) -> None:
        prepared = ready(shards, call(shards, with_payload=True))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(list(shards.benches.values())[-1].replica.reads.files, "open_now", lambda: False)
            with pytest.raises(Unavailable, match="being closed"):
                await prepared.run_in_pool(soon())
            assert asked_of(shards, call(shards, with_payload=True)) is None
            assert asked_of(shards, call(shards)) is not None

    with_shards(tmp_path, work)


def test_without_hits_there_are_empty_columns(tmp_path: Path) -> None:
    async def work(shards: LocalShards) -> None:
        found = ready(shards, call(shards, with_payload=True, with_vectors=True, radius=-1.0)).run()
        assert found is not None
        assert (found.counts.tolist(), found.payloads) == ([0], ())
        assert found.vectors is not None
        assert found.vectors.shape == (0, 4)

    with_shards(tmp_path, work)
