"""Test one replica with all its parts on a real disk (log, store, index, builds): what a caller sees, and what a
restart finds.
"""

import asyncio
import dataclasses
import json

import numpy as np
import pytest

from shoal.core.errors import DataLoss, ErrorDetails, InvalidArgument, ResourceExhausted, Unavailable
from shoal.core.filter import In, Range
from shoal.core.ids import RequestId, Seq
from shoal.core.points import id_array
from shoal.core.shard_calls import (
    Consistency,
    Exact,
    QueryGroup,
    ReadTerms,
    ShardCount,
    ShardDeleteMatching,
    ShardGet,
    ShardScroll,
    ShardSearch,
)
from tests.support.worker.replica_bench import DIM, REPLICA, SHARD, SPEC, opened

RNG = np.random.default_rng(7)


def payloads(count: int) -> tuple[bytes, ...]:
    return tuple(json.dumps({"n": number}).encode() for number in range(count))


def replica_folder(tmp_path):
    return tmp_path / SHARD.collection / "0" / REPLICA


def test_a_write_is_searchable_when_acknowledged_and_after_a_restart(tmp_path):
    vectors = RNG.normal(size=(50, DIM)).astype(np.float32)

    async def first():
        async with opened(tmp_path, term=1) as bench:
            ack = await bench.upsert(range(50), vectors, payloads(50))
            assert ack.affected == 50
            hits = await bench.search(vectors[7], 3)
            assert hits.ids[0] == 7
            assert hits.scores[0] == 0.0
            assert json.loads(hits.payloads[0]) == {"n": 7}

    async def second():
        async with opened(tmp_path, term=2) as bench:
            hits = await bench.search(vectors[7], 3, with_vectors=True)
            assert hits.ids[0] == 7
            np.testing.assert_array_equal(hits.vectors[0], vectors[7])
            assert await bench.replica.count(ShardCount(shard=SHARD), 5.0) == 50

    asyncio.run(first())
    asyncio.run(second())


def test_a_retry_is_answered_and_not_applied_again_also_after_a_restart(tmp_path):
    request = RequestId("someone", 1)

    async def run():
        async with opened(tmp_path, term=1) as bench:
            first = await bench.upsert([1], [[1, 0, 0, 0]], request_id=request)
            await bench.delete([1])
            assert await bench.upsert([1], [[1, 0, 0, 0]], request_id=request) == first
            assert await bench.replica.count(ShardCount(shard=SHARD), 5.0) == 0
        async with opened(tmp_path, term=2) as bench:
            assert await bench.upsert([1], [[1, 0, 0, 0]], request_id=request) == first
            assert await bench.replica.count(ShardCount(shard=SHARD), 5.0) == 0

    asyncio.run(run())


def test_sealed_segments_are_opened_from_their_files_and_not_built_again(tmp_path):
    vectors = RNG.normal(size=(5_000, DIM)).astype(np.float32)

    async def run():
        async with opened(tmp_path, term=1) as bench:
            await bench.upsert(range(5_000), vectors)
            await bench.replica.optimize(60.0)
            stats = await bench.replica.stats()
            assert (stats.growing_rows, stats.sealed_rows, stats.builds_pending) == (0, 5_000, 0)
            assert stats.segments <= 2
        files = {path.name: path.stat().st_mtime_ns for path in (replica_folder(tmp_path) / "segments").iterdir()}
        assert {name.split(".")[1] for name in files} == {"faiss", "rows", "payload"}
        async with opened(tmp_path, term=2) as bench:
            stats = await bench.replica.stats()
            assert (stats.growing_rows, stats.sealed_rows, stats.builds_pending) == (0, 5_000, 0)
            hits = await bench.search(vectors[:200], 10)
            truth = [set(np.argsort(((vectors - query) ** 2).sum(axis=1), kind="stable")[:10].tolist()) for query in vectors[:200]]
            found = hits.ids.reshape(200, 10)
            recall = np.mean([len(truth[at] & set(found[at].tolist())) / 10 for at in range(200)])
            assert recall >= 0.95
        assert {path.name: path.stat().st_mtime_ns for path in (replica_folder(tmp_path) / "segments").iterdir()} == files

    asyncio.run(run())


@pytest.mark.parametrize("suffix", [".faiss", ".rows"])
@pytest.mark.parametrize("damage", ["flip", "truncate", "missing"])
def test_a_damaged_segment_file_is_noticed_and_its_rows_are_sealed_again(tmp_path, suffix, damage):
    vectors = RNG.normal(size=(600, DIM)).astype(np.float32)

    async def run():
        async with opened(tmp_path, term=1) as bench:
            await bench.upsert(range(600), vectors)
            await bench.replica.optimize(60.0)
        (file,) = (replica_folder(tmp_path) / "segments").glob(f"*{suffix}")
        content = bytearray(file.read_bytes())
        if damage == "missing":
            file.unlink()
        elif damage == "truncate":
            file.write_bytes(content[: len(content) // 2])
        else:
            content[len(content) // 2] ^= 1
            file.write_bytes(content)
        async with opened(tmp_path, term=2) as bench:
            hits = await bench.search(vectors, 1)
            assert hits.ids.tolist() == list(range(600))
            await bench.replica.optimize(60.0)
            assert (await bench.replica.stats()).sealed_rows == 600

    asyncio.run(run())


def test_a_flipped_bit_in_the_log_fails_the_replica(tmp_path):
    async def fill():
        async with opened(tmp_path, term=1) as bench:
            for number in range(20):
                await bench.upsert([number], [[number, 0, 0, 0]])

    asyncio.run(fill())
    (file,) = (replica_folder(tmp_path) / "log").glob("*.log")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    file.write_bytes(content)

    async def again():
        async with opened(tmp_path, term=2):
            pytest.fail("the replica opened")

    with pytest.raises(DataLoss, match="log"):
        asyncio.run(again())


def test_reads_wait_for_the_seq_they_need_and_say_so_when_it_does_not_come(tmp_path):
    async def run():
        async with opened(tmp_path, term=1) as bench:
            ack = await bench.upsert([1], [[1, 0, 0, 0]])
            assert await bench.replica.count(ShardCount(shard=SHARD, terms=ReadTerms(min_seq=ack.seq)), 5.0) == 1
            bench.lease[0] = False
            later = asyncio.create_task(bench.replica.count(ShardCount(shard=SHARD, terms=ReadTerms(min_seq=Seq(ack.seq + 1))), 20.0))
            await asyncio.sleep(0)
            await bench.upsert([2], [[2, 0, 0, 0]])
            assert await later == 2
            with pytest.raises(Exception, match="needs 99"):
                await bench.replica.count(ShardCount(shard=SHARD, terms=ReadTerms(min_seq=Seq(99))), 0.05)
            bench.lease[0] = True
            given_up = ShardCount(shard=SHARD, terms=ReadTerms(min_seq=Seq(99)))
            assert await bench.replica.count(given_up, 5.0) == 2, "a sure primary has all that was acknowledged and not given up"

    asyncio.run(run())


def test_a_primary_read_needs_the_lease_after_the_result_is_fixed(tmp_path):
    terms = ReadTerms(consistency=Consistency.PRIMARY)

    async def run():
        async with opened(tmp_path, term=1) as bench:
            await bench.upsert([1], [[1, 0, 0, 0]])
            assert (await bench.search([1, 0, 0, 0], 1, terms=terms)).ids.tolist() == [1]
            bench.lease[0] = False
            with pytest.raises(Unavailable, match="not certainly the primary"):
                await bench.search([1, 0, 0, 0], 1, terms=terms)
            assert (await bench.search([1, 0, 0, 0], 1)).ids.tolist() == [1]

    asyncio.run(run())


def test_searches_with_payloads_see_each_point_once_and_whole_while_it_is_upserted(tmp_path):
    ids = list(range(40))

    async def run():
        async with opened(tmp_path, term=1, growing_rows=64) as bench:
            stop = False

            async def upsert_all():
                for version in range(60):
                    texts = tuple(json.dumps({"v": version}).encode() for _ in ids)
                    await bench.upsert(ids, [[version, number, 0, 0] for number in ids], texts)

            async def look():
                seen = 0
                while not stop:
                    # A search may be answered without a pause, so this pause lets the writer work.
                    await asyncio.sleep(0)
                    hits = await bench.search([0, 0, 0, 0], 100, with_vectors=True)
                    if len(hits.ids):
                        assert sorted(hits.ids.tolist()) == ids
                        versions = {json.loads(text)["v"] for text in hits.payloads}
                        assert versions == set(hits.vectors[:, 0].astype(int).tolist())
                        assert len(versions) == 1
                        seen += 1
                return seen

            lookers = [asyncio.create_task(look()) for _ in range(2)]
            await upsert_all()
            stop = True
            assert min(await asyncio.gather(*lookers)) > 10

    asyncio.run(run())


def test_nothing_is_built_while_the_disk_is_full(tmp_path):
    async def run():
        async with opened(tmp_path, term=1) as bench:
            await bench.upsert(range(50), np.ones((50, DIM), dtype=np.float32))
            bench.replica.tell_space("disk full")
            with pytest.raises(ResourceExhausted, match="disk full"):
                await bench.replica.optimize(60.0)
            assert (await bench.replica.stats()).sealed_rows == 0
            bench.replica.tell_space(None)
            await bench.replica.optimize(60.0)
            assert (await bench.replica.stats()).sealed_rows == 50

    asyncio.run(run())


def test_get_and_scroll(tmp_path):
    async def run():
        async with opened(tmp_path, term=1) as bench:
            await bench.upsert(["b", 2, "a", 1], np.arange(16).reshape(4, 4), (b'{"x":1}', None, None, None))
            found = await bench.replica.get(ShardGet(shard=SHARD, ids=id_array([2, "missing", "b"])), 5.0)
            assert found.ids.tolist() == [2, "b"]
            assert found.payloads == (None, b'{"x":1}')
            page = await bench.replica.scroll(ShardScroll(shard=SHARD, after=None, limit=3), 5.0)
            assert page.ids.tolist() == [1, 2, "a"]
            page = await bench.replica.scroll(ShardScroll(shard=SHARD, after="a", limit=3), 5.0)
            assert page.ids.tolist() == ["b"]

    asyncio.run(run())


def test_wrong_dimensions_are_refused_before_anything_is_written(tmp_path):
    async def run():
        async with opened(tmp_path, term=1) as bench:
            with pytest.raises(InvalidArgument, match="dimension 3"):
                await bench.upsert([1], [[1, 2, 3]])
            with pytest.raises(InvalidArgument, match="dimension"):
                await bench.replica.search(
                    ShardSearch(shard=SHARD, queries=np.zeros((1, 3), dtype=np.float32), groups=(QueryGroup(k=1),)),
                    5.0,
                )
            assert await bench.replica.count(ShardCount(shard=SHARD), 5.0) == 0

    asyncio.run(run())


@pytest.mark.parametrize("vectors", [[[1, 0, 0, 0], [0, 1, 0, 0]], [[1, 0, 0, 0], [0, np.nan, 0, 0]]])
def test_what_could_not_be_applied_is_never_logged(tmp_path, vectors):
    ids = [1, 1] if np.isfinite(vectors).all() else [1, 2]

    async def run():
        async with opened(tmp_path, term=1) as bench:
            with pytest.raises(InvalidArgument, match=r"\[1\]"):
                await bench.upsert(ids, vectors)
            assert bench.replica.failure is None
            assert (await bench.upsert([1], [[1, 0, 0, 0]])).affected == 1

    asyncio.run(run())


def test_the_log_is_trimmed_as_the_store_is_checkpointed(tmp_path):
    async def run():
        async with opened(tmp_path, term=1, log_file_bytes=100_000) as bench:
            for start in range(0, 20_000, 1_000):
                await bench.upsert(range(start, start + 1_000), RNG.normal(size=(1_000, DIM)))
            await bench.replica.optimize(60.0)
            assert len(list((replica_folder(tmp_path) / "log").glob("*.log"))) <= 2
        async with opened(tmp_path, term=2, log_file_bytes=100_000) as bench:
            assert await bench.replica.count(ShardCount(shard=SHARD), 5.0) == 20_000

    asyncio.run(run())


@pytest.mark.parametrize("damage", ["flip", "missing"])
def test_a_damaged_payload_index_is_made_anew_and_the_graph_stays(tmp_path, damage):
    vectors = RNG.normal(size=(600, DIM)).astype(np.float32)
    filter = Range(path=("n",), lt=10)

    async def run():
        async with opened(tmp_path, term=1) as bench:
            await bench.upsert(range(600), vectors, payloads(600))
            await bench.replica.optimize(60.0)
        (graph,) = (replica_folder(tmp_path) / "segments").glob("*.faiss")
        (file,) = (replica_folder(tmp_path) / "segments").glob("*.payload")
        written, intact = graph.stat().st_mtime_ns, file.read_bytes()
        if damage == "flip":
            file.write_bytes(intact[:50] + bytes([intact[50] ^ 1]) + intact[51:])
        else:
            file.unlink()
        async with opened(tmp_path, term=2) as bench:
            assert (await bench.replica.stats()).sealed_rows == 600
            assert await bench.replica.count(ShardCount(shard=SHARD, filter=filter), 5.0) == 10
            assert set((await bench.search(vectors[0], 600, filter=filter)).ids.tolist()) == set(range(10))
        assert graph.stat().st_mtime_ns == written
        assert file.read_bytes() == intact

    asyncio.run(run())


def test_filters_in_search_count_and_scroll_see_what_was_acknowledged(tmp_path):
    vectors = RNG.normal(size=(300, DIM)).astype(np.float32)
    low = Range(path=("n",), lt=20)

    async def run():
        async with opened(tmp_path, term=1, growing_rows=100) as bench:
            await bench.upsert(range(300), vectors, payloads(300))
            await bench.upsert([5, 7], vectors[:2], (b'{"n":900}', None))
            await bench.delete([6])
            left = sorted(set(range(20)) - {5, 6, 7})
            hits = await bench.search(vectors[3], 50, filter=low)
            assert sorted(hits.ids.tolist()) == left
            assert hits.ids[0] == 3
            assert await bench.replica.count(ShardCount(shard=SHARD, filter=low), 5.0) == len(left)
            page = await bench.replica.scroll(ShardScroll(shard=SHARD, after=3, limit=5, filter=low), 5.0)
            assert page.ids.tolist() == [number for number in left if number > 3][:5]
            assert [json.loads(text)["n"] for text in page.payloads] == page.ids.tolist()

    asyncio.run(run())


def test_a_delete_by_filter_removes_what_matched_and_says_when_there_is_more(tmp_path, monkeypatch):
    vectors = RNG.normal(size=(90, DIM)).astype(np.float32)
    monkeypatch.setattr("shoal.shard_worker.replica.replica.DELETED_AT_ONCE", 30)

    async def run():
        async with opened(tmp_path, term=1, growing_rows=40) as bench:
            await bench.upsert(range(90), vectors, payloads(90))
            acks = []
            while not acks or acks[-1].more:
                acks.append(await bench.delete_matching(Range(path=("n",), gte=20)))
            assert [ack.affected for ack in acks] == [30, 30, 10]
            assert await bench.replica.count(ShardCount(shard=SHARD), 5.0) == 20
            assert (await bench.delete_matching(Range(path=("n",), gte=20))).affected == 0
        async with opened(tmp_path, term=2) as bench:
            found = await bench.search(vectors[50], 90)
            assert sorted(found.ids.tolist()) == list(range(20))

    asyncio.run(run())


def test_a_point_written_anew_while_a_delete_by_filter_runs_is_spared(tmp_path):
    vectors = RNG.normal(size=(10, DIM)).astype(np.float32)

    async def run():
        async with opened(tmp_path, term=1) as bench:
            await bench.upsert(range(10), vectors, payloads(10))
            encode = bench.pools.encode

            async def upsert_first(work):
                bench.pools.encode = encode
                await bench.upsert([3], vectors[3:4], (b'{"n":100}',))
                return await encode(work)

            bench.pools.encode = upsert_first
            ack = await bench.delete_matching(Range(path=("n",), lt=5))
            assert (ack.affected, ack.more) == (4, True)
            found = await bench.replica.get(ShardGet(shard=SHARD, ids=id_array([2, 3, 4])), 5.0)
            assert found.ids.tolist() == [3]
            assert json.loads(found.payloads[0]) == {"n": 100}

    asyncio.run(run())


def test_a_reader_that_counts_sees_every_point_once_while_points_move_between_filters(tmp_path):
    """Each point has one of two labels, which changes all the time. Meanwhile segments freeze, are sealed
    and merged.
    """
    count = 120
    vectors = RNG.normal(size=(count, DIM)).astype(np.float32)
    labels = [In(path=("label",), values=(value,)) for value in (0, 1)]
    either = In(path=("label",), values=(0, 1))

    async def run():
        async with opened(tmp_path, term=1, growing_rows=50) as bench:
            await bench.upsert(range(count), vectors, (b'{"label":0}',) * count)
            done = asyncio.Event()

            async def write():
                for turn in range(60):
                    moved = [number for number in range(count) if (number + turn) % 3]
                    text = json.dumps({"label": turn % 2}).encode()
                    await bench.upsert(moved, vectors[moved], (text,) * len(moved))
                done.set()

            async def read():
                counts = 0
                while not done.is_set():
                    assert await bench.replica.count(ShardCount(shard=SHARD, filter=either), 20.0) == count
                    hits = await bench.search(vectors[counts % count], count, filter=either, accuracy=Exact())
                    assert sorted(hits.ids.tolist()) == list(range(count))
                    counts += 1
                return counts

            assert (await asyncio.gather(write(), read(), read()))[1] > 3
            await bench.replica.optimize(60.0)
            sums = [await bench.replica.count(ShardCount(shard=SHARD, filter=label), 5.0) for label in labels]
            assert sum(sums) == count

    asyncio.run(run())


def test_a_delete_by_filter_that_is_tried_again_says_that_points_may_be_left(tmp_path, monkeypatch):
    vectors = RNG.normal(size=(60, DIM)).astype(np.float32)
    monkeypatch.setattr("shoal.shard_worker.replica.replica.DELETED_AT_ONCE", 30)

    async def run():
        async with opened(tmp_path, term=1) as bench:
            await bench.upsert(range(60), vectors, payloads(60))
            request = bench.next_id()
            call = ShardDeleteMatching(shard=SHARD, request_id=request, filter=Range(path=("n",), gte=0))
            first, again = await bench.replica.write(call, 5.0), await bench.replica.write(call, 5.0)
            assert (first.affected, first.more, again.affected, again.more) == (30, True, 30, True)

    asyncio.run(run())


def test_without_memory_known_writes_are_answered_and_dead_rows_of_the_growing_segment_are_given_back(tmp_path):
    vectors = RNG.normal(size=(400, DIM)).astype(np.float32)

    async def run():
        async with opened(tmp_path, term=1) as bench:
            request = bench.next_id()
            await bench.upsert(range(400), vectors, payloads(400), request_id=request)
            memory = bench.memory
            admit, segments = memory.admit, []

            def refuse(shard, points, size):
                raise ResourceExhausted("no memory", ErrorDetails(limit="memory"))

            memory.admit = refuse
            assert (await bench.upsert(range(400), vectors, payloads(400), request_id=request)).affected == 400
            await bench.delete(range(390))
            with pytest.raises(ResourceExhausted, match="no memory"):
                await bench.upsert([1], vectors[:1])
            while not segments or segments[-1].growing_rows or segments[-1].builds_pending:
                await asyncio.sleep(0.01)
                segments.append(await bench.replica.stats())
            assert (segments[-1].points, segments[-1].sealed_rows) == (10, 10)
            memory.admit = admit
            await bench.upsert([1], vectors[:1])

    asyncio.run(run())


def test_another_index_is_in_the_account_at_once_and_keeps_no_room_it_cannot_have(tmp_path):
    vectors = RNG.normal(size=(3_000, DIM)).astype(np.float32)

    async def run():
        async with opened(tmp_path, term=1, growing_rows=1_000) as bench:
            bench.replica.tell_spec(dataclasses.replace(SPEC, index="HNSW8,Flat"))
            await bench.upsert(range(3_000), vectors)
            await bench.replica.optimize(60.0)
            before = bench.engine.cost()
            bench.replica.tell_space("nothing is built")
            bench.replica.tell_spec(dataclasses.replace(SPEC, index="HNSW512,Flat"))
            cost = bench.engine.cost()
            assert cost.next_build == before.next_build
            assert bench.memory.replica_bytes()[SHARD] == cost.held
            assert bench.engine.points.next_build(everything=False) is not None

    asyncio.run(run())
