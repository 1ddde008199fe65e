"""Test named vectors in the router: what callers give by name is packed for the shards, and unpacked in answers."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.core.errors import InvalidArgument
from shoal.core.filter import HasId, In
from shoal.core.ids import RequestId
from shoal.core.limits import Limits
from shoal.core.metric import Metric
from shoal.core.named_vectors import NamedVector, VectorColumn
from shoal.core.point_change import PointChange, SetPayload, UpdateNamed, UpdatePacked, UpdateVectors
from shoal.core.points import PointColumns, PointId, StoredColumns, id_array
from shoal.core.requests import Get, MeasureRecall, Scroll, Search, TuneCollection, Update, Upsert
from shoal.core.scoring import prepared, scores
from shoal.core.shard_calls import QueryGroup, ShardUpsert
from shoal.core.topk import HitColumns
from shoal.core.tuning_calls import ShardMeasureRecall, ShardTune
from shoal.wire.points import got_to_message, page_to_message
from tests.twins.cluster import TwinCluster

IMAGE = NamedVector(name="image", dim=3)
TEXT = NamedVector(name="text", dim=2, metric=Metric.COSINE)
DOT = NamedVector(name="dot", dim=1, metric=Metric.IP)
VECTORS = (IMAGE, TEXT, DOT)
Named = dict[str, list[float]]

numbers = st.integers(-8, 8).map(float)
vectors_of_a_point = st.fixed_dictionaries(
    {},
    optional={
        "image": st.lists(numbers, min_size=3, max_size=3),
        "text": st.lists(numbers, min_size=2, max_size=2).filter(any),
        "dot": st.lists(numbers, min_size=1, max_size=1),
    },
)
points_by_id = st.dictionaries(st.integers(0, 40) | st.text(min_size=1, max_size=3), vectors_of_a_point, min_size=1, max_size=12)


def cluster_of(*, limits: Limits | None = None, shards: int = 3) -> TwinCluster:
    cluster = TwinCluster(limits=limits)
    cluster.add("a", shards=shards, vectors=VECTORS, text=["body"])
    return cluster


def columns(points: list[Named], vectors: tuple[NamedVector, ...] = VECTORS) -> dict[str, VectorColumn]:
    """Return the vectors of points in columns; a name that no point has is left out."""
    found = {}
    for each in vectors:
        have = [at for at, point in enumerate(points) if each.name in point]
        if have:
            rows = np.array([points[at][each.name] for at in have], dtype=np.float32)
            found[each.name] = VectorColumn(vectors=rows, positions=None if len(have) == len(points) else np.array(have, dtype=np.intp))
    return found


def upsert(cluster: TwinCluster, points: Mapping[PointId, Named], payloads: tuple[bytes | None, ...] | None = None) -> None:
    given = PointColumns(
        ids=id_array(points), vectors=np.empty((len(points), 0), np.float32), payloads=payloads, named=columns(list(points.values()))
    )
    asyncio.run(cluster.router.writes.upsert(Upsert(collection="a", points=given), 10.0))


def update(cluster: TwinCluster, change: PointChange, ids: list[PointId] | None, filter: Any = None) -> int:
    order = Update(collection="a", change=change, ids=None if ids is None else id_array(ids), filter=filter, request_id=RequestId("me", 7))
    return asyncio.run(cluster.router.updates.update(order, 10.0)).affected


def by_id(found: StoredColumns | HitColumns) -> dict[PointId, Named]:
    """Return the vectors of points that were read."""
    assert found.vectors is None
    assert found.named is not None
    assert list(found.named) == ["image", "text", "dot"]
    listed = found.ids.tolist()
    points: dict[PointId, Named] = {each: {} for each in listed}
    for name, column in found.named.items():
        at = range(len(listed)) if column.positions is None else column.positions.tolist()
        for place, row in zip(at, column.vectors.tolist(), strict=True):
            points[listed[place]][name] = row
    return points


def scrolled(cluster: TwinCluster, limit: int = 0) -> dict[PointId, Named]:
    points: dict[PointId, Named] = {}
    after, more = None, True
    while more:
        question = Scroll(collection="a", after=after, limit=limit, with_vectors=True)
        page = asyncio.run(cluster.router.reads.scroll(question, 10.0))
        points |= by_id(page.points)
        after, more = page.points.ids.tolist()[-1] if len(page.points) else None, page.more
    return points


@settings(max_examples=60, deadline=None)
@given(points_by_id, st.integers(1, 5))
def test_points_come_back_with_the_vectors_they_have(points: dict[PointId, Named], limit: int) -> None:
    cluster = cluster_of()
    upsert(cluster, points)
    got = asyncio.run(cluster.router.reads.get(Get(collection="a", ids=id_array(points), with_vectors=True), 10.0))
    whole = Get(collection="a", ids=id_array(points), with_vectors=True, in_parts=False)
    assert by_id(got.points) == by_id(asyncio.run(cluster.router.reads.get(whole, 10.0)).points) == points
    assert scrolled(cluster, limit) == points
    bare = asyncio.run(cluster.router.reads.get(Get(collection="a", ids=id_array(points)), 10.0)).points
    assert (bare.vectors, bare.named) == (None, None)


def test_an_upsert_is_the_whole_point_and_the_shards_get_packed_rows_alone() -> None:
    cluster = cluster_of()
    upsert(cluster, {1: {"image": [1, 2, 3], "dot": [4]}, 2: {"image": [0, 0, 0]}, "x": {}})
    upsert(cluster, {1: {"text": [5, 6]}})
    assert scrolled(cluster) == {1: {"text": [5, 6]}, 2: {"image": [0, 0, 0]}, "x": {}}
    sent = [call.points for worker in cluster.workers.values() for call in worker.calls if isinstance(call, ShardUpsert)]
    assert all(points.named is None and points.vectors.shape == (len(points), 7) for points in sent)
    assert cluster.points()[1][0].tolist() == [2, 0, 0, 0, 5, 6, 0]


@settings(max_examples=60, deadline=None)
@given(points_by_id, st.data())
def test_an_update_keeps_the_vectors_that_it_does_not_name(points: dict[PointId, Named], data: st.DataObject) -> None:
    cluster = cluster_of()
    upsert(cluster, points, tuple(b'{"label":1}' if at % 2 else None for at in range(len(points))))
    changes = data.draw(st.dictionaries(st.sampled_from([*points, "nobody"]), vectors_of_a_point, min_size=1))
    named = columns(list(changes.values())) or {"dot": VectorColumn(vectors=np.empty((0, 1), np.float32), positions=np.empty(0, np.intp))}
    filter = data.draw(st.sampled_from([None, In(("label",), (1,)), HasId((1, 2, 3))]))
    labelled = {each for at, each in enumerate(points) if at % 2}
    wanted = {None: set(points), HasId((1, 2, 3)): {1, 2, 3}}.get(filter, labelled)
    changed = changes.keys() & points.keys() & wanted
    assert update(cluster, UpdateNamed(named), list(changes), filter) == len(changed)
    assert scrolled(cluster) == {each: {**have, **(changes[each] if each in changed else {})} for each, have in points.items()}


def column(*rows: list[float], positions: list[int] | None = None) -> VectorColumn:
    return VectorColumn(vectors=np.array(rows, np.float32), positions=None if positions is None else np.array(positions, dtype=np.intp))


FAULTS = [
    ({"img": column([1, 2, 3], [1, 2, 3])}, "no vector 'img', it has image, text, dot"),
    ({"": column([1, 2, 3], [1, 2, 3])}, "give the name of one: image, text, dot"),
    ({"image": column([1, 2], [1, 2])}, r"vectors\['image'\] have dimension 2, vector 'image' has 3"),
    ({"image": column([1, 2, 3])}, "'image': 1 are given for 2 points"),
    ({"image": column([1, 2, 3], positions=[2])}, "positions of vector 'image' must be ascending, from 0 to 1"),
    ({"dot": column([1], [2], positions=[1, 0])}, "positions of vector 'dot' must be ascending"),
    ({"dot": column([1], positions=[0, 1])}, "'dot': 2 positions are given for 1 vectors"),
    ({"dot": column([np.nan], positions=[1])}, r"vectors\['dot'\]\[1\] holds NaN"),
    ({"text": column([0, 0], positions=[1])}, r"vectors\['text'\]\[1\] is zero: it has no direction"),
]


@pytest.mark.parametrize(("named", "told"), FAULTS, ids=lambda value: value if isinstance(value, str) else "")
def test_what_does_not_fit_is_refused_by_name_and_nothing_is_written(named: dict[str, VectorColumn], told: str) -> None:
    cluster = cluster_of()
    points = PointColumns(ids=id_array([1, 2]), vectors=np.empty((2, 0), np.float32), payloads=None, named=named)
    with pytest.raises(InvalidArgument, match=told):
        asyncio.run(cluster.router.writes.upsert(Upsert(collection="a", points=points), 10.0))
    with pytest.raises(InvalidArgument, match=told):
        update(cluster, UpdateNamed(named), [1, 2])
    assert not any(worker.calls for worker in cluster.workers.values())


ROW = np.ones((1, 4), np.float32)


def test_vectors_have_names_exactly_where_those_of_the_collection_have() -> None:
    cluster = cluster_of()
    cluster.add("one")
    for name, points, told in (
        ("a", PointColumns(ids=id_array([1]), vectors=ROW, payloads=None), "several vectors, give them by name: image, text, dot"),
        (
            "one",
            PointColumns(ids=id_array([1]), vectors=ROW[:, :0], payloads=None, named={"image": column([1])}),
            "without a name.*'image'",
        ),
        ("one", PointColumns(ids=id_array([1]), vectors=ROW[:, :0], payloads=None, named={}), "one vector of 4 dimensions without a name"),
    ):
        with pytest.raises(InvalidArgument, match=told) as caught:
            asyncio.run(cluster.router.writes.upsert(Upsert(collection=name, points=points), 10.0))
        assert caught.value.details.field == "vectors"


@pytest.mark.parametrize(
    ("change", "ids", "told"),
    [
        (UpdateVectors(np.ones((1, 7), np.float32)), [1], "several vectors, give them by name"),
        (UpdatePacked(np.zeros((1, 7), np.float32), (3, 2, 1)), [1], "only used inside a cluster"),
        (UpdateNamed({}), [1], "no vector is given, name at least one: image, text, dot"),
        (UpdateNamed({"dot": column([1])}), None, "without ids"),
        (UpdateNamed({"dot": column([1], [2])}), [1, 1], "1 is given twice"),
    ],
)
def test_an_update_that_cannot_be_made_is_refused(change: PointChange, ids: list[PointId] | None, told: str) -> None:
    with pytest.raises(InvalidArgument, match=told):
        update(cluster_of(), change, ids, HasId((1,)))


def test_payloads_are_changed_as_in_any_collection() -> None:
    cluster = cluster_of()
    upsert(cluster, {1: {"dot": [1]}, 2: {"image": [1, 2, 3]}})
    assert update(cluster, SetPayload(b'{"a":1}'), None, HasId((1, 2))) == 2
    assert scrolled(cluster) == {1: {"dot": [1]}, 2: {"image": [1, 2, 3]}}


def best(points: dict[PointId, Named], vector: NamedVector, query: list[float], k: int) -> list[tuple[PointId, float]]:
    """Return the best hits, by comparing with every point that has the vector."""
    ids = [each for each, named in points.items() if vector.name in named]
    if not ids:
        return []
    rows = prepared(np.array([points[each][vector.name] for each in ids], np.float32), vector.metric)
    found = scores(prepared(np.array([query], np.float32), vector.metric)[0], rows, vector.metric)
    sign = 1 if vector.metric.smaller_is_better else -1
    ranked = sorted(zip(ids, found.tolist(), strict=True), key=lambda hit: (sign * hit[1], isinstance(hit[0], str), hit[0]))
    return ranked[:k]


def search(cluster: TwinCluster, vector: str, query: list[float], **options: Any) -> HitColumns:
    k = options.pop("k", 3)
    question = Search(collection="a", queries=np.array([query], np.float32), groups=(QueryGroup(k=k),), vector=vector, **options)
    return asyncio.run(cluster.router.reads.search(question, 10.0)).hits


@settings(max_examples=80, deadline=None)
@given(points_by_id, st.sampled_from(VECTORS), st.integers(1, 6), st.data())
def test_a_search_by_name_has_the_metric_of_its_vector_over_all_shards(
    points: dict[PointId, Named], vector: NamedVector, k: int, data: st.DataObject
) -> None:
    cluster = cluster_of()
    upsert(cluster, points)
    query = data.draw(st.lists(numbers, min_size=vector.dim, max_size=vector.dim).filter(any))
    hits = search(cluster, vector.name, query, k=k, with_vectors=True)
    wanted = best(points, vector, query, k)
    assert list(zip(hits.ids.tolist(), hits.scores.tolist(), strict=True)) == wanted
    assert by_id(hits) == {each: points[each] for each, _ in wanted}


def test_searches_of_one_moment_keep_their_vectors() -> None:
    cluster = cluster_of(shards=2)
    points: dict[PointId, Named] = {at: {"image": [at, 0, 0], "text": [1, at]} for at in range(8)}
    upsert(cluster, points)

    async def both() -> list[Any]:
        asked = [("image", [7, 0, 0]), ("text", [1, 0])] * 6
        questions = [
            Search(collection="a", queries=np.array([query], np.float32), groups=(QueryGroup(k=2),), vector=name) for name, query in asked
        ]
        return await asyncio.gather(*(cluster.router.reads.search(each, 10.0) for each in questions))

    assert [found.hits.ids.tolist() for found in asyncio.run(both())] == [[7, 6], [0, 1]] * 6


@pytest.mark.parametrize(
    ("vector", "query", "told"),
    [
        ("img", [1, 2, 3], "no vector 'img', it has image, text, dot"),
        ("", [1, 2, 3], "give the name of one: image, text, dot"),
        ("image", [1, 2], "vectors have dimension 2, vector 'image' has 3"),
        ("text", [0, 0], "no direction under cosine"),
    ],
)
def test_a_search_that_fits_no_vector_is_refused(vector: str, query: list[float], told: str) -> None:
    with pytest.raises(InvalidArgument, match=told):
        search(cluster_of(), vector, query)


def test_a_search_tells_which_vector_was_compared() -> None:
    cluster = cluster_of()
    upsert(cluster, {1: {"dot": [1]}})
    question = Search(collection="a", queries=np.ones((1, 1), np.float32), groups=(QueryGroup(k=1),), vector="dot", explain=True)
    found = asyncio.run(cluster.router.reads.search(question, 10.0))
    assert {each.vector for each in found.explain} == {"dot"}


def test_pages_are_cut_to_messages_by_what_they_have_in_an_answer() -> None:
    cluster = cluster_of(limits=Limits(message_bytes=1_200))
    points: dict[PointId, Named] = {at: {"image": [at, 1, 2]} for at in range(60)}
    for start in range(0, 60, 10):
        upsert(cluster, {at: points[at] for at in range(start, start + 10)})
    got = asyncio.run(cluster.router.reads.get(Get(collection="a", ids=np.arange(60), with_vectors=True), 10.0))
    assert 0 < got.answered < 60
    assert scrolled(cluster, 50) == points


def test_vectors_are_tuned_and_measured_by_name() -> None:
    cluster = cluster_of()
    administration, queries = cluster.router.administration, np.ones((1, 2), np.float32)

    def calls(kind: type) -> list[Any]:
        return [call for worker in cluster.workers.values() for call in worker.calls if isinstance(call, kind)]

    curves = asyncio.run(administration.tune(TuneCollection(name="a", vector="text", queries=queries), 10.0))
    assert {each.vector for each in curves} == {"text"}
    asyncio.run(administration.tune(TuneCollection(name="a"), 10.0))
    assert {call.vector for call in calls(ShardTune)} == {"text", ""}
    asyncio.run(administration.measure_recall(MeasureRecall(name="a", vector="dot"), 10.0))
    assert {call.vector for call in calls(ShardMeasureRecall)} == {"dot"}
    for wrong, told in (
        (TuneCollection(name="a", vector="img"), "no vector 'img'"),
        (TuneCollection(name="a", queries=queries), "give the name of one: image, text, dot"),
        (TuneCollection(name="a", vector="image", queries=queries), "queries have dimension 2, vector 'image' has 3"),
        (TuneCollection(name="a", vector="text", queries=0 * queries), "no direction"),
    ):
        with pytest.raises(InvalidArgument, match=told):
            asyncio.run(administration.tune(wrong, 10.0))
    for name, told in (("", "give the name of one"), ("img", "no vector 'img'")):
        with pytest.raises(InvalidArgument, match=told):
            asyncio.run(administration.measure_recall(MeasureRecall(name="a", vector=name), 10.0))
    cluster.add("one")
    with pytest.raises(InvalidArgument, match="one vector without a name, not 'image'"):
        asyncio.run(administration.tune(TuneCollection(name="one", vector="image"), 10.0))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 16), st.integers(1, 3), st.integers(3_000, 12_000), st.integers(0, 1_000_000))
def test_answers_with_many_short_vectors_fit_into_messages(names: int, dim: int, message_bytes: int, seed: int) -> None:
    """Positions and names take more than the numbers that points lack."""
    chance = Random(seed)
    vectors = tuple(NamedVector(name="v" * 62 + f"{number:02d}", dim=dim) for number in range(names))
    cluster = TwinCluster(limits=Limits(message_bytes=message_bytes))
    cluster.add("a", shards=2, vectors=vectors)
    points: list[Named] = [{each.name: [1.0] * dim for each in vectors if chance.random() < 0.9} for _ in range(200)]
    for start in range(0, 200, 10):
        given_points = PointColumns(
            ids=np.arange(start, start + 10),
            vectors=np.empty((10, 0), np.float32),
            payloads=None,
            named=columns(points[start : start + 10], vectors),
        )
        asyncio.run(cluster.router.writes.upsert(Upsert(collection="a", points=given_points), 10.0))
    got = asyncio.run(cluster.router.reads.get(Get(collection="a", ids=np.arange(200), with_vectors=True), 10.0))
    page = asyncio.run(cluster.router.reads.scroll(Scroll(collection="a", limit=200, with_vectors=True), 10.0))
    assert got_to_message(got).ByteSize() <= message_bytes
    assert page_to_message(page).ByteSize() <= message_bytes
    assert len(got.points) > 1
    assert len(page.points) > 1


@pytest.mark.parametrize("dim", [1, 9])
def test_a_name_that_no_point_of_a_call_has_must_be_one_of_the_collection(dim: int) -> None:
    cluster = cluster_of()
    none = VectorColumn(vectors=np.empty((0, dim), np.float32), positions=np.empty(0, np.intp))
    given = {"dot": VectorColumn(vectors=np.ones((2, 1), np.float32)), "image": none}
    points = PointColumns(ids=id_array([1, 2]), vectors=np.empty((2, 0), np.float32), payloads=None, named=given)
    asyncio.run(cluster.router.writes.upsert(Upsert(collection="a", points=points), 10.0))
    assert update(cluster, UpdateNamed(given), [1, 2]) == 2
    assert scrolled(cluster) == {1: {"dot": [1]}, 2: {"dot": [1]}}
    with pytest.raises(InvalidArgument, match="has no vector 'sound', it has image, text, dot"):
        update(cluster, UpdateNamed({**given, "sound": none}), [1, 2])
