from __future__ import annotations

import asyncio
import dataclasses
import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from shoal.core.collection import CollectionState
from shoal.core.errors import DeadlineExceeded, Internal, InvalidArgument, NotFound, ResourceExhausted, ShoalError, Unavailable
from shoal.core.filter import And, Filter, HasId, In, Not, Or
from shoal.core.filter_truth import matches
from shoal.core.ids import RequestId, Revision
from shoal.core.limits import Limits
from shoal.core.metric import Metric
from shoal.core.points import PointColumns, PointId, id_array
from shoal.core.replies import Written
from shoal.core.requests import Delete, DeleteMatching, Upsert
from shoal.core.shard_calls import ShardWrite, WriteAck
from shoal.router.logic.checks import is_empty
from shoal.wire.point_bytes import points_from_bytes, points_to_bytes
from tests.support.examples.filters import filters, payloads
from tests.support.json_parses import counted_parses
from tests.twins.cluster import TwinCluster

ME = RequestId("me", 7)
EVEN, ODD = list(range(0, 60)), list(range(60, 120))


def columns(ids: list[PointId], dim: int = 4, payloads: tuple[bytes | None, ...] | None = None) -> PointColumns:
    return PointColumns(ids=id_array(ids), vectors=np.ones((len(ids), dim), dtype=np.float32), payloads=payloads)


def upsert(cluster: TwinCluster, points: PointColumns, timeout_s: float = 10.0, request_id: RequestId | None = ME) -> Written:
    return asyncio.run(cluster.router.writes.upsert(Upsert(collection="a", points=points, request_id=request_id), timeout_s))


def seqs(written: Written) -> dict[int, int]:
    """Return the seq that the write got in each shard."""
    return {token.shard: token.seq for token in written.tokens}


def delete(cluster: TwinCluster, ids: list[PointId]) -> Written:
    return asyncio.run(cluster.router.writes.delete(Delete(collection="a", ids=id_array(ids), request_id=ME), 10.0))


def two_shards(limits: Limits | None = None, metric: Metric = Metric.L2) -> TwinCluster:
    cluster = TwinCluster(limits=limits)
    cluster.add("a", metric=metric)
    return cluster


def delete_matching(cluster: TwinCluster, filter: Filter, timeout_s: float = 10.0) -> Written:
    order = DeleteMatching(collection="a", filter=filter, request_id=ME)
    return asyncio.run(cluster.router.writes.delete_matching(order, timeout_s))


def labelled(ids: list[PointId], shards: int = 2) -> TwinCluster:
    """Return a cluster with these points: every second one has label 1, the others label 0. One delete by filter
    removes at most two points of a shard.
    """
    cluster = TwinCluster()
    cluster.add("a", shards=shards)
    upsert(cluster, columns(ids, payloads=tuple(b'{"label":%d}' % (at % 2) for at in range(len(ids)))), request_id=None)
    for worker in cluster.workers.values():
        worker.calls.clear()
        worker.deleted_at_once = 2
    return cluster


LABEL_1 = In(("label",), (1,))


@settings(max_examples=30, deadline=None)
@given(points=st.dictionaries(st.integers(), payloads, min_size=1, max_size=15), filter=filters(), at_once=st.integers(1, 4))
def test_delete_by_filter_agrees_with_a_dict(points: dict[int, object], filter: Filter, at_once: int) -> None:
    assume(not is_empty(filter))
    cluster = TwinCluster()
    cluster.add("a", shards=3)
    kept = {point_id % 2**63: payload for point_id, payload in points.items()}
    upsert(cluster, columns(list(kept), payloads=tuple(json.dumps(payload or {}).encode() for payload in kept.values())))
    for worker in cluster.workers.values():
        worker.deleted_at_once = at_once
    gone = {point_id for point_id, payload in kept.items() if matches(filter, payload, point_id)}
    written = asyncio.run(cluster.router.writes.delete_matching(DeleteMatching(collection="a", filter=filter), 10.0))
    assert written.affected == len(gone)
    assert set(cluster.points()) == set(kept) - gone
    assert set(seqs(written)) == {0, 1, 2}


def test_each_call_of_a_delete_by_filter_has_an_id_of_its_own_and_the_first_is_the_clients() -> None:
    cluster = labelled(list(range(12)), shards=1)
    written = delete_matching(cluster, LABEL_1)
    calls = cluster.workers["w0"].calls
    assert [call.request_id for call in calls] == [ME, RequestId("router-1", 2), RequestId("router-1", 3)]
    assert (written.affected, seqs(written)) == (6, {0: 5})
    assert set(cluster.points()) == set(range(0, 12, 2))


def test_a_call_of_a_delete_by_filter_that_is_tried_again_keeps_its_id() -> None:
    cluster = labelled(list(range(12)), shards=1)
    cluster.workers["w0"].after = [None, Unavailable("connection lost")]
    assert delete_matching(cluster, LABEL_1).affected == 6
    ids = [call.request_id.number for call in cluster.workers["w0"].calls]
    assert ids == [7, 2, 2, 3]


def test_a_delete_by_filter_that_ends_half_way_says_that_a_part_may_be_gone() -> None:
    cluster = labelled(EVEN)
    cluster.workers["w1"].before = [None, InvalidArgument("refused")]
    with pytest.raises(InvalidArgument, match="a/1: refused") as caught:
        delete_matching(cluster, LABEL_1)
    assert caught.value.details.applied == {"a/0": "yes", "a/1": "maybe"}


def test_a_delete_by_filter_that_was_refused_at_once_was_not_applied() -> None:
    cluster = labelled(EVEN)
    cluster.workers["w1"].before = [InvalidArgument("refused")]
    with pytest.raises(InvalidArgument) as caught:
        delete_matching(cluster, LABEL_1)
    assert caught.value.details.applied == {"a/0": "yes", "a/1": "no"}


def test_a_delete_by_filter_ends_with_its_time() -> None:
    cluster = labelled(list(range(12)), shards=1)
    worker = cluster.workers["w0"]
    write = worker.write

    async def slow(call: ShardWrite, timeout_s: float) -> WriteAck:
        cluster.clock.now += 4.0
        return await write(call, timeout_s)

    worker.write = slow  # type: ignore[method-assign]
    with pytest.raises(DeadlineExceeded) as caught:
        delete_matching(cluster, LABEL_1, timeout_s=7.0)
    assert caught.value.details.applied == {"a/0": "maybe"}
    assert (worker.timeouts[-2:], len(cluster.points())) == ([7.0, 3.0], 8)


@pytest.mark.parametrize(
    ("filter", "text"),
    [
        (And(()), r"would delete every point.*drop the collection"),
        (And((And(()), And(()))), "would delete every point"),
        (Or((And(()),)), "would delete every point"),
        (Or((LABEL_1, And(()))), "would delete every point"),
        (Not(HasId(())), "would delete every point"),
        (Not(In(("a",), ())), "would delete every point"),
        (In(("a",), (float("nan"),)), "nan is not a value"),
    ],
)
def test_a_filter_by_which_nothing_may_be_deleted_is_refused(filter: Filter, text: str) -> None:
    cluster = labelled([1, 2])
    with pytest.raises(InvalidArgument, match=text) as caught:
        delete_matching(cluster, filter)
    assert caught.value.details.field == "filter"
    assert len(cluster.points()) == 2


@settings(max_examples=30, deadline=None)
@given(
    ids=st.lists(st.one_of(st.integers(-(2**63), 2**63 - 1), st.text(min_size=1, max_size=5)), min_size=1, max_size=30, unique=True),
    shards=st.integers(1, 5),
    gone=st.integers(0, 30),
)
def test_upsert_and_delete_agree_with_a_dict(ids: list[PointId], shards: int, gone: int) -> None:
    cluster = TwinCluster(workers=3)
    cluster.add("a", shards=shards)
    written = upsert(cluster, columns(ids, payloads=tuple(b'{"n":%d}' % at for at in range(len(ids)))))
    assert written.affected == len(ids)
    assert {key: payload for key, (_, payload) in cluster.points().items()} == {value: b'{"n":%d}' % at for at, value in enumerate(ids)}
    removed = asyncio.run(cluster.router.writes.delete(Delete(collection="a", ids=id_array(ids[:gone] * 2 + ["not there"])), 10.0))
    assert removed.affected == min(gone, len(ids))
    assert set(cluster.points()) == set(ids[gone:])


def test_the_answer_holds_the_seq_of_every_shard_written_and_the_id_is_the_clients() -> None:
    cluster = two_shards()
    written = upsert(cluster, columns(EVEN))
    assert {token.collection_id for token in written.tokens} == {"id-a"}
    assert seqs(written) == {0: 2, 1: 2}
    calls = [call for worker in cluster.workers.values() for call in worker.calls]
    assert {call.request_id for call in calls} == {ME}


def test_a_write_without_a_request_id_gets_one_and_the_next_another() -> None:
    cluster = two_shards()
    for _ in range(2):
        upsert(cluster, columns([1]), request_id=None)
    made = [call.request_id for worker in cluster.workers.values() for call in worker.calls]
    assert made == [RequestId("router-1", 1), RequestId("router-1", 2)]


def test_retries_carry_the_same_id_and_apply_once() -> None:
    cluster = two_shards()
    worker = cluster.workers["w1"]
    worker.before, worker.after = [None, Unavailable("not primary")], [Unavailable("connection lost")]
    cluster.view.events = [lambda: None, lambda: _raise_epochs(cluster)]
    written = upsert(cluster, columns(EVEN))
    assert seqs(written) == {0: 2, 1: 2}
    assert len(worker.calls) == 3
    assert {call.request_id for call in worker.calls} == {ME}


def _raise_epochs(cluster: TwinCluster) -> None:
    shards = {shard: dataclasses.replace(entry, epoch=Revision(10)) for shard, entry in cluster.view.current.shards.items()}
    cluster.change(shards=shards)


def test_a_write_is_tried_again_until_its_deadline_far_longer_than_a_read() -> None:
    cluster = two_shards()
    cluster.remove_worker("w1")
    with pytest.raises(Unavailable, match="a/1"):
        upsert(cluster, columns(EVEN), timeout_s=60.0)
    assert 59.9 < cluster.clock.now - 100 <= 60.0
    assert max(cluster.view.waits) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("before", "after", "applied"),
    [
        (InvalidArgument("refused"), None, "no"),
        (ResourceExhausted("full"), None, "no"),
        (DeadlineExceeded("slow"), None, "maybe"),
        (None, Internal("broke"), "maybe"),
    ],
)
def test_a_partial_failure_says_for_each_shard_whether_it_was_applied(
    before: ShoalError | None, after: ShoalError | None, applied: str
) -> None:
    cluster = two_shards()
    cluster.workers["w1"].before, cluster.workers["w1"].after = [before], [after]
    with pytest.raises(type(before or after)) as caught:
        upsert(cluster, columns(EVEN))
    assert caught.value.details.applied == {"a/0": "yes", "a/1": applied}
    assert caught.value.details.shard == "a/1"
    assert "1 yes" in caught.value.message


def test_a_shard_that_was_never_asked_is_not_applied() -> None:
    cluster = two_shards()
    cluster.remove_worker("w1")
    with pytest.raises(Unavailable) as caught:
        upsert(cluster, columns(EVEN), timeout_s=1.0)
    assert caught.value.details.applied == {"a/0": "yes", "a/1": "no"}


def test_what_an_earlier_attempt_left_open_stays_open() -> None:
    cluster = two_shards()
    cluster.workers["w1"].after = [Unavailable("connection lost")]
    cluster.view.events = [lambda: cluster.remove_worker("w1")]
    with pytest.raises(Unavailable) as caught:
        upsert(cluster, columns(EVEN), timeout_s=1.0)
    assert caught.value.details.applied == {"a/0": "yes", "a/1": "maybe"}


def test_the_worst_error_is_the_one_that_waiting_does_not_cure() -> None:
    cluster = two_shards()
    cluster.workers["w0"].before = [DeadlineExceeded("slow")]
    cluster.workers["w1"].before = [ResourceExhausted("disk full")]
    with pytest.raises(ResourceExhausted, match="disk full") as caught:
        upsert(cluster, columns(EVEN))
    assert caught.value.details.applied == {"a/0": "maybe", "a/1": "no"}


def test_a_collection_dropped_meanwhile_is_not_found() -> None:
    cluster = two_shards()
    collection = cluster.view.current.by_name["a"]
    cluster.workers["w1"].before = [Unavailable("no replica")]
    cluster.view.events = [lambda: cluster.set_state(collection, CollectionState.DROPPING)]
    with pytest.raises(NotFound, match="dropped"):
        upsert(cluster, columns(EVEN))


@pytest.mark.parametrize(
    ("points", "index", "text"),
    [
        (columns([]), None, "empty"),
        (columns([1, 2], dim=5), 0, "dimension 5"),
        (columns([1, 2, 1]), 2, r"ids\[2\]: 1 is given twice"),
        (columns(["a", "b", "x" * 513]), 2, r"ids\[2\] has 513 bytes"),
        (columns([1, 2], payloads=(None, b"[1]")), 1, r"payloads\[1\] is not a JSON object"),
        (columns([1, 2], payloads=(None, b'{"a":NaN}')), 1, r"payloads\[1\].a is nan"),
        (columns([1, 2], payloads=(None, b'{"a":1e400}')), 1, r"payloads\[1\].a is inf"),
        (columns([1, 2], payloads=(None, b'{"a":"\\ud800"}')), 1, r"payloads\[1\].a is not valid Unicode"),
        (columns([1, 2], payloads=(None, b'{"a":{"b":1,"b":2}}')), 1, r"payloads\[1\].a gives the key 'b' twice"),
        (columns([1, 2], payloads=(None, b'{"a":' * 101 + b"1" + b"}" * 101)), 1, r"payloads\[1\].a.a.* deeper than the 100 levels"),
        (columns([1, 2], payloads=(b"{}", b'{"a":"' + b"x" * 1_048_576 + b'"}')), 1, r"payloads\[1\] has 1048584 bytes"),
        (columns(list(range(16_385))), None, "16385 points"),
    ],
)
def test_one_bad_point_refuses_the_whole_batch(points: PointColumns, index: int | None, text: str) -> None:
    cluster = two_shards()
    with pytest.raises(InvalidArgument, match=text) as caught:
        upsert(cluster, points)
    assert caught.value.details.index == index
    assert cluster.points() == {}


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("metric", list(Metric))
def test_a_number_that_is_none_is_refused_by_index(bad: float, metric: Metric) -> None:
    points = columns([1, 2, 3])
    points.vectors[2, 1] = bad
    with pytest.raises(InvalidArgument, match=r"vectors\[2\]"):
        upsert(two_shards(metric=metric), points)


@pytest.mark.parametrize("value", [3e38, 1e30, 1e-30, 1e-45])
@pytest.mark.parametrize("metric", list(Metric))
def test_extreme_but_finite_vectors_are_taken(value: float, metric: Metric) -> None:
    points = PointColumns(ids=id_array([1]), vectors=np.full((1, 4), value, dtype=np.float32), payloads=None)
    assert upsert(two_shards(metric=metric), points).affected == 1


def test_a_zero_vector_is_refused_under_cosine_only() -> None:
    points = columns([1, 2])
    points.vectors[1] = 0
    assert upsert(two_shards(), points).affected == 2
    with pytest.raises(InvalidArgument, match=r"vectors\[1\] is zero"):
        upsert(two_shards(metric=Metric.COSINE), points)


@pytest.mark.parametrize("ids", [[], ["x" * 513]])
def test_bad_deletes_are_refused(ids: list[PointId]) -> None:
    with pytest.raises(InvalidArgument, match="ids"):
        delete(two_shards(), ids)


def test_an_id_to_delete_is_sent_once_however_often_it_is_given() -> None:
    cluster = two_shards()
    delete(cluster, [5, "5", 5, "5", 5])
    sent = [each for worker in cluster.workers.values() for call in worker.calls for each in call.ids.tolist()]
    assert sorted(sent, key=str) == [5, "5"]


def test_an_upsert_parses_each_payload_once_in_the_router(monkeypatch: pytest.MonkeyPatch) -> None:
    for shards in (1, 3):
        cluster = TwinCluster()
        cluster.add("a", shards=shards)
        texts = tuple(b'{"n":%d}' % number for number in range(1_000))
        points = columns(list(range(1_000)), payloads=texts)
        parsed = counted_parses(monkeypatch)
        asyncio.run(cluster.router.writes.upsert(Upsert(collection="a", points=points), 10.0))
        assert parsed == Counter(text.decode() for text in texts)
        monkeypatch.undo()


def test_one_shard_is_sent_the_bytes_that_came_and_several_their_parts() -> None:
    for shards in (1, 3):
        cluster = TwinCluster()
        cluster.add("a", shards=shards)
        points = points_from_bytes(points_to_bytes(columns(list(range(50)))))
        asyncio.run(cluster.router.writes.upsert(Upsert(collection="a", points=points), 10.0))
        sent = [call.points for worker in cluster.workers.values() for call in worker.calls]
        assert len(sent) == shards
        assert [each.encoded is points.encoded for each in sent] == [shards == 1] * shards
        assert sorted(value for each in sent for value in points_from_bytes(points_to_bytes(each)).ids.tolist()) == list(range(50))
