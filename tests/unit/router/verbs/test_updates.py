"""Test updates of points in the router: their checks, their split into writes of shards, and their failures."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from shoal.core.errors import DeadlineExceeded, ErrorDetails, InvalidArgument, ShoalError, Unavailable
from shoal.core.filter import And, Filter, HasId, In, Not, Or
from shoal.core.filter_truth import matches
from shoal.core.ids import RequestId
from shoal.core.limits import Limits
from shoal.core.metric import Metric
from shoal.core.point_change import DeletePayload, PointChange, ReplacePayload, SetPayload, UpdateVectors
from shoal.core.points import PointColumns, PointId, id_array
from shoal.core.replies import Written
from shoal.core.requests import Update, Upsert
from shoal.core.shard_calls import Consistency, ShardScroll, ShardUpdate, ShardWrite, WriteAck
from shoal.router.logic.checks import is_empty
from shoal.router.verbs import updates
from tests.support.examples.filters import filters, payloads
from tests.twins.cluster import TwinCluster
from tests.twins.point_changes import payload_after

ME = RequestId("me", 7)
LABEL_1 = In(("label",), (1,))
MARKED = SetPayload(b'{"marked":true}')


def filled(ids: list[PointId], shards: int = 2, metric: Metric = Metric.L2) -> TwinCluster:
    """Return a cluster with these points: every second one has label 1, the others label 0."""
    cluster = TwinCluster()
    cluster.add("a", shards=shards, metric=metric)
    texts = tuple(b'{"label":%d}' % (at % 2) for at in range(len(ids)))
    points = PointColumns(ids=id_array(ids), vectors=np.ones((len(ids), 4), dtype=np.float32), payloads=texts)
    asyncio.run(cluster.router.writes.upsert(Upsert(collection="a", points=points), 10.0))
    for worker in cluster.workers.values():
        worker.calls.clear()
    return cluster


def update(
    cluster: TwinCluster,
    change: PointChange,
    ids: list[PointId] | None = None,
    filter: Filter | None = None,
    timeout_s: float = 10.0,
    request_id: RequestId | None = ME,
) -> Written:
    named = None if ids is None else id_array(ids)
    order = Update(collection="a", change=change, ids=named, filter=filter, request_id=request_id)
    return asyncio.run(cluster.router.updates.update(order, timeout_s))


def held(cluster: TwinCluster) -> dict[PointId, Any]:
    """Return the payload of each point."""
    return {key: json.loads(text) for key, (_, text) in cluster.points().items() if text is not None}


def sent(cluster: TwinCluster) -> list[ShardUpdate]:
    return [call for worker in cluster.workers.values() for call in worker.calls if isinstance(call, ShardUpdate)]


def test_ids_go_to_their_shards_once_each_with_the_callers_request_id() -> None:
    cluster = filled([1, "x", 3, "1", 2])
    written = update(cluster, MARKED, [1, "1", 1, "x", 99])
    assert written.affected == 3
    assert {token.shard for token in written.tokens} == {call.shard.number for call in sent(cluster)}
    assert {call.request_id for call in sent(cluster)} == {ME}
    assert sorted((each for call in sent(cluster) for each in call.ids.tolist()), key=str) == [1, "1", 99, "x"]
    assert [key for key, payload in held(cluster).items() if "marked" in payload] == [
        key for key in cluster.points() if key in (1, "1", "x")
    ]


def test_an_update_without_a_request_id_gets_one_that_no_write_had() -> None:
    cluster = filled([1])
    update(cluster, MARKED, [1], request_id=None)
    assert [call.request_id for call in sent(cluster)] == [RequestId("router-1", 2)]


def test_an_update_by_ids_that_is_tried_again_keeps_its_id_and_is_applied_once() -> None:
    cluster = filled([1], shards=1)
    cluster.workers["w0"].after = [Unavailable("connection lost")]
    assert update(cluster, MARKED, [1]).affected == 1
    assert [call.request_id for call in sent(cluster)] == [ME, ME]
    assert {token.seq for token in update(cluster, MARKED, [1]).tokens} == {3}


def test_a_filter_beside_ids_restricts_them() -> None:
    cluster = filled(list(range(20)))
    assert update(cluster, MARKED, [0, 1, 2, 3], LABEL_1).affected == 2
    assert sorted(key for key, payload in held(cluster).items() if "marked" in payload) == [1, 3]
    assert {call.filter for call in sent(cluster)} == {LABEL_1}


def test_each_vector_goes_with_its_id() -> None:
    cluster = filled(list(range(20)))
    vectors = np.arange(80, dtype=np.float32).reshape(20, 4)
    order = list(reversed(range(20)))
    assert update(cluster, UpdateVectors(vectors), order).affected == 20
    assert {key: row.tolist() for key, (row, _) in cluster.points().items()} == {
        each: vectors[at].tolist() for at, each in enumerate(order)
    }
    assert {row["label"] for row in held(cluster).values()} == {0, 1}


@settings(max_examples=40, deadline=None)
@given(
    points=st.dictionaries(st.integers(0, 2**63 - 1), payloads, min_size=1, max_size=15),
    filter=filters(),
    change=st.sampled_from([MARKED, ReplacePayload(b'{"n":1}'), DeletePayload((("a",), ("b", "c")))]),
    page=st.integers(1, 4),
    named=st.none() | st.lists(st.integers(0, 20), min_size=1),
)
def test_updates_agree_with_a_dict(points: dict[int, Any], filter: Filter, change: Any, page: int, named: list[int] | None) -> None:
    assume(not is_empty(filter))
    cluster = TwinCluster()
    cluster.add("a", shards=3)
    before = {key: json.dumps(payload or {}).encode() for key, payload in points.items()}
    columns = PointColumns(ids=id_array(list(before)), vectors=np.ones((len(before), 4), np.float32), payloads=tuple(before.values()))
    asyncio.run(cluster.router.writes.upsert(Upsert(collection="a", points=columns), 10.0))
    ids = None if named is None else [list(before)[at % len(before)] for at in named]
    chosen = {key for key in (before if ids is None else ids) if matches(filter, json.loads(before[key]), key)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(updates, "PAGE_IDS", page)
        assert update(cluster, change, ids, filter).affected == len(chosen)
    after = {key: payload_after(text, change) if key in chosen else text for key, text in before.items()}
    assert {key: text for key, (_, text) in cluster.points().items()} == after


def test_a_filter_alone_is_paged_at_the_primary_and_each_page_has_an_id_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(updates, "PAGE_IDS", 2)
    cluster = filled(list(range(12)), shards=1)
    written = update(cluster, MARKED, filter=LABEL_1)
    assert [(call.request_id, call.ids.tolist(), call.filter) for call in sent(cluster)] == [
        (RequestId("router-1", 2), [1, 3], LABEL_1),
        (RequestId("router-1", 3), [5, 7], LABEL_1),
        (RequestId("router-1", 4), [9, 11], LABEL_1),
    ]
    scrolls = [call for call in cluster.workers["w0"].calls if isinstance(call, ShardScroll)]
    assert [(call.after, call.limit, call.terms.consistency, call.with_payload) for call in scrolls] == [
        (after, 2, Consistency.PRIMARY, False) for after in (None, 3, 7, 11)
    ]
    assert (written.affected, [token.seq for token in written.tokens]) == (6, [5])


def test_a_point_that_stops_to_match_before_its_page_is_written_stays_as_it_is() -> None:
    cluster = filled(list(range(4)), shards=1)
    worker = cluster.workers["w0"]
    write = worker.write

    async def later(call: ShardWrite, timeout_s: float) -> WriteAck:
        (shard,) = worker.shards.values()
        shard.points[1] = (shard.points[1][0], b'{"label":0}')
        return await write(call, timeout_s)

    worker.write = later  # type: ignore[method-assign]
    assert update(cluster, MARKED, filter=LABEL_1).affected == 1
    assert held(cluster)[1] == {"label": 0}


def test_a_filter_that_matches_nothing_writes_nothing() -> None:
    cluster = filled(list(range(4)))
    assert update(cluster, MARKED, filter=In(("label",), (9,))) == Written(tokens=(), affected=0)
    assert sent(cluster) == []


@pytest.mark.parametrize("limit", ["update_bytes", "update_time"])
def test_a_page_that_is_too_much_for_one_write_is_halved(limit: str) -> None:
    cluster = filled(list(range(16)), shards=1)
    worker, most = cluster.workers["w0"], 3
    write = worker.write

    async def bounded(call: ShardWrite, timeout_s: float) -> WriteAck:
        assert isinstance(call, ShardUpdate)
        if len(call.ids) > most:
            raise InvalidArgument("too much", ErrorDetails(field="ids", limit=limit))
        return await write(call, timeout_s)

    worker.write = bounded  # type: ignore[method-assign]
    assert update(cluster, MARKED, filter=LABEL_1).affected == 8
    assert [len(call.ids) for call in sent(cluster)] == [2, 2, 2, 2]
    most = 0
    with pytest.raises(InvalidArgument, match="too much") as caught:
        update(cluster, MARKED, filter=LABEL_1)
    assert caught.value.details.applied == {"a/0": "no"}


@pytest.mark.parametrize(
    ("before", "applied"), [([None, None, None, InvalidArgument("refused")], "maybe"), ([None, InvalidArgument("refused")], "no")]
)
def test_an_update_by_a_filter_that_ends_half_way_says_that_a_part_may_be_changed(
    monkeypatch: pytest.MonkeyPatch, before: list[ShoalError | None], applied: str
) -> None:
    monkeypatch.setattr(updates, "PAGE_IDS", 2)
    cluster = filled(list(range(60)))
    cluster.workers["w1"].before = before
    with pytest.raises(InvalidArgument, match="a/1: refused") as caught:
        update(cluster, MARKED, filter=LABEL_1)
    assert caught.value.details.applied == {"a/0": "yes", "a/1": applied}


def test_a_page_that_could_not_be_read_changed_nothing() -> None:
    cluster = filled(list(range(60)))
    cluster.workers["w1"].before = [DeadlineExceeded("slow")]
    with pytest.raises(DeadlineExceeded) as caught:
        update(cluster, MARKED, filter=LABEL_1)
    assert caught.value.details.applied == {"a/0": "yes", "a/1": "no"}


def test_an_update_by_a_filter_ends_with_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(updates, "PAGE_IDS", 2)
    cluster = filled(list(range(12)), shards=1)
    worker = cluster.workers["w0"]
    write = worker.write

    async def slow(call: ShardWrite, timeout_s: float) -> WriteAck:
        cluster.clock.now += 4.0
        return await write(call, timeout_s)

    worker.write = slow  # type: ignore[method-assign]
    with pytest.raises(DeadlineExceeded) as caught:
        update(cluster, MARKED, filter=LABEL_1, timeout_s=7.0)
    assert caught.value.details.applied == {"a/0": "maybe"}
    assert sum("marked" in payload for payload in held(cluster).values()) == 4


ONE = np.ones((1, 4), dtype=np.float32)


@pytest.mark.parametrize(
    ("change", "ids", "filter", "field", "text"),
    [
        (MARKED, None, None, "ids", "give ids, a filter or both"),
        (MARKED, [], None, "ids", "ids are empty"),
        (MARKED, [], LABEL_1, "ids", "ids are empty"),
        (MARKED, ["x" * 513], None, "ids", r"ids\[0\] has 513 bytes"),
        (MARKED, list(range(16_385)), None, "ids", "16385 ids"),
        (MARKED, None, And(()), "filter", "would change every point"),
        (MARKED, None, Or((LABEL_1, And(()))), "filter", "would change every point"),
        (MARKED, None, Not(HasId(())), "filter", "would change every point"),
        (MARKED, [1], In(("a",), (float("nan"),)), "filter", "nan is not a value"),
        (MARKED, None, In(("a",), (float("nan"),)), "filter", "nan is not a value"),
        (SetPayload(b""), [1], None, "payload", "is not JSON"),
        (SetPayload(b"[1]"), [1], None, "payload", "is not a JSON object"),
        (ReplacePayload(b'{"a":NaN}'), [1], None, "payload", r"payload.a is nan"),
        (ReplacePayload(b'{"a":' * 101 + b"1" + b"}" * 101), [1], None, "payload", "deeper than the 100 levels"),
        (SetPayload(b'{"a":"' + b"x" * 1_048_576 + b'"}'), [1], None, "payload", "payload has 1048584 bytes"),
        (DeletePayload(()), [1], None, "paths", "0 paths are given, 1-1024"),
        (DeletePayload((("a",),) * 1_025), [1], None, "paths", "1025 paths are given"),
        (DeletePayload((("a",), ())), [1], None, "paths", r"paths\[1\] has 0 keys, 1-128"),
        (DeletePayload((("a",) * 129,)), [1], None, "paths", r"paths\[0\] has 129 keys"),
        (UpdateVectors(ONE), None, LABEL_1, "ids", "vectors are given without ids"),
        (UpdateVectors(ONE), [1, 2], None, "vectors", "1 vectors are given for 2 ids"),
        (UpdateVectors(np.ones((2, 4), np.float32)), [1, 1], None, "ids", r"ids\[1\]: 1 is given twice"),
        (UpdateVectors(np.ones((1, 5), np.float32)), [1], None, "vectors", "dimension 5"),
        (UpdateVectors(ONE * np.float32(np.nan)), [1], None, "vectors", r"vectors\[0\]"),
        (UpdateVectors(ONE * 0), [1], None, "vectors", r"vectors\[0\] is zero"),
    ],
)
def test_an_update_that_cannot_be_is_refused_as_a_whole(
    change: PointChange, ids: list[PointId] | None, filter: Filter | None, field: str, text: str
) -> None:
    cluster = filled([1, 2], metric=Metric.COSINE)
    with pytest.raises(InvalidArgument, match=text) as caught:
        update(cluster, change, ids, filter)
    assert caught.value.details.field == field
    assert (sent(cluster), held(cluster)) == ([], {1: {"label": 0}, 2: {"label": 1}})


def test_the_bounds_are_those_of_the_router() -> None:
    cluster = TwinCluster(limits=Limits(payload_bytes=5, filter_conditions=1))
    cluster.add("a")
    for change in (SetPayload(b'{"a":1}'), DeletePayload((("a",), ("b",)))):
        with pytest.raises(InvalidArgument):
            update(cluster, change, [1])
