"""Searches of several shards that are put together from pieces mean the same as their messages, and so do answers."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.core.shard_calls import QueryGroup, ShardsFound, ShardsSearch
from shoal.core.topk import HitColumns
from shoal.v1 import search_pb2, worker_pb2
from shoal.wire import shards_search_bytes
from shoal.wire.search_bytes import bytes_of_hits
from shoal.wire.search_forms import ShardsSearchForms
from shoal.wire.searches import shards_found_to_message, shards_search_from_message, shards_search_to_message
from shoal.wire.shards_search_bytes import ShardsSearchBytes, answered_bytes
from tests.unit.shoal.wire.strategies import hit_columns
from tests.unit.shoal.wire.test_searches import SEVERAL, errors_of_shards, explains, searches_of_shards


def canonical(message: Any) -> bytes:
    written: bytes = message.SerializeToString(deterministic=True)
    return written


def other_queries(call: ShardsSearch) -> ShardsSearch:
    return dataclasses.replace(call, queries=np.full(call.queries.shape, 7.5, np.float32))


@settings(deadline=None)
@given(searches_of_shards(), st.lists(st.sampled_from(["", "one", "ipv4:127.0.0.1:5000"]), min_size=1, max_size=3))
def test_a_search_in_pieces_is_read_as_its_message(call: ShardsSearch, callers: list[str]) -> None:
    made = ShardsSearchBytes(other_queries(call))
    for caller in callers:
        data = made.request(call.queries, caller)
        message = shards_search_to_message(dataclasses.replace(call, caller=caller))
        assert canonical(worker_pb2.SearchShardsRequest.FromString(data)) == canonical(message)


def test_queries_that_are_not_one_piece_of_memory_are_written_row_by_row() -> None:
    call = dataclasses.replace(SEVERAL, queries=np.arange(12, dtype=np.float32).reshape(2, 6)[:, ::2], groups=(QueryGroup(k=1),))
    data = ShardsSearchBytes(call).request(call.queries, "")
    assert shards_search_from_message(worker_pb2.SearchShardsRequest.FromString(data)).queries.tolist() == call.queries.tolist()


def test_only_so_many_callers_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards_search_bytes, "_MOST_CALLERS", 2)
    made = ShardsSearchBytes(SEVERAL)
    for number in range(7):
        data = made.request(SEVERAL.queries, f"caller {number}")
        assert worker_pb2.SearchShardsRequest.FromString(data).search.terms.caller == f"caller {number}"
        assert len(made._callers) <= 2


found = st.builds(
    ShardsFound,
    hits=hit_columns(),
    failed=st.one_of(st.just({}), st.dictionaries(st.sampled_from(SEVERAL.shards), errors_of_shards)),
    explain=st.one_of(st.just(()), st.lists(explains, max_size=1).map(tuple)),
)


@settings(deadline=None)
@given(found)
def test_the_hits_of_an_answer_are_passed_on_if_it_says_nothing_else(answer: ShardsFound) -> None:
    data = shards_found_to_message(SEVERAL, answer).SerializeToString()
    hits = ShardsSearchBytes(SEVERAL).hits_in(data)
    assert hits == (None if answer.failed or answer.explain else bytes_of_hits(answer.hits))
    if hits is not None:
        assert hits + answered_bytes(SEVERAL) == data


@settings(deadline=None)
@given(hit_columns(), st.binary(max_size=6), st.integers(0, 40), st.integers(0, 3))
def test_other_bytes_are_not_taken_for_hits(hits: HitColumns, put_in: bytes, at: int, kind: int) -> None:
    """What counts as hits has the frame of a message with nothing but one field of hits."""
    answered = answered_bytes(SEVERAL)
    whole = bytes_of_hits(hits) + answered
    data = [whole[:at] + put_in + whole[at:], whole[at:], whole[:at], put_in + answered][kind]
    passed_on = ShardsSearchBytes(SEVERAL).hits_in(data)
    if passed_on is not None:
        assert passed_on + answered == data
        size, end = 0, 1
        while passed_on[end] & 0x80:
            size, end = size | (passed_on[end] & 0x7F) << 7 * (end - 1), end + 1
        size |= passed_on[end] << 7 * (end - 1)
        assert passed_on[:1] == b"\x0a"
        assert len(passed_on) == end + 1 + size


def test_a_length_that_does_not_end_is_no_frame() -> None:
    made, answered = ShardsSearchBytes(SEVERAL), answered_bytes(SEVERAL)
    for frame in (b"\x0a", b"\x0a\x80", b"\x0a" + b"\x80" * 20):
        assert made.hits_in(frame + answered) is None


@pytest.mark.parametrize(
    "numbers", [[4, 0], [0, 4, 7], [4, 0, 7, 8], []], ids=["one is missing", "in another order", "one too many", "none"]
)
def test_hits_of_other_shards_are_not_passed_on(numbers: list[int]) -> None:
    hits = HitColumns(counts=np.array([1, 0]), ids=np.array([5]), scores=np.array([0.5], np.float32))
    data = bytes_of_hits(hits) + worker_pb2.SearchShardsResponse(answered=numbers).SerializeToString()
    made = ShardsSearchBytes(SEVERAL)
    assert made.hits_in(bytes_of_hits(hits) + answered_bytes(SEVERAL)) is not None
    assert made.hits_in(data) is None


def said(call: ShardsSearch, queries: np.ndarray) -> bytes:
    return canonical(shards_search_to_message(dataclasses.replace(call, queries=queries)))


@settings(deadline=None)
@given(st.lists(searches_of_shards(), min_size=1, max_size=4))
def test_a_worker_reads_every_search_as_if_it_were_the_first(calls: list[ShardsSearch]) -> None:
    forms = ShardsSearchForms(1 << 16)
    for call in calls:
        data = shards_search_to_message(call).SerializeToString()
        for asked in (data, ShardsSearchBytes(call).request(call.queries, call.caller)) * 2:
            read = forms.read(asked)
            assert read is not None
            form, queries = read
            assert said(form.call, queries) == said(call, call.queries)
            assert form.answered == answered_bytes(call)
            assert form.call.queries.shape == queries.shape


def test_a_worker_knows_the_form_of_a_search_in_pieces() -> None:
    forms, call = ShardsSearchForms(1 << 16), dataclasses.replace(SEVERAL, groups=(QueryGroup(k=3),))
    made = ShardsSearchBytes(call)
    read = [forms.read(made.request(np.full((2, 1), number, np.float32), "me")) for number in (1, 2)]
    assert read[0] is not None
    assert read[1] is not None
    assert read[0][0] is read[1][0]
    assert read[1][1].tolist() == [[2], [2]]


@pytest.mark.parametrize("data", [b"\xff", b"", worker_pb2.SearchShardsRequest(shards=[1, 1]).SerializeToString()])
def test_what_is_no_search_of_shards_is_left_to_the_handler(data: bytes) -> None:
    assert ShardsSearchForms(1 << 16).read(data) is None


def test_long_filters_are_left_to_the_handler() -> None:
    values = [{"integer": value} for value in range(70_000)]
    group = search_pb2.QueryGroup(k=1, filter={"field": {"path": ["x"], "in": {"values": values}}})
    message = shards_search_to_message(SEVERAL)
    message.search.groups.append(group)
    assert ShardsSearchForms(1 << 24).read(message.SerializeToString()) is None
