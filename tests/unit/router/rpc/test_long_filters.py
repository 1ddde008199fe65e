"""Test that long filters are read, checked and written in pieces beside the event loop, and short ones at
once on it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import numpy as np
import pytest

from shoal.core.errors import DeadlineExceeded, InvalidArgument
from shoal.core.filter import And, Contains, Filter, HasId, In, Not, Or, are_long, filter_key
from shoal.core.limits import DEFAULT_LIMITS
from shoal.core.topk import MANY_HITS
from shoal.core.turns import Asker, Turn
from shoal.runtime.fair_pool import FairPool
from shoal.v1 import common_pb2, points_pb2, search_pb2
from shoal.wire.columns import ids_to_message, vectors_to_message
from shoal.wire.filters import are_long_messages, filter_from_message, filter_to_message
from tests.unit.router.rpc.test_services import Context, Front

SHORT = In(("label",), (1, 2))
LONG = {
    "values": In(("label",), tuple(range(20_000))),
    "ids": Not(HasId(tuple(f"id {number}" for number in range(20_000)))),
    "conditions": Or(tuple(Contains(("text",), f"word {number}") for number in range(1_000))),
}
NOT_ON_THE_LOOP = 2
"""Number of conversions of one request beside the loop: reading and checking."""


class Looks:
    """Turn that counts its looks. The look number `ends_at` raises."""

    rested_s = 0.0

    def __init__(self, ends_at: int | None = None) -> None:
        self.looks, self._ends_at = 0, ends_at

    def check(self) -> None:
        self.looks += 1
        if self.looks == self._ends_at:
            raise DeadlineExceeded("nobody waits")

    def pause(self) -> None:
        self.check()


@pytest.fixture
def front(monkeypatch: pytest.MonkeyPatch) -> tuple[Front, list[str]]:
    """Return the services, and a list to which each conversion adds the name of its thread."""
    threads: list[str] = []
    run = FairPool.run

    async def watched(self: FairPool, work: Callable[[Turn], Any], asker: Asker, until_s: float = 1e18) -> Any:
        def told(turn: Turn) -> Any:
            threads.append(threading.current_thread().name)
            return work(turn)

        return await run(self, told, asker, until_s)

    monkeypatch.setattr(FairPool, "run", watched)
    return Front(), threads


def search(front: Front, filter: Filter) -> Coroutine[Any, Any, Any]:
    legs = [search_pb2.SearchLeg(vectors=vectors_to_message(np.zeros((1, 4), dtype=np.float32)))]
    return front.search.Search(search_pb2.SearchRequest(collection="a", legs=legs, k=3, filter=filter_to_message(filter)), Context())


def search_in_groups(front: Front, filter: Filter) -> Coroutine[Any, Any, Any]:
    legs = [search_pb2.SearchLeg(vectors=vectors_to_message(np.zeros((1, 4), dtype=np.float32)))]
    groups = [search_pb2.QueryGroup(k=3, filter=filter_to_message(filter))]
    return front.search.Search(search_pb2.SearchRequest(collection="a", legs=legs, groups=groups), Context())


ASKED: dict[str, Callable[[Front, Filter], Coroutine[Any, Any, Any]]] = {
    "search": search,
    "groups": search_in_groups,
    "count": lambda front, filter: front.points.Count(points_pb2.CountRequest(collection="a", filter=filter_to_message(filter)), Context()),
    "scroll": lambda front, filter: front.points.Scroll(
        points_pb2.ScrollRequest(collection="a", filter=filter_to_message(filter)), Context()
    ),
    "update": lambda front, filter: front.points.Update(
        points_pb2.UpdateRequest(collection="a", filter=filter_to_message(filter), change={"set_payload": b"{}"}), Context()
    ),
    "delete": lambda front, filter: front.points.Delete(
        points_pb2.DeleteRequest(collection="a", filter=filter_to_message(filter)), Context()
    ),
}


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("kind", LONG)
def test_a_long_filter_does_not_run_on_the_event_loop(front: tuple[Front, list[str]], asked: str, kind: str) -> None:
    services, threads = front
    asyncio.run(ASKED[asked](services, LONG[kind]))
    assert len(threads) == NOT_ON_THE_LOOP
    assert {name.rpartition("_")[0] for name in threads} == {"convert"}


@pytest.mark.parametrize("asked", ASKED)
def test_a_short_filter_needs_no_thread(front: tuple[Front, list[str]], asked: str) -> None:
    services, threads = front
    asyncio.run(ASKED[asked](services, SHORT))
    assert threads == []


def test_a_long_filter_that_breaks_a_bound_is_refused_as_any_other(front: tuple[Front, list[str]]) -> None:
    services, _ = front
    too_many = In(("label",), tuple(range(DEFAULT_LIMITS.filter_values + 1)))
    with pytest.raises(InvalidArgument, match="more than 65536 values"):
        asyncio.run(ASKED["count"](services, too_many))


@pytest.mark.parametrize("kind", ["values", "conditions"])
def test_a_long_filter_is_converted_in_pieces_and_ends_between_them(kind: str) -> None:
    there, back, ends = Looks(), Looks(), Looks(3)
    message = filter_to_message(LONG[kind], there)
    assert filter_from_message(message, back) == LONG[kind]
    assert min(there.looks, back.looks) >= 4
    with pytest.raises(DeadlineExceeded):
        filter_from_message(message, ends)


def test_what_is_long() -> None:
    assert all(are_long([filter]) and are_long_messages([filter_to_message(filter)]) for filter in LONG.values())
    assert not are_long([SHORT, None])
    assert not are_long_messages([filter_to_message(SHORT)])
    assert are_long([SHORT] * 300)
    assert are_long_messages([filter_to_message(SHORT)] * 300)


def test_the_key_of_a_long_filter_is_short_and_its_own() -> None:
    values = tuple(range(20_000))
    different = [
        In(("a",), values),
        In(("b",), values),
        In(("a",), (*values[:-1], -1)),
        In(("a",), (*values[:-1], float(values[-1]))),
        In(("a",), values[:-1]),
        HasId(values),
        Not(HasId(values)),
        Or((HasId(values), In(("a",), values))),
        And((HasId(values), In(("a",), values))),
        And((Not(HasId(values)), In(("a",), values))),
    ]
    keys = [filter_key(filter) for filter in different]
    assert len(set(keys)) == len(different)
    assert max(map(len, keys)) < 300
    assert filter_key(In(("a",), tuple(range(20_000)))) == keys[0]


def test_an_answer_of_many_hits_is_merged_and_written_beside_the_event_loop(front: tuple[Front, list[str]]) -> None:
    services, threads = front
    rows = np.zeros((MANY_HITS // 40 + 1, 4), dtype=np.float32)
    ids = ids_to_message(np.arange(len(rows), dtype=np.int64))
    points = common_pb2.PointBatch(ids=ids, vectors=vectors_to_message(rows))
    asyncio.run(services.points.Upsert(points_pb2.UpsertRequest(collection="a", points=points), Context()))

    def asked(queries: int) -> int:
        legs = [search_pb2.SearchLeg(vectors=vectors_to_message(np.zeros((queries, 4), dtype=np.float32)))]
        request = search_pb2.SearchRequest(collection="a", legs=legs, k=len(rows))
        return len(asyncio.run(services.search.Search(request, Context())).hits.scores)

    assert asked(1) == len(rows)
    assert threads == []
    assert asked(40) > MANY_HITS
    assert len(threads) == 2
