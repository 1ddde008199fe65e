"""What searches of several legs do when points, shards and workers fail between their steps."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest

from shoal.core.errors import DataLoss, DeadlineExceeded, PreconditionFailed, ResourceExhausted, Unavailable
from shoal.core.filter import Range
from shoal.core.fused_search import DenseLeg, GroupBy, TextLeg
from shoal.core.ids import CollectionId, ShardId
from shoal.core.limits import Limits
from shoal.core.shard_calls import QueryGroup, ShardGet
from shoal.core.text_query import TextAsk
from shoal.router.logic.breaker import Blame, blamed
from tests.support.fused_scene import (
    DIM,
    ask,
    hybrid,
    ids_by_query,
    made_points,
    scene,
)
from tests.twins.cluster import TwinCluster, TwinWorker

POINTS = made_points(40)
QUERIES = np.random.default_rng(5).integers(-3, 4, (2, DIM)).astype(np.float32) + np.float32(0.25)
ASKS = (TextAsk(text="ant bee"), TextAsk(text="cat fox eel", fields=(("body", 1.0), ("title", 2.0))))


def dying(monkeypatch: pytest.MonkeyPatch, ids: list[Any], times: int = 1, kind: str = "get") -> None:
    """Delete points at the moment when they are read, so often."""
    left = dict.fromkeys(ids, times)
    whole = getattr(TwinWorker, kind)

    async def deleted(self: TwinWorker, call: Any, timeout_s: float) -> Any:
        for each in call.ids.tolist():
            if left.get(each):
                left[each] -= 1
                self.shards[call.shard].points.pop(each, None)
        return await whole(self, call, timeout_s)

    monkeypatch.setattr(TwinWorker, kind, deleted)


@pytest.mark.parametrize(
    "options", [{}, {"diversity": 0.3}, {"group_by": GroupBy(path="at")}, {"diversity": 0.3, "group_by": GroupBy(path="at")}]
)
def test_a_hit_that_was_deleted_meanwhile_gives_way_to_the_next(monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]) -> None:
    cluster = scene(POINTS)
    question = hybrid(QUERIES[:1], ASKS[:1], k=5, **options)
    before = ask(cluster, dataclasses.replace(question, groups=(QueryGroup(k=30),))).hits.ids.tolist()
    dead = before[1:3]
    dying(monkeypatch, dead)
    found = ask(cluster, question)
    assert len(found.hits) == 5
    assert not set(dead) & set(found.hits.ids.tolist())
    assert found.complete == (True,)
    if not question.diversity:
        assert found.hits.ids.tolist() == [each for each in before if each not in dead][:5]
    assert all(payload is not None for payload in found.hits.payloads)


@pytest.mark.parametrize("options", [{}, {"diversity": 0.3}])
def test_a_hit_that_was_written_anew_and_does_not_match_any_more_is_left_out(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    cluster = scene(POINTS)
    filters = (QueryGroup(k=5, filter=Range(("at",), lt=30), queries=np.array([0])), QueryGroup(k=5, queries=np.array([1])))
    question = hybrid(QUERIES, ASKS, groups=filters, **options)
    changed = ids_by_query(ask(cluster, question))[0][:2]
    whole = TwinWorker.get

    async def rewritten(self: TwinWorker, call: ShardGet, timeout_s: float) -> Any:
        held = self.shards[call.shard].points
        for each in call.ids.tolist() if call.with_payload else ():
            if each in changed:
                held[each] = (held[each][0], b'{"at": 99}')
        return await whole(self, call, timeout_s)

    monkeypatch.setattr(TwinWorker, "get", rewritten)
    found = ask(cluster, question)
    assert found.hits.counts.tolist() == [5, 5]
    assert not set(changed) & set(ids_by_query(found)[0])
    for payload in found.hits.payloads[:5]:
        assert json.loads(payload)["at"] < 30


def test_a_text_field_that_is_being_built_is_told_of() -> None:
    cluster = scene(POINTS)
    failing(cluster, 1, *[PreconditionFailed("text field 'body' is being built: 1 of 3 segments are done")] * 20)
    with pytest.raises(PreconditionFailed, match="1 of 3"):
        ask(cluster, hybrid(QUERIES, ASKS, legs=(TextLeg(asks=ASKS),), allow_partial=True))


def test_hits_that_are_deleted_again_and_again_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = scene(POINTS)
    dying(monkeypatch, list(POINTS))
    found = ask(cluster, hybrid(QUERIES[:1], ASKS[:1], k=5))
    assert len(found.hits) == 0
    assert found.complete == (False,)


def test_a_highlight_of_a_deleted_hit_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = scene(POINTS)
    question = hybrid(QUERIES[:1], ASKS[:1], k=5, highlight=True)
    first = ask(cluster, question).hits.ids.tolist()[0]
    dying(monkeypatch, [first], kind="text_marks")
    found = ask(cluster, question)
    assert found.hits.ids.tolist()[0] == first
    assert found.highlights[0] == ()


def failing(cluster: TwinCluster, shard: int, *errors: Any) -> None:
    for worker in cluster.workers.values():
        worker.at_shard[ShardId(CollectionId("id-a"), shard)] = list(errors)


def test_a_shard_that_fails_once_is_asked_again() -> None:
    whole = ask(scene(POINTS), hybrid(QUERIES, ASKS))
    for errors in ([Unavailable("not now")], [None, Unavailable("not now")], [None, None, Unavailable("not now")]):
        cluster = scene(POINTS)
        failing(cluster, 1, *errors)
        found = ask(cluster, hybrid(QUERIES, ASKS))
        assert found.hits.ids.tolist() == whole.hits.ids.tolist()
        assert found.missing_shards == ()


def test_a_shard_that_fails_at_its_only_worker_is_asked_again() -> None:
    whole = ask(scene(POINTS), hybrid(QUERIES, ASKS))
    cluster = scene(POINTS, workers=1)
    failing(cluster, 1, None, Unavailable("not now"))
    found = ask(cluster, hybrid(QUERIES, ASKS))
    assert found.hits.ids.tolist() == whole.hits.ids.tolist()
    assert found.legs[1].scores.tobytes() == whole.legs[1].scores.tobytes()


def gone_shard(cluster: TwinCluster, number: int) -> list[Any]:
    """Take a shard away from its worker. Return the ids it held."""
    shard = ShardId(CollectionId("id-a"), number)
    for worker in cluster.workers.values():
        if shard in worker.shards:
            return list(worker.shards.pop(shard).points)
    raise AssertionError("no worker has the shard")


def test_without_a_shard_the_search_fails_and_names_it() -> None:
    cluster = scene(POINTS)
    gone_shard(cluster, 1)
    with pytest.raises(Unavailable, match="a/1"):
        ask(cluster, hybrid(QUERIES, ASKS))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_partial_answer_has_no_hit_of_a_missing_shard(workers: int) -> None:
    cluster = scene(POINTS, workers=workers)
    held = gone_shard(cluster, 1)
    found = ask(cluster, hybrid(QUERIES, ASKS, allow_partial=True))
    assert found.missing_shards == ("a/1",)
    assert len(found.hits)
    assert not set(held) & set(found.hits.ids.tolist())


def test_a_shard_that_one_leg_misses_is_missing() -> None:
    cluster = scene(POINTS)
    shard = ShardId(CollectionId("id-a"), 1)
    held = next(list(worker.shards[shard].points) for worker in cluster.workers.values() if shard in worker.shards)
    # The text leg asks first for counts, then for hits.
    failing(cluster, 1, None, None, *[DataLoss("damaged")] * 50)
    found = ask(cluster, hybrid(QUERIES, ASKS, allow_partial=True, with_payload=False))
    assert found.missing_shards == ("a/1",)
    assert not set(held) & set(found.hits.ids.tolist())


def test_a_shard_that_is_gone_before_payloads_are_read_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = scene(POINTS)
    whole = TwinWorker.get

    async def lost(self: TwinWorker, call: ShardGet, timeout_s: float) -> Any:
        if call.shard.number == 1:
            raise DataLoss("damaged")
        return await whole(self, call, timeout_s)

    monkeypatch.setattr(TwinWorker, "get", lost)
    with pytest.raises(DataLoss, match="a/1"):
        ask(cluster, hybrid(QUERIES, ASKS))
    found = ask(cluster, hybrid(QUERIES, ASKS, allow_partial=True))
    assert found.missing_shards == ("a/1",)
    assert all(payload is not None for payload in found.hits.payloads)
    assert found.hits.counts.tolist() == [5, 5]


def test_a_worker_of_an_older_version_is_told_of() -> None:
    cluster = scene(POINTS)
    for worker in cluster.workers.values():
        worker.older = True
    with pytest.raises(PreconditionFailed, match="older version") as raised:
        ask(cluster, hybrid(QUERIES, ASKS))
    assert blamed(raised.value) is Blame.NOBODY, "it answers searches by vectors, so its breaker stays closed"
    only_vectors = hybrid(QUERIES, ASKS, legs=(DenseLeg(queries=QUERIES),))
    assert len(ask(cluster, only_vectors).hits) == 10


def test_replicas_answer_for_each_other() -> None:
    whole = ask(scene(POINTS), hybrid(QUERIES, ASKS))
    upgraded = scene(POINTS, workers=3, replicas=2, shards=3)
    next(iter(upgraded.workers.values())).older = True
    assert ask(upgraded, hybrid(QUERIES, ASKS)).hits.ids.tolist() == whole.hits.ids.tolist()
    cluster = scene(POINTS, workers=3, replicas=2, shards=3)
    failing(cluster, 0, *[Unavailable("not now")] * 2)
    found = ask(cluster, hybrid(QUERIES, ASKS))
    assert found.hits.ids.tolist() == whole.hits.ids.tolist()
    assert found.legs[1].scores.tobytes() == whole.legs[1].scores.tobytes()


def test_no_time_is_left() -> None:
    with pytest.raises(DeadlineExceeded):
        ask(scene(POINTS), hybrid(QUERIES, ASKS), timeout_s=0.0)


def test_an_answer_that_is_too_large_is_refused() -> None:
    points = made_points(20)
    for _, payload in points.values():
        payload["long"] = "x" * 4_000
    cluster = scene(points, limits=Limits(message_bytes=16_384))
    with pytest.raises(ResourceExhausted, match="smaller k"):
        ask(cluster, hybrid(QUERIES, ASKS))
    grouped = hybrid(QUERIES[:1], ASKS[:1], k=2, group_by=GroupBy(path="doc.id"))
    assert len(ask(cluster, grouped).hits) == 2
