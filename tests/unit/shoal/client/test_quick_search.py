"""A usual search means the same whether it takes the quick way or the general one, which is the definition."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.client.flow import Call
from shoal.client.quick_search import QuickSearch
from shoal.client.results import hits_of
from shoal.client.verbs import Verbs
from shoal.core.errors import DeadlineExceeded, Internal, InvalidArgument, ResourceExhausted, ShoalError, Unavailable
from shoal.core.limits import DEFAULT_LIMITS
from shoal.core.points import id_array
from shoal.core.replies import Found
from shoal.core.requests import Search, ShardToken
from shoal.core.topk import HitColumns
from shoal.v1 import search_pb2
from shoal.wire.searches import found_to_message, search_from_message, search_to_message
from tests.twins.router_answers import DictCluster, PausingClock, client_with
from tests.twins.router_bytes import bytes_client_with

VECTOR = np.array([0.5, -1.0, 3.0], np.float32)
USUAL: dict[str, Any] = {
    "recall": None,
    "params": None,
    "exact": False,
    "consistency": "session",
    "timeout": None,
    "allow_partial": False,
    "with_payload": True,
    "with_vectors": False,
    "explain": False,
}
CHANGES: dict[str, list[Any]] = {
    "recall": [0.9, 1, 1.0, True, 0.0, np.float32(0.5), float("nan"), "x"],
    "params": [{"ef": 9}, {}],
    "exact": [True, 1, 0],
    "consistency": ["any", "primary", "strong", None],
    "timeout": [0.001, 3, 2.5, 0, True, float("inf")],
    "allow_partial": [True, 1],
    "with_payload": [False, 0],
    "with_vectors": [True],
    "explain": [True],
}
VECTORS: list[Any] = [
    VECTOR,
    VECTOR.astype(np.float64),
    VECTOR.astype(">f4"),
    np.arange(6, dtype=np.float32)[::2],
    np.array([1.0, np.nan], np.float32),
    np.array([np.inf, 1.0], np.float32),
    np.array([1e300, 1.0]),
    np.array([3e38, 1.0], np.float32),
    np.array([1, 2]),
    np.array([True, False]),
    np.array([], np.float32),
    np.ma.array([1.0, 2.0], mask=[True, False]),
    np.ones((1, 2), np.float32),
    np.ones(10_000, np.float32),
    [1.0, 2.0],
]
MATRICES: list[Any] = [
    np.stack([VECTOR, -VECTOR]),
    np.ones((3, 2)),
    np.ones((2, 3), np.float32).T,
    np.ones((0, 3), np.float32),
    np.array([[1.0, np.nan]], np.float32),
    VECTOR,
    [[1.0]],
]
NAMES = ["c", "é", "", "a\n", 7]
KS = [None, 1, 10, 16_384, 0, -1, 2**40, True, 1.0, np.int64(3), "1"]
FILTERS: list[Any] = [
    None,
    {},
    {"label": 3},
    {"label": True},
    {"label": 1, "on": False, "tag": "x"},
    {"label": 1.0},
    {"label": {"$gt": 3}},
    {"$id": [1]},
    {"$foo": 1},
    {"": 1},
    {"a": "x" * 70_000},
    {str(number): number for number in range(9)},
    [{"a": 1}],
]


some_options = st.dictionaries(st.sampled_from(sorted(CHANGES)), st.integers(0, 9), max_size=2).map(
    lambda chosen: USUAL | {name: CHANGES[name][at % len(CHANGES[name])] for name, at in chosen.items()}
)


def made_verbs(*addresses: str) -> Verbs:
    verbs = Verbs(list(addresses) or ["one:1"], None)
    verbs._session.acknowledge("c", [ShardToken("id", 0, 7), ShardToken("id", 3, 2**40)])
    return verbs


def first_call(verbs: Verbs, verb: str, *given_args: Any) -> Call | ShoalError:
    """The first step of the general way, or how it refuses."""
    try:
        step = next(getattr(verbs, verb)(*given_args))
    except ShoalError as error:
        return error
    assert isinstance(step, Call)
    return step


def shown(search: Search) -> Any:
    groups = [(each.k, each.filter, None if each.queries is None else each.queries.tolist()) for each in search.groups]
    rest = (search.collection, search.accuracy, search.radius, search.explain, search.with_payload, search.with_vectors)
    return (rest, groups, search.allow_partial, search.read, search.queries.tolist())


def check_same(verb: str, verbs: Verbs, *given_args: Any) -> bool:
    """Check the two ways against each other. Return whether the search took the quick one."""
    quick = getattr(verbs, f"quick_{verb}")(*given_args)
    general = first_call(verbs, verb, *given_args)
    if quick is None:
        return False
    assert isinstance(general, Call), general
    read = search_from_message(search_pb2.SearchRequest.FromString(quick.data))
    request = general.request
    assert isinstance(request, Search)
    assert shown(read) == shown(search_from_message(search_to_message(request)))
    assert (quick.address, quick.timeout_s, quick.queries) == (general.address, general.timeout_s, len(request.queries))
    return True


@pytest.mark.filterwarnings("error")
@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(NAMES), st.sampled_from(VECTORS), st.sampled_from(KS), st.sampled_from(FILTERS), some_options),
        min_size=1,
        max_size=4,
    )
)
def test_one_query_is_the_same_on_both_ways(calls: list[Any]) -> None:
    """Several calls, as a kept part of an earlier search must not be used for one that only looks alike."""
    verbs = made_verbs("one:1", "two:2")
    for name, vector, k, filter, given_options in calls:
        check_same("search", verbs, name, vector, k, filter, None, given_options)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(NAMES), st.sampled_from(MATRICES), st.sampled_from(KS), st.sampled_from(FILTERS), some_options)
def test_several_queries_are_the_same_on_both_ways(name: Any, vectors: Any, k: Any, filter: Any, given_options: Any) -> None:
    check_same("search_many", made_verbs(), name, vectors, k, filter, None, given_options)


@pytest.mark.parametrize("vector", [VECTOR, VECTOR.astype(np.float64)])
@pytest.mark.parametrize("filter", [None, {"label": 3}, {"on": True, "tag": "x"}])
@pytest.mark.parametrize("k", [None, 7])
@pytest.mark.parametrize("changed", [{}, {"recall": 0.9}, {"exact": True}, {"consistency": "any"}, {"timeout": 3}, {"with_payload": False}])
def test_usual_searches_take_the_quick_way(vector: Any, filter: Any, k: Any, changed: dict[str, Any]) -> None:
    assert check_same("search", made_verbs(), "c", vector, k, filter, None, USUAL | changed)
    assert check_same("search_many", made_verbs(), "c", np.stack([VECTOR, VECTOR]), k, filter, None, USUAL | changed)


@pytest.mark.parametrize(("first", "second"), [(1, True), (True, 1), (1, 1.0)])
def test_values_that_are_equal_but_of_another_kind_are_not_taken_for_each_other(first: Any, second: Any) -> None:
    verbs = made_verbs()
    for value in (first, second):
        check_same("search", verbs, "c", VECTOR, value, None, None, USUAL)
        check_same("search", verbs, "c", VECTOR, 5, {"a": value}, None, USUAL)
        check_same("search", verbs, "c", VECTOR, 5, None, None, USUAL | {"recall": value, "exact": False})


def test_more_heads_than_are_kept_do_no_harm() -> None:
    verbs = made_verbs()
    for number in range(2_100):
        assert verbs.quick_search("c", VECTOR, None, {"user": number}, None, USUAL) is not None
    assert len(verbs._quick._heads) <= 1_024
    assert check_same("search", verbs, "c", VECTOR, None, {"user": 7}, None, USUAL)


def test_a_request_that_is_too_large_takes_the_general_way_which_tells_it() -> None:
    rows = DEFAULT_LIMITS.message_bytes // 4 // 8_000 + 1
    assert made_verbs().quick_search_many("c", np.ones((rows, 8_000), np.float32), 1, None, None, USUAL) is None


def test_a_search_sees_each_write_that_was_acknowledged_before() -> None:
    verbs, stop = made_verbs(), threading.Event()

    def write() -> None:
        for seq in range(1, 3_000):
            verbs._session.acknowledge("c", [ShardToken("id", 1, seq)])
            acknowledged[0] = seq
        stop.set()

    acknowledged = [0]
    writer = threading.Thread(target=write)
    writer.start()
    checked = 0
    while not stop.is_set() or not checked:
        least = acknowledged[0]
        quick = verbs.quick_search("c", VECTOR, 1, None, None, USUAL)
        assert quick is not None
        tokens = search_from_message(search_pb2.SearchRequest.FromString(quick.data)).read.tokens
        assert max((token.seq for token in tokens if token.shard == 1), default=0) >= least
        checked += 1
    writer.join()


some_ids = st.one_of(
    st.lists(st.integers(-(2**63), 2**63 - 1), max_size=6),
    st.lists(st.text(min_size=1, max_size=3), max_size=6),
    st.lists(st.one_of(st.integers(0, 9), st.text(min_size=1, max_size=3)), max_size=6),
)


@given(some_ids, st.data())
def test_hits_are_the_same_on_both_ways(ids: list[Any], data: st.DataObject) -> None:
    first = data.draw(st.integers(0, len(ids)))
    texts = data.draw(st.one_of(st.none(), st.lists(st.sampled_from([None, b"{}", b'{"a":[1]}']), min_size=len(ids), max_size=len(ids))))
    columns = HitColumns(
        counts=np.array([first, len(ids) - first]),
        ids=id_array(ids),
        scores=np.arange(len(ids), dtype=np.float32) / 3,
        payloads=None if texts is None else tuple(texts),
        vectors=data.draw(st.sampled_from([None, np.ones((len(ids), 2), np.float32)])) if ids else None,
    )
    missing = data.draw(st.sampled_from([(), ("c/1",)]))
    answer = found_to_message(Found(hits=columns, missing_shards=missing)).SerializeToString()
    found, expected = QuickSearch("a:1", b"", 1.0, 2).hits(answer), hits_of(columns, missing)
    assert found == expected
    assert [each.missing_shards for each in found] == [missing, missing]
    assert [[type(hit.score) for hit in hits] for hits in found] == [[float] * first, [float] * (len(ids) - first)]
    assert [repr(each) for each in found] == [repr(each) for each in expected]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"\xff", "cannot be read"),
        (search_pb2.SearchResponse().SerializeToString(), "hits of 0 queries, 1 were asked for"),
        (search_pb2.SearchResponse(hits={"counts": [0, 0]}).SerializeToString(), "hits of 2 queries"),
        (search_pb2.SearchResponse(hits={"counts": [1], "ids": {"integers": [1]}, "scores": [1], "payloads": ["", ""]}), "payloads: 2"),
    ],
)
def test_an_answer_that_makes_no_sense_is_a_typed_error(answer: Any, words: str) -> None:
    data = answer if isinstance(answer, bytes) else answer.SerializeToString()
    with pytest.raises(Internal, match=words):
        QuickSearch("a:1", b"", 1.0, 1).hits(data)


OUTCOMES = {
    "down": lambda: Unavailable("down"),
    "late": lambda: DeadlineExceeded("late"),
    "bad": lambda: InvalidArgument("bad"),
    "full": lambda: ResourceExhausted("full"),
    "fine": lambda: None,
}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(sorted(OUTCOMES)), max_size=8), st.integers(1, 3))
def test_failures_are_retried_alike_on_both_ways(script: list[str], count: int) -> None:
    stories = []
    for make in (client_with, bytes_client_with):
        clock, left, cluster = PausingClock(), list(script), DictCluster()

        def answer(address: str, request: Any, timeout_s: float, clock: Any = clock, left: list[str] = left, cluster: Any = cluster) -> Any:
            error = OUTCOMES[left.pop(0)]() if left and isinstance(request, Search) else None
            if error is not None:
                clock.now += timeout_s if isinstance(error, DeadlineExceeded) else 0.25
                raise error
            return cluster(address, request, timeout_s)

        client = make(answer, address=[f"h{at}:1" for at in range(count)], clock=clock)
        client.create_collection("c", 3)
        client.upsert("c", [1], [VECTOR])
        try:
            outcome: Any = client.search("c", VECTOR)
        except ShoalError as error:
            outcome = (type(error), error.message, error.details)
        attempts = [(address, timeout_s) for address, request, timeout_s in client.mock.sent if isinstance(request, Search)]
        stories.append((outcome, attempts, clock.pauses, clock.now))
    assert stories[0] == stories[1]
