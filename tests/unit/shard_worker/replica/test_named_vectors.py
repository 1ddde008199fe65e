"""Test a replica whose points have several named vectors: reads and writes by name, what is refused, figures, builds,
measurements and repairs."""

import asyncio
import contextlib
import dataclasses
import json
import sqlite3

import numpy as np
import pytest

from shoal.core.errors import InvalidArgument, PreconditionFailed
from shoal.core.filter import In
from shoal.core.metric import Metric
from shoal.core.named_vectors import NamedVector
from shoal.core.point_change import SetPayload, UpdatePacked, UpdateVectors
from shoal.core.points import id_array
from shoal.core.shard_calls import Exact, QueryGroup, RecallTarget, ShardCount, ShardGet, ShardSearch, ShardsSearch
from shoal.core.text_fields import text_fields_from_input
from shoal.core.tuning_calls import ShardMeasureRecall, ShardTune
from shoal.shard_worker.hosting.host import Host
from shoal.shard_worker.replica.packed_rows import check_packed_rows
from shoal.shard_worker.replica.segment_names import segment_of, vector_of
from tests.support.worker.engine_driver import Driven
from tests.support.worker.engine_reading import nearest, stored
from tests.support.worker.named_vectors import DIMS, NAMED, nearest_by, row_of, rows_of
from tests.support.worker.replica_bench import SHARD, SPEC, opened

SOME = {
    1: {"image": [1.0, 0.0, 0.0], "text": [1.0, 1.0]},
    2: {"image": [5.0, 0.0, 0.0]},
    3: {"text": [3.0, -1.0], "sound_1-x": [2.0]},
    "a": {},
    5: {"image": [2.0, 2.0, 2.0], "text": [0.0, 2.0], "sound_1-x": [7.0]},
}
"""Points that have some of their vectors, one that has none."""

LARGE = dataclasses.replace(
    NAMED,
    vectors=(
        NamedVector(name="image", dim=8, metric=Metric.L2, index="hnsw"),
        NamedVector(name="text", dim=4, metric=Metric.COSINE, index="hnsw"),
    ),
)


def many(count, *, spec=LARGE, seed=3):
    """Return packed rows of `count` points: all have an image, two of three have a text."""
    random = np.random.default_rng(seed)
    rows = np.concatenate([np.ones((count, 1)), random.normal(size=(count, spec.point_dim - 1))], axis=1).astype(np.float32)
    texts = np.arange(count) % 3 != 0
    rows[:, 0] += 2 * texts
    rows[~texts, 9:] = 0.0
    return rows


async def fill(bench, points=SOME, payloads=None):
    return await bench.upsert(list(points), rows_of(list(points.values())), payloads)


async def search(bench, vector, query, k=10, *, filter=None, accuracy=Exact(), **options):
    queries = np.atleast_2d(np.array(query, dtype=np.float32))
    call = ShardSearch(shard=SHARD, queries=queries, groups=(QueryGroup(k=k, filter=filter),), vector=vector, accuracy=accuracy, **options)
    return await bench.replica.search(call, 20.0)


async def ids_of(bench, vector, query, **options):
    return (await search(bench, vector, query, **options)).hits.ids.tolist()


def test_a_search_finds_the_points_that_have_the_vector_and_a_read_gives_packed_rows(tmp_path):
    async def look(bench):
        for name, query in (("image", [1.0, 1.0, 0.0]), ("text", [1.0, 0.5]), ("sound_1-x", [6.0])):
            assert await ids_of(bench, name, query) == nearest_by(name, query, SOME, 10)
            assert await ids_of(bench, name, query, k=1) == nearest_by(name, query, SOME, 1)
            few = {each: SOME[each] for each in (1, 3, "a")}
            assert await ids_of(bench, name, query, filter=In(("n",), (1,))) == nearest_by(name, query, few, 10)
        hits = (await search(bench, "text", [1.0, 0.5], with_vectors=True)).hits
        assert hits.vectors.tolist() == [row_of(SOME[each]) for each in hits.ids.tolist()]
        got = await bench.replica.get(ShardGet(shard=SHARD, ids=id_array(list(SOME))), 5.0)
        assert got.vectors.tolist() == [row_of(vectors) for vectors in SOME.values()]
        assert await bench.replica.count(ShardCount(shard=SHARD), 5.0) == 5
        assert await bench.replica.count(ShardCount(shard=SHARD, filter=In(("n",), (1,))), 5.0) == 3

    async def run():
        async with opened(tmp_path, term=1, spec=NAMED) as bench:
            await fill(bench, payloads=tuple(b'{"n":%d}' % (each in (1, 3, "a")) for each in SOME))
            await look(bench)
            await bench.replica.optimize(20.0)
            await look(bench)
        async with opened(tmp_path, term=2, spec=NAMED) as bench:
            await look(bench)

    asyncio.run(run())


def test_one_search_of_several_shards_names_the_vector_in_one_step_and_shard_by_shard(tmp_path):
    """The merge compares by the metric of the vector: the largest inner product is the best."""

    async def run():
        async with opened(tmp_path, term=1, spec=NAMED) as bench:
            await fill(bench)
            host = Host(open={SHARD: bench.replica})
            call = ShardsSearch(
                shards=(SHARD,),
                queries=np.array([[1.0, 0.5]], dtype=np.float32),
                groups=(QueryGroup(k=2),),
                accuracy=Exact(),
                vector="text",
                with_vectors=True,
            )
            at_once = await host.search_shards(call, 10.0)
            each = await host.search_shards(dataclasses.replace(call, explain=True), 10.0)
            for found in (at_once, each):
                assert not found.failed
                assert found.hits.ids.tolist() == [3, 1]
                assert found.hits.scores.tolist() == [2.5, 1.5]
                assert found.hits.vectors.tolist() == [row_of(SOME[3]), row_of(SOME[1])]
            assert {part.vector for part in each.explain} == {"text"}
            unknown = await host.search_shards(dataclasses.replace(call, vector="smell"), 10.0)
            assert isinstance(unknown.failed[SHARD], InvalidArgument)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("spec", "vector", "dim", "said"),
    [
        (NAMED, "smell", 2, "has no vector 'smell', it has image, text, sound_1-x"),
        (NAMED, "", 7, "give the name of one: image, text, sound_1-x"),
        (NAMED, "text", 3, "dimension 3"),
        (SPEC, "image", 4, "has one vector without a name, not 'image'"),
    ],
)
def test_a_name_or_a_dimension_that_does_not_exist_is_refused(tmp_path, spec, vector, dim, said):
    async def run():
        async with opened(tmp_path, term=1, spec=spec) as bench:
            with pytest.raises(InvalidArgument, match=said):
                await search(bench, vector, [0.0] * dim)
            with pytest.raises(InvalidArgument, match=said):
                await bench.replica.tune(ShardTune(shard=SHARD, k=3, vector=vector, queries=np.zeros((1, dim), dtype=np.float32)), 5.0)
            if dim != 3:
                with pytest.raises(InvalidArgument, match=said):
                    await bench.replica.measure_recall(ShardMeasureRecall(shard=SHARD, k=3, sample=3, recall=0.9, vector=vector), 5.0)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ([0.5, 0, 0, 0, 0, 0, 0], "whole number below 8"),
        ([8.0, 0, 0, 0, 0, 0, 0], "whole number below 8"),
        ([-1.0, 0, 0, 0, 0, 0, 0], "whole number below 8"),
        ([1.0, 1, 2, 3, 0, 4, 0], "numbers of vector 1"),
        ([np.nan, 0, 0, 0, 0, 0, 0], "NaN"),
        ([1.0, 1, 2, 3], "dimension 4"),
    ],
)
def test_rows_that_are_not_packed_are_never_logged(tmp_path, row, said):
    rows = np.array([row], dtype=np.float32)

    async def run():
        async with opened(tmp_path, term=1, spec=NAMED) as bench:
            before = bench.replica.log_end
            with pytest.raises(InvalidArgument, match=said):
                await bench.upsert([1], rows)
            with pytest.raises(InvalidArgument, match=said):
                await bench.update([1], UpdatePacked(rows, DIMS))
            assert (bench.replica.log_end, bench.replica.failure) == (before, None)

    asyncio.run(run())


def test_rows_that_a_router_packs_are_packed():
    check_packed_rows(rows_of(list(SOME.values())), DIMS)


@pytest.mark.parametrize(
    ("spec", "change", "said"),
    [
        (NAMED, UpdateVectors(np.zeros((1, 7), dtype=np.float32)), "must name the vectors"),
        (NAMED, UpdatePacked(np.zeros((1, 7), dtype=np.float32), (2, 3, 1)), r"dimensions \[2, 3, 1\], the collection has \[3, 2, 1\]"),
        (SPEC, UpdatePacked(np.zeros((1, 4), dtype=np.float32), (3,)), r"dimensions \[3\], the collection has one without a name"),
    ],
)
def test_an_update_of_vectors_that_the_collection_does_not_have_is_refused(tmp_path, spec, change, said):
    async def run():
        async with opened(tmp_path, term=1, spec=spec) as bench:
            with pytest.raises(InvalidArgument, match=said):
                await bench.update([1], change)

    asyncio.run(run())


def test_an_update_of_some_vectors_keeps_the_others_and_a_retry_changes_nothing(tmp_path):
    async def run():
        async with opened(tmp_path, term=1, spec=NAMED) as bench:
            await fill(bench, payloads=tuple(b'{"n":%d}' % at for at in range(len(SOME))))
            change = UpdatePacked(rows_of([{"text": [9.0, 9.0]}, {"image": [0.0, 0.0, 0.0]}, {"text": [8.0, 8.0]}]), DIMS)
            request = bench.next_id()
            ack = await bench.update([2, 3, 9], change, request_id=request)
            assert ack.affected == 2
            await bench.update([2], UpdatePacked(rows_of([{"text": [1.0, 1.0]}]), DIMS))
            assert (await bench.update([2, 3, 9], change, request_id=request)).seq == ack.seq
            after = SOME | {2: SOME[2] | {"text": [1.0, 1.0]}, 3: SOME[3] | {"image": [0.0, 0.0, 0.0]}}
            await bench.update([1, 2], SetPayload(b'{"n":7}'), In(("n",), (1,)))
            for name, query in (("image", [1.0, 1.0, 0.0]), ("text", [1.0, 0.5]), ("sound_1-x", [6.0])):
                assert await ids_of(bench, name, query) == nearest_by(name, query, after, 10)
                assert await ids_of(bench, name, query, filter=In(("n",), (7,))) == nearest_by(name, query, {2: after[2]}, 10)

    asyncio.run(run())


def test_figures_count_points_once_and_segments_of_each_index(tmp_path):
    async def run():
        async with opened(tmp_path, term=1, spec=LARGE) as bench:
            await bench.upsert(range(600), many(600))
            stats = await bench.replica.stats()
            assert (stats.points, stats.growing_rows, stats.sealed_rows, stats.segments) == (600, 600 + 600 + 400, 0, 3)
            await bench.replica.optimize(30.0)
            stats = await bench.replica.stats()
            assert (stats.points, stats.growing_rows, stats.sealed_rows, stats.segments) == (600, 0, 1_600, 3)
            assert stats.builds_pending == 0
            names = {path.name for path in bench.engine._files.path("x").parent.iterdir()}
            assert {vector_of(name) for name in names} == {"", "image", "text"}
            assert stats.bytes > sum(path.stat().st_size for path in bench.engine._files.path("x").parent.iterdir())
            cost, each = bench.engine.cost(), [index.index.cost() for index in bench.engine.indexes]
            assert cost.held > sum(one.held for one in each)
            assert cost.next_build == max(one.next_build for one in each)
            assert (cost.growing, cost.named) == (each[0].growing, (each[1].growing, each[2].growing))

    asyncio.run(run())


def test_explain_and_curves_name_the_vector_and_each_is_tuned_by_its_own_queries(tmp_path):
    async def run():
        async with opened(tmp_path, term=1, spec=LARGE) as bench:
            rows = many(1_500)
            await bench.upsert(range(1_500), rows)
            await bench.replica.optimize(30.0)
            found = await search(bench, "text", rows[1, 9:], accuracy=RecallTarget(0.9), explain=True)
            assert [part.vector for part in found.explain] == ["text"]
            assert vector_of(found.explain[0].segment) == "text"
            assert found.hits.ids[0] == 1
            curves = await bench.replica.tune(ShardTune(shard=SHARD, k=5), 30.0)
            assert [(curve.vector, curve.rows) for curve in curves] == [("image", 1_500), ("text", 1_000)]
            assert [vector_of(curve.segment) for curve in curves] == ["image", "text"]
            queries = rows[rows[:, 0] == 3.0][:300, 9:]
            (curve,) = await bench.replica.tune(ShardTune(shard=SHARD, k=5, vector="text", queries=queries), 30.0)
            assert (curve.vector, curve.real_queries) == ("text", True)
            for name in ("image", "text"):
                measured = await bench.replica.measure_recall(
                    ShardMeasureRecall(shard=SHARD, k=5, sample=20, recall=0.9, vector=name), 30.0
                )
                assert measured.queries > 0
                assert measured.recall >= 0.8
            with pytest.raises(InvalidArgument, match="give the name of one"):
                await bench.replica.tune(ShardTune(shard=SHARD, k=5, queries=queries), 5.0)
            folder = bench.engine.tuning_folder
        assert {path.name for path in folder.iterdir()} == {"image", "text"}
        assert (folder / "text" / "given").exists()
        assert not (folder / "image" / "given").exists()
        async with opened(tmp_path, term=2, spec=LARGE) as bench:
            (curve,) = await bench.replica.tune(ShardTune(shard=SHARD, k=5, vector="text"), 30.0)
            assert curve.real_queries, "the queries that were given are kept"

    asyncio.run(run())


def test_an_index_is_altered_by_the_name_of_its_vector(tmp_path):
    flat = dataclasses.replace(LARGE, vectors=(LARGE.vectors[0], dataclasses.replace(LARGE.vectors[1], index="flat")))

    def forms(bench):
        return {name: [part.index for part in each.index.view().parts] for name, each in bench.engine.searched.items()}

    async def run():
        async with opened(tmp_path, term=1, spec=LARGE) as bench:
            await bench.upsert(range(600), many(600))
            await bench.replica.optimize(30.0)
            before, segments = forms(bench), {each.name for each in bench.engine.searched["image"].index.view().parts}
            assert before["text"] != ["flat"]
            bench.replica.tell_spec(dataclasses.replace(flat, recall=0.8))
            await bench.replica.optimize(30.0)
            assert forms(bench) == {"image": before["image"], "text": ["flat"]}
            assert {each.name for each in bench.engine.searched["image"].index.view().parts} == segments, "the other was built again"
            assert all(each.index._recall == 0.8 for each in bench.engine.indexes)

    asyncio.run(run())


def test_memory_is_saved_in_each_vector_by_its_share(tmp_path):
    driven = Driven(tmp_path / "replica", LARGE)
    rows = many(9)
    driven.upsert(range(9), rows.tolist(), [None] * 9)
    taken = {}
    for name, each in driven.engine.searched.items():
        each.index.save_memory = lambda room, name=name: taken.update({name: room})
    driven.engine.save_memory(9_600)
    image, text = 9 * 8, 6 * 4
    assert taken == {"image": 9_600 * image // (image + text), "text": 9_600 * text // (image + text)}
    driven.close()


def segments_of(driven):
    return {entry.name for entry in driven.engine._store.segments()}


def test_a_damaged_file_of_one_vector_is_built_again_and_the_others_keep_their_segments(tmp_path, caplog):
    driven = Driven(tmp_path / "replica", NAMED)
    points = {each: {"image": [each, 1, 2], "text": [1, each]} if each % 2 else {"image": [each, 0, 0]} for each in range(16)}
    driven.upsert(list(points), rows_of(list(points.values())), [b'{"n":1}'] * 16)
    while driven.build(everything=True):
        pass
    before, path = segments_of(driven), driven.path
    broken = next(name for name in sorted(before) if vector_of(name) == "text" and name.endswith(".rows"))
    lost = next(name for name in sorted(before) if vector_of(name) == "image" and name.endswith(".payload"))
    driven.close()
    (path / "segments" / broken).write_bytes(b"damaged")
    (path / "segments" / lost).unlink()
    (path / "segments" / "0000000000000001-00000000@smell.rows").write_bytes(b"left by a crash")
    driven = Driven(path, NAMED)
    after = segments_of(driven)
    assert {name for name in before if segment_of(name) != segment_of(broken)} == after
    assert {path.name for path in (path / "segments").iterdir()} == after
    assert driven.engine.searched["text"].index.stats().growing_rows == 8
    assert stored(driven) == {each: (row_of(vectors), {"n": 1}) for each, vectors in points.items()}
    for name, query in (("image", [3, 3, 3]), ("text", [1, -1])):
        assert nearest(driven, query, 9, None, name) == nearest_by(name, query, points, 9)
        assert nearest(driven, query, 9, In(("n",), (1,)), name) == nearest_by(name, query, points, 9)
    driven.close()


def test_a_lost_segment_of_the_points_does_not_cost_the_graphs_of_their_vectors(tmp_path):
    driven = Driven(tmp_path / "replica", NAMED)
    points = {each: {"image": [each, 1, 2]} if each % 2 else {"text": [1, each]} for each in range(20)}
    driven.upsert(list(points), rows_of(list(points.values())), [None] * 20)
    while driven.build(everything=True):
        pass
    names = {each: [part.name for part in index.index.view().parts] for each, index in driven.engine.searched.items()}
    for entry in driven.engine._store.segments():
        if vector_of(entry.name) == "":
            (driven.path / "segments" / entry.name).unlink()
    driven.close()
    driven = Driven(driven.path, NAMED)
    assert {each: [part.name for part in index.index.view().parts] for each, index in driven.engine.searched.items()} == names
    assert driven.engine.points.index.stats().sealed_rows == 0
    assert driven.engine.points.index.stats().growing_rows == 20
    for name, query in (("image", [3, 3, 3]), ("text", [1, -1])):
        assert nearest(driven, query, 9, None, name) == nearest_by(name, query, points, 9)
    driven.close()


def test_segments_of_a_vector_that_the_collection_does_not_have_are_deleted(tmp_path, caplog):
    driven = Driven(tmp_path / "replica")
    driven.upsert([1, 2], [[1, 2, 3, 4], [5, 6, 7, 8]], [None, None])
    driven.build(everything=True)
    kept = segments_of(driven)
    entry = driven.engine._store.segments()[0]
    driven.engine._store.replace_segments([dataclasses.replace(entry, name="0000000000000001-00000000@smell.rows")], [])
    driven.engine.sweep()
    driven.close()
    driven = Driven(driven.path)
    assert segments_of(driven) == kept
    assert "there is no vector 'smell'" in caplog.text
    assert nearest(driven, [1, 2, 3, 4], 2) == [1, 2]
    driven.close()


def test_a_folder_of_other_vectors_is_not_opened(tmp_path):
    driven = Driven(tmp_path / "replica", NAMED)
    driven.close()
    other = dataclasses.replace(NAMED, vectors=(NAMED.vectors[0], dataclasses.replace(NAMED.vectors[1], name="title"), NAMED.vectors[2]))
    with pytest.raises(PreconditionFailed, match="named vectors"):
        Driven(driven.path, other)
    with pytest.raises(PreconditionFailed, match="named vectors"):
        Driven(driven.path, dataclasses.replace(SPEC, dim=NAMED.point_dim))
    Driven(driven.path, NAMED).close()


def test_builds_of_one_replica_run_one_at_a_time(tmp_path):
    async def run():
        async with opened(tmp_path, term=1, spec=LARGE, growing_rows=256) as bench:
            begun, running = [], []
            for each in bench.engine.indexes:
                real_begin, real_swap = each.begin_build, each.swap

                def begin(plan, each=each, real=real_begin):
                    assert not running
                    running.append(each)
                    begun.append(each.name)
                    return real(plan)

                def swap(*asked, real=real_swap):
                    running.pop()
                    return real(*asked)

                each.begin_build, each.swap = begin, swap
            rows = many(768)
            await bench.upsert(range(768), rows)
            async with asyncio.timeout(30.0):
                while (await bench.replica.stats()).builds_pending:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            assert set(begun) == {"", "image", "text"}
            assert await ids_of(bench, "image", rows[5, 1:9], k=1) == [5]

    asyncio.run(run())


def test_an_index_that_always_has_a_build_does_not_keep_the_others_from_theirs(tmp_path):
    async def run():
        async with opened(tmp_path, term=1, spec=LARGE) as bench:
            for each in bench.engine.indexes:
                each.next_build = lambda *, everything: ("a plan", everything)
                each.begin_build = lambda plan: plan
            begun = [bench.replica._sealing._begin()[0].name for _ in range(5)]
            assert begun == ["", "image", "text", "", "image"]
            for each in bench.engine.indexes:
                del each.next_build, each.begin_build

    asyncio.run(run())


def test_texts_are_indexed_once_beside_named_vectors(tmp_path):
    spec = dataclasses.replace(NAMED, text=text_fields_from_input({"note": "auto"}))
    driven = Driven(tmp_path / "replica", spec)
    driven.upsert([1, 2], rows_of([SOME[1], SOME["a"]]), [json.dumps({"note": note}).encode() for note in ("red", "blue")])
    while driven.build(everything=True):
        pass
    assert [vector_of(name) for name in segments_of(driven) if name.endswith(".text")] == [""]
    assert driven.engine.reading.view().texts_ready(["note"]) == (1, 1)
    assert driven.engine.searched["image"].index.view().texts is None
    driven.close()


def test_a_replica_of_one_vector_is_stored_as_before(tmp_path):
    """Versions that know no named vectors wrote such folders, and open them."""
    driven = Driven(tmp_path / "replica")
    driven.upsert([1, 2], [[1, 2, 3, 4], [5, 6, 7, 8]], [None, None])
    driven.build(everything=True)
    driven.close()
    with contextlib.closing(sqlite3.connect(driven.path / "store.db")) as store:
        keys = {key for (key,) in store.execute("SELECT key FROM meta")}
        assert keys == {"format", "cluster_id", "replica_id", "dim", "applied_seq", "next_row", "points", "keys_sum"}
        assert not [name for (name,) in store.execute("SELECT name FROM segments") if "@" in name]
