"""Writes of named vectors that need more room in shards than in a message: both clients send them in smaller parts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.core.requests import Update, Upsert
from tests.unit.shoal.client.named_sides import SIDES, VECTORS, Side

ROOM = 20
"""Points that the rows of one message have room for."""


@pytest.fixture(params=SIDES)
def side(request: pytest.FixtureRequest) -> Side:
    made = Side(SIDES[request.param])
    made.create_collection("c", vectors=VECTORS)
    for verb in ("Upsert", "Update"):
        setattr(made.cluster, verb, _within_room(getattr(made.cluster, verb)))
    return made


def _within_room(answer: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return what refuses a write as a router does if shards need more room for it."""

    def answered(request: Any) -> Any:
        count = len(request.points) if isinstance(request, Upsert) else len(request.ids)
        if count > ROOM:
            raise InvalidArgument(f"write at most {ROOM} of them at once", ErrorDetails(field="vectors", limit="message_bytes"))
        return answer(request)

    return answered


def ids_of(request: Any) -> list[int]:
    listed: list[int] = (request.points.ids if isinstance(request, Upsert) else request.ids).tolist()
    return listed


def test_what_no_message_has_room_for_is_sent_in_parts(side: Side) -> None:
    count, told = 99, []
    images = np.arange(2 * count, dtype=np.float32).reshape(count, 2)
    assert side.upsert("c", range(count), {"image": images}, progress=lambda done, of: told.append((done, of))) == count
    assert side.update_vectors("c", range(count + 5), {"image": [None] * 5 + [row + 1 for row in images]}) == count
    held = {key: row["image"].tolist() for key, (row, _) in side.cluster.points["c"].items()}
    assert held == {at: images[at].tolist() if at < 5 else (images[at - 5] + 1).tolist() for at in range(count)}
    assert told == [(count, count)]
    for kind, points in ((Upsert, count), (Update, count + 5)):
        sent = [each for each in side.sent(kind) if len(ids_of(each)) <= ROOM]
        assert [at for each in sent for at in ids_of(each)] == list(range(points))
        assert len({each.request_id for each in side.sent(kind)}) == len(side.sent(kind)), "each part is a write of its own"


def test_an_error_of_a_part_counts_as_the_caller_does_and_tells_what_is_applied(side: Side) -> None:
    fitting = side.cluster.Upsert

    def fails(request: Upsert) -> Any:
        if 60 in ids_of(request) and len(request.points) <= ROOM:
            at = ids_of(request).index(60)
            raise InvalidArgument(f"payloads[{at}] is bad", ErrorDetails(field="payloads", index=at))
        return fitting(request)

    side.cluster.__dict__["Upsert"] = fails
    with pytest.raises(InvalidArgument, match=r"payloads\[60\] is bad") as caught:
        side.upsert("c", range(99), {"image": np.ones((99, 2))})
    assert caught.value.details.index == 60
    assert set(caught.value.details.applied.values()) == {"maybe"}
    assert 0 < len(side.cluster.points["c"]) < 60


def test_one_point_that_has_no_room_is_refused(side: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.ROOM", 0)
    with pytest.raises(InvalidArgument, match="write at most 0"):
        side.upsert("c", [1, 2], {"image": [[1, 2], [3, 4]]})
    assert side.cluster.points["c"] == {}


def test_other_refusals_are_not_tried_again(side: Side) -> None:
    def refuses(_: Any) -> Any:
        raise InvalidArgument("no", ErrorDetails(field="ids", limit="upsert_points"))

    side.cluster.__dict__["Upsert"] = refuses
    with pytest.raises(InvalidArgument, match="no"):
        side.upsert("c", range(9), {"image": np.ones((9, 2))})
    assert len(side.sent(Upsert)) == 1
