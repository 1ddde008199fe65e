from __future__ import annotations

import asyncio
import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.core.errors import (
    DataLoss,
    DeadlineExceeded,
    ErrorDetails,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    ShoalError,
    Unavailable,
)
from shoal.core.filter import Filter, In
from shoal.core.filter_truth import matches
from shoal.core.ids import ShardId
from shoal.core.limits import Limits
from shoal.core.metric import Metric
from shoal.core.points import PointColumns, PointId, id_array, id_order
from shoal.core.requests import Count, Get, ReadAs, Scroll, Search, ShardToken, Upsert
from shoal.core.scoring import prepared, scores
from shoal.core.shard_calls import Accuracy, Breadth, Consistency, Exact, QueryGroup, RecallTarget, ShardSearch
from tests.support.examples.filters import filters, payloads
from tests.twins.cluster import TwinCluster

point_ids = st.one_of(st.integers(-(2**63), 2**63 - 1), st.text(min_size=1, max_size=8))


def columns(ids: list[PointId], dim: int = 4, seed: int = 0) -> PointColumns:
    vectors = np.random.default_rng(seed).integers(-3, 4, size=(len(ids), dim)).astype(np.float32)
    vectors[:, 0] += 5
    payloads = tuple(b'{"at":%d}' % at if at % 3 else None for at in range(len(ids)))
    return PointColumns(ids=id_array(ids), vectors=vectors, payloads=payloads)


def loaded(
    ids: list[PointId], *, shards: int = 3, workers: int = 2, metric: Metric = Metric.L2, limits: Limits | None = None
) -> TwinCluster:
    cluster = TwinCluster(workers=workers, limits=limits)
    cluster.add("a", shards=shards, metric=metric)
    asyncio.run(cluster.router.writes.upsert(Upsert(collection="a", points=columns(ids)), 10.0))
    for worker in cluster.workers.values():
        worker.calls.clear()
        worker.timeouts.clear()
    return cluster


def queries(count: int, dim: int = 4) -> np.ndarray:
    return np.random.default_rng(9).integers(1, 4, size=(count, dim)).astype(np.float32)


def search(cluster: TwinCluster, timeout_s: float = 10.0, **options: object):
    k = options.pop("k", 3)
    question = Search(**{"collection": "a", "queries": queries(2), "groups": (QueryGroup(k=k),), **options})
    return asyncio.run(cluster.router.reads.search(question, timeout_s))


@settings(max_examples=40, deadline=None)
@given(
    ids=st.lists(point_ids, min_size=1, max_size=25, unique=True),
    shards=st.integers(1, 5),
    k=st.integers(1, 30),
    metric=st.sampled_from(list(Metric)),
)
def test_search_agrees_with_brute_force_over_all_points(ids: list[PointId], shards: int, k: int, metric: Metric) -> None:
    cluster = loaded(ids, shards=shards, metric=metric)
    points = columns(ids)
    hits = search(cluster, k=k, with_vectors=True).hits
    rows = prepared(points.vectors, metric)
    sign = 1 if metric.smaller_is_better else -1
    at = 0
    for number, query in enumerate(prepared(queries(2), metric)):
        values = scores(query, rows, metric)
        expected = sorted(range(len(ids)), key=lambda row: (sign * values[row], id_order(ids[row])))[:k]
        got = slice(at, at + int(hits.counts[number]))
        assert hits.ids[got].tolist() == [ids[row] for row in expected]
        assert hits.scores[got].tolist() == [values[row] for row in expected]
        assert list(hits.payloads[got]) == [points.payloads[row] for row in expected]
        assert np.array_equal(hits.vectors[got], points.vectors[expected])
        at = got.stop
    assert at == len(hits)


@st.composite
def grouped(draw: st.DrawFn, count: int) -> list[tuple[int, Filter | None]]:
    """Draw k and filter of `count` queries. Some queries share both."""
    kinds = draw(st.lists(st.tuples(st.integers(1, 6), st.none() | filters()), min_size=1, max_size=3))
    return draw(st.lists(st.sampled_from(kinds), min_size=count, max_size=count))


def groups_of(asked: list[tuple[int, Filter | None]]) -> tuple[QueryGroup, ...]:
    """Return one group for each pair of k and filter."""
    members: dict[str, list[int]] = {}
    for number, each in enumerate(asked):
        members.setdefault(repr(each), []).append(number)
    return tuple(QueryGroup(k=asked[numbers[0]][0], filter=asked[numbers[0]][1], queries=np.array(numbers)) for numbers in members.values())


@settings(max_examples=40, deadline=None)
@given(
    points=st.dictionaries(point_ids, payloads, min_size=1, max_size=15),
    asked=grouped(4),
    shards=st.integers(1, 3),
    radius=st.none() | st.integers(0, 60),
)
def test_queries_with_their_own_k_and_filter_agree_with_brute_force(
    points: dict[PointId, dict[str, object] | None], asked: list[tuple[int, Filter | None]], shards: int, radius: int | None
) -> None:
    cluster = filled(points, shards)
    vectors = columns(list(points)).vectors
    answer = search(cluster, queries=queries(4), groups=groups_of(asked), radius=radius)
    expected = []
    for query, (k, filter) in zip(queries(4), asked, strict=True):
        values = scores(query, vectors, Metric.L2)
        found = [
            (values[row], point_id)
            for row, (point_id, payload) in enumerate(points.items())
            if (filter is None or matches(filter, payload, point_id)) and (radius is None or values[row] <= radius)
        ]
        expected.append([point_id for _, point_id in sorted(found, key=lambda hit: (hit[0], id_order(hit[1])))[:k]])
    assert answer.hits.counts.tolist() == [len(each) for each in expected]
    assert answer.hits.ids.tolist() == [point_id for each in expected for point_id in each]


def filled(points: dict[PointId, dict[str, object] | None], shards: int) -> TwinCluster:
    """Return a cluster that holds these points (id to payload)."""
    cluster = TwinCluster()
    cluster.add("a", shards=shards)
    texts = tuple(None if payload is None else json.dumps(payload).encode() for payload in points.values())
    written = dataclasses.replace(columns(list(points)), payloads=texts)
    asyncio.run(cluster.router.writes.upsert(Upsert(collection="a", points=written), 10.0))
    return cluster


@settings(max_examples=40, deadline=None)
@given(points=st.dictionaries(point_ids, payloads, min_size=1, max_size=15), filter=filters(), shards=st.integers(1, 3))
def test_count_and_scroll_see_the_points_that_match(points: dict[PointId, dict[str, object] | None], filter: Filter, shards: int) -> None:
    cluster = filled(points, shards)
    expected = sorted((point_id for point_id, payload in points.items() if matches(filter, payload, point_id)), key=id_order)
    reads = cluster.router.reads
    assert asyncio.run(reads.count(Count(collection="a", filter=filter), 5.0)) == len(expected)
    seen: list[PointId] = []
    more = True
    while more:
        question = Scroll(collection="a", after=seen[-1] if seen else None, limit=4, filter=filter)
        page = asyncio.run(reads.scroll(question, 5.0))
        seen += page.points.ids.tolist()
        more = page.more
    assert seen == expected


@pytest.mark.parametrize(
    ("accuracy", "sent"),
    [(None, RecallTarget(0.8)), (RecallTarget(0.99), RecallTarget(0.99)), (Exact(), Exact()), (Breadth(nprobe=7), Breadth(nprobe=7))],
)
def test_a_search_that_names_no_accuracy_has_that_of_the_collection(accuracy: Accuracy | None, sent: Accuracy) -> None:
    cluster = TwinCluster()
    cluster.add("a", recall=0.8)
    search(cluster, accuracy=accuracy)
    assert [call.accuracy for worker in cluster.workers.values() for call in worker.calls] == [sent, sent]


def test_every_shard_explains_itself_when_it_is_asked_to() -> None:
    cluster = loaded([1, 2, 3])
    assert search(cluster).explain == ()
    assert [each.shard for each in search(cluster, explain=True).explain] == [0, 1, 2]


def test_search_of_empty_shards_is_empty() -> None:
    cluster = TwinCluster()
    cluster.add("a")
    hits = search(cluster).hits
    assert hits.counts.tolist() == [0, 0]
    assert len(hits) == 0


def test_each_shard_gets_its_own_min_seq_and_the_time_that_is_left() -> None:
    cluster = loaded([1, 2, 3])
    wanted = (ShardToken("id-a", 0, 4), ShardToken("id-a", 2, 6), ShardToken("id-other", 1, 9))
    search(cluster, timeout_s=7.0, read=ReadAs(tokens=wanted))
    calls = [call for worker in cluster.workers.values() for call in worker.calls]
    asked = [call if isinstance(call, ShardSearch) else call.of(shard) for call in calls for shard in getattr(call, "shards", [None])]
    assert {call.shard.number: call.terms.min_seq for call in asked} == {0: 4, 1: 0, 2: 6}
    assert {call.terms.consistency for call in asked} == {Consistency.SESSION}
    assert {left for worker in cluster.workers.values() for left in worker.timeouts} == {7.0}


def test_any_consistency_waits_for_nothing() -> None:
    cluster = loaded([1, 2, 3], shards=2)
    search(cluster, read=ReadAs(consistency=Consistency.ANY, tokens=(ShardToken("id-a", 0, 4),)))
    assert {call.terms.min_seq for worker in cluster.workers.values() for call in worker.calls} == {0}


def test_a_missing_shard_is_tried_again_until_it_answers() -> None:
    cluster = loaded([1, 2, 3])
    cluster.workers["w1"].before = [Unavailable("not ready"), Unavailable("not ready")]
    assert len(search(cluster, k=10).hits) == 6
    assert cluster.view.waits == [0.02, 0.04]


def test_a_change_of_the_map_ends_the_wait_and_the_next_attempt_uses_it() -> None:
    cluster = loaded([1, 2, 3])
    cluster.remove_worker("w1")
    cluster.view.events = [lambda: cluster.return_worker("w1")]
    assert len(search(cluster, k=10).hits) == 6
    assert cluster.clock.now == 100.0


def test_a_shard_that_stays_away_is_named_after_two_seconds() -> None:
    cluster = loaded([1, 2, 3])
    cluster.remove_worker("w1")
    with pytest.raises(Unavailable, match=r"a/1.*w1 is down") as caught:
        search(cluster)
    assert caught.value.details.shard == "a/1"
    assert 1.9 < cluster.clock.now - 100 <= 2.0


def test_a_short_deadline_bounds_the_patience() -> None:
    cluster = loaded([1, 2, 3])
    cluster.remove_worker("w1")
    with pytest.raises(Unavailable, match="a/1"):
        search(cluster, timeout_s=0.5)
    assert cluster.clock.now - 100 <= 0.5


def test_no_time_at_all_is_a_deadline_that_names_the_shard() -> None:
    cluster = loaded([1, 2, 3])
    with pytest.raises(DeadlineExceeded, match="a/0"):
        search(cluster, timeout_s=0.0)
    assert not cluster.workers["w0"].calls


@pytest.mark.parametrize("error", [Unavailable("gone"), DeadlineExceeded("slow"), DataLoss("damaged")])
def test_a_partial_answer_leaves_out_and_names_what_cannot_answer(error: ShoalError) -> None:
    cluster = loaded([1, 2, 3, 4, 5, 6], shards=2)
    cluster.workers["w1"].before = [error] * 50
    answer = search(cluster, k=10, allow_partial=True)
    assert answer.missing_shards == ("a/1",)
    assert sorted(answer.hits.ids.tolist()) == sorted(list(cluster.workers["w0"].shards[ShardId("id-a", 0)].points) * 2)


def test_a_partial_answer_of_no_shard_is_none() -> None:
    cluster = loaded([1, 2, 3])
    for worker in cluster.workers:
        cluster.remove_worker(worker)
    with pytest.raises(Unavailable):
        search(cluster, allow_partial=True)


def test_partial_answers_do_not_hide_what_is_wrong_with_the_request() -> None:
    cluster = loaded([1, 2, 3])
    cluster.workers["w1"].before = [InvalidArgument("bad")]
    with pytest.raises(InvalidArgument, match="a/1: bad"):
        search(cluster, allow_partial=True)


def test_damage_is_not_waited_for() -> None:
    cluster = loaded([1, 2, 3])
    cluster.workers["w1"].before = [DataLoss("crc")]
    with pytest.raises(DataLoss, match="crc"):
        search(cluster)
    assert cluster.view.waits == []


def test_an_answer_larger_than_a_message_says_what_to_do() -> None:
    cluster = loaded([1, 2, 3], limits=Limits(message_bytes=100))
    with pytest.raises(ResourceExhausted, match=r"at most 100 .*smaller k"):
        search(cluster, queries=queries(20), with_vectors=True)


@pytest.mark.parametrize(
    ("options", "field", "text"),
    [
        ({"k": 0}, "k", "k is 0"),
        ({"k": 16_385}, "k", "k is 16385"),
        ({"queries": queries(0)}, "vectors", "empty"),
        ({"queries": queries(4_097)}, "vectors", "4097"),
        ({"queries": queries(4_096), "k": 300}, "k", "1228800"),
        ({"queries": queries(1, dim=5)}, "vectors", "dimension 5.*4"),
        ({"queries": np.array([[1, 1, 1, 1], [1, np.nan, 1, 1]], dtype=np.float32)}, "vectors", r"vectors\[1\]"),
        ({"groups": ()}, "groups", "query 0 stands in 0 groups"),
        ({"groups": (QueryGroup(k=1, queries=np.array([1])),)}, "groups", "query 0 stands in 0 groups"),
        ({"groups": (QueryGroup(k=1), QueryGroup(k=2, queries=np.array([1])))}, "groups", "query 1 stands in 2 groups"),
        ({"groups": (QueryGroup(k=1, queries=np.array([0, 0, 1])),)}, "groups", "query 0 stands in 2 groups"),
        ({"groups": (QueryGroup(k=1, queries=np.array([0, 1, 2])),)}, "groups", r"groups\[0\] names query 2 of 2"),
        ({"groups": (QueryGroup(k=1, queries=np.array([0])), QueryGroup(k=0, queries=np.array([1])))}, "k", "k is 0"),
        ({"groups": (QueryGroup(k=1, filter=In(("a",), (float("nan"),))),)}, "filter", "filter: nan is not a value"),
        ({"accuracy": RecallTarget(0.0)}, "recall", "recall is 0.0"),
        ({"accuracy": RecallTarget(float("nan"))}, "recall", "recall is nan"),
        ({"accuracy": RecallTarget(1.1)}, "recall", "at most 1"),
        ({"accuracy": Breadth(ef=0)}, "params", "ef is 0"),
        ({"accuracy": Breadth(nprobe=65_537)}, "params", "nprobe is 65537, it must be from 1 to 65536"),
        ({"accuracy": Breadth()}, "params", "either ef or nprobe"),
        ({"accuracy": Breadth(ef=1, nprobe=1)}, "params", "either ef or nprobe"),
        ({"radius": float("nan")}, "radius", "radius is nan"),
        ({"radius": float("-inf")}, "radius", "radius is -inf"),
    ],
)
def test_bad_searches_are_refused_at_the_door(options: dict[str, object], field: str, text: str) -> None:
    cluster = loaded([1])
    with pytest.raises(InvalidArgument, match=text) as caught:
        search(cluster, **options)
    assert caught.value.details.field == field
    assert not any(worker.calls for worker in cluster.workers.values())


def test_hits_are_bounded_over_all_groups() -> None:
    cluster = loaded([1], limits=Limits(batch_hits=10))
    halves = [np.array([0]), np.array([1])]
    search(cluster, groups=tuple(QueryGroup(k=k, queries=half) for k, half in zip((7, 3), halves, strict=True)))
    with pytest.raises(InvalidArgument, match="2 queries ask for 11 hits, at most 10") as caught:
        search(cluster, groups=tuple(QueryGroup(k=k, queries=half) for k, half in zip((7, 4), halves, strict=True)))
    assert caught.value.details.limit == "batch_hits"


@pytest.mark.parametrize("question", [Count, Scroll])
def test_a_filter_beyond_a_bound_is_refused_at_the_door(question: type[Count | Scroll]) -> None:
    cluster = loaded([1])
    reads, asked = cluster.router.reads, question(collection="a", filter=In(("",), (1,)))
    with pytest.raises(InvalidArgument, match="empty key"):
        asyncio.run(reads.count(asked, 5.0) if isinstance(asked, Count) else reads.scroll(asked, 5.0))
    assert not any(worker.calls for worker in cluster.workers.values())


def test_a_dropped_collection_is_not_found_while_a_search_waits() -> None:
    cluster = loaded([1, 2, 3])
    cluster.workers["w1"].before = [Unavailable("no replica")]

    def drop() -> None:
        cluster.change(collections={}, shards={})

    cluster.view.events = [drop]
    with pytest.raises(NotFound, match="'a' was dropped"):
        search(cluster)


@settings(max_examples=40, deadline=None)
@given(
    ids=st.lists(point_ids, min_size=1, max_size=20, unique=True),
    extra=st.lists(point_ids, max_size=5),
    seed=st.randoms(),
    shards=st.integers(1, 4),
)
def test_get_returns_what_exists_in_the_order_asked_for(ids: list[PointId], extra: list[PointId], seed: object, shards: int) -> None:
    cluster = loaded(ids, shards=shards)
    asked = ids + extra + ids[:2]
    seed.shuffle(asked)
    points = columns(ids)
    row = {value: at for at, value in enumerate(ids)}
    got = asyncio.run(cluster.router.reads.get(Get(collection="a", ids=id_array(asked), with_vectors=True), 5.0))
    found = got.points
    assert got.answered == len(asked)
    expected = [value for value in asked if value in row]
    assert found.ids.tolist() == expected
    assert np.array_equal(found.vectors, points.vectors[[row[value] for value in expected]])
    assert list(found.payloads) == [points.payloads[row[value]] for value in expected]


@settings(max_examples=40, deadline=None)
@given(
    ids=st.lists(point_ids, min_size=1, max_size=30, unique=True),
    extra=st.lists(point_ids, max_size=5),
    seed=st.randoms(),
    shards=st.integers(1, 4),
    message_bytes=st.integers(1, 600),
    with_vectors=st.booleans(),
)
def test_get_in_parts_passes_every_point_once_in_the_order_asked_for(
    ids: list[PointId], extra: list[PointId], seed: object, shards: int, message_bytes: int, with_vectors: bool
) -> None:
    cluster = loaded(ids, shards=shards, limits=Limits(message_bytes=message_bytes))
    asked = ids + extra + ids[:2]
    seed.shuffle(asked)
    seen, start = [], 0
    while start < len(asked):
        question = Get(collection="a", ids=id_array(asked[start:]), with_vectors=with_vectors, in_parts=True)
        got = asyncio.run(cluster.router.reads.get(question, 5.0))
        assert got.answered > 0
        here = [value for value in asked[start : start + got.answered] if value in ids]
        assert got.points.ids.tolist() == here
        assert len(here) <= 1 or sum(16 * with_vectors + 24 for _ in here) <= message_bytes
        seen, start = seen + here, start + got.answered
    assert (seen, start) == ([value for value in asked if value in ids], len(asked))


def test_a_get_too_large_for_a_worker_is_asked_for_in_smaller_ones_and_one_that_is_busy_is_not() -> None:
    cluster = loaded(list(range(30)), shards=1)
    question = Get(collection="a", ids=id_array(range(30)), in_parts=True)
    cluster.workers["w0"].before = [ResourceExhausted("too large")]
    got = asyncio.run(cluster.router.reads.get(question, 5.0))
    assert [len(call.ids) for call in cluster.workers["w0"].calls] == [30, 3]
    assert (got.points.ids.tolist(), got.answered) == ([0, 1, 2], 3)
    cluster.workers["w0"].calls.clear()
    cluster.workers["w0"].before = [ResourceExhausted("busy", ErrorDetails(retry_after_s=0.1))]
    with pytest.raises(ResourceExhausted, match="busy"):
        asyncio.run(cluster.router.reads.get(question, 5.0))
    assert len(cluster.workers["w0"].calls) == 1


def test_get_asks_only_the_shards_that_own_the_ids() -> None:
    cluster = loaded(list(range(50)), shards=2)
    asyncio.run(cluster.router.reads.get(Get(collection="a", ids=id_array([7, 7])), 5.0))
    calls = [call for worker in cluster.workers.values() for call in worker.calls]
    assert [call.ids.tolist() for call in calls] == [[7]]


def test_get_that_is_too_large_says_what_to_do() -> None:
    cluster = loaded([1, 2, 3], limits=Limits(message_bytes=20))
    question = Get(collection="a", ids=id_array([1, 2, 3]), with_vectors=True, in_parts=False)
    with pytest.raises(ResourceExhausted, match="fewer ids"):
        asyncio.run(cluster.router.reads.get(question, 5.0))


@pytest.mark.parametrize("ids", [[], ["x" * 513], [""]])
def test_get_refuses_what_is_no_list_of_ids(ids: list[PointId]) -> None:
    with pytest.raises(InvalidArgument, match="ids"):
        asyncio.run(loaded([1]).router.reads.get(Get(collection="a", ids=id_array(ids)), 5.0))


def test_count_is_the_sum() -> None:
    cluster = loaded([*range(40), "x", "y"])
    assert asyncio.run(cluster.router.reads.count(Count(collection="a"), 5.0)) == 42


@settings(max_examples=40, deadline=None)
@given(
    ids=st.lists(point_ids, min_size=1, max_size=30, unique=True),
    shards=st.integers(1, 4),
    limit=st.integers(1, 12),
    message_bytes=st.integers(1, 600),
)
def test_scroll_passes_every_point_once_in_order(ids: list[PointId], shards: int, limit: int, message_bytes: int) -> None:
    cluster = loaded(ids, shards=shards, limits=Limits(message_bytes=message_bytes))
    seen: list[PointId] = []
    after, more = None, True
    while more:
        question = Scroll(collection="a", after=after, limit=limit)
        page = asyncio.run(cluster.router.reads.scroll(question, 5.0))
        assert len(page.points) <= limit
        assert len(page.points) or not page.more
        seen += page.points.ids.tolist()
        after, more = (seen[-1] if seen else None), page.more
    assert seen == sorted(ids, key=id_order)


def test_a_full_last_page_may_promise_more_but_a_short_one_does_not() -> None:
    cluster = loaded([1, 2, 3, 4], shards=2)
    page = asyncio.run(cluster.router.reads.scroll(Scroll(collection="a", limit=10), 5.0))
    assert (page.points.ids.tolist(), page.more) == ([1, 2, 3, 4], False)
    page = asyncio.run(cluster.router.reads.scroll(Scroll(collection="a", limit=3), 5.0))
    assert (page.points.ids.tolist(), page.more) == ([1, 2, 3], True)


def test_scroll_asks_for_a_thousand_unless_told_otherwise() -> None:
    cluster = loaded([1])
    asyncio.run(cluster.router.reads.scroll(Scroll(collection="a"), 5.0))
    assert {call.limit for worker in cluster.workers.values() for call in worker.calls} == {1_000}
    with pytest.raises(InvalidArgument, match="limit is 10001"):
        asyncio.run(cluster.router.reads.scroll(Scroll(collection="a", limit=10_001), 5.0))


def test_a_page_too_large_for_a_worker_is_asked_for_in_smaller_ones() -> None:
    cluster = loaded(list(range(30)), shards=1)
    cluster.workers["w0"].before = [ResourceExhausted("too large"), ResourceExhausted("too large")]
    page = asyncio.run(cluster.router.reads.scroll(Scroll(collection="a", limit=200), 5.0))
    assert [call.limit for call in cluster.workers["w0"].calls] == [200, 25, 3]
    assert (page.points.ids.tolist(), page.more) == ([0, 1, 2], True)


def test_one_point_that_is_too_large_is_an_error() -> None:
    cluster = loaded([1], shards=1)
    cluster.workers["w0"].before = [ResourceExhausted("too large")] * 9
    with pytest.raises(ResourceExhausted):
        asyncio.run(cluster.router.reads.scroll(Scroll(collection="a", limit=64), 5.0))
    assert [call.limit for call in cluster.workers["w0"].calls] == [64, 8, 1]
