"""Bytes of searches mean the same whether their form is known or not."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shoal.core.errors import InvalidArgument
from shoal.core.requests import Search
from shoal.v1 import search_pb2
from shoal.wire import search_forms
from shoal.wire.columns import vectors_to_message
from shoal.wire.search_forms import SearchForms
from shoal.wire.searches import search_from_message

VECTOR = np.array([0.5, -1.0, 3.0], np.float32)


def message(queries: np.ndarray, **parts: Any) -> search_pb2.SearchRequest:
    leg = search_pb2.SearchLeg(field=parts.pop("vector", ""), vectors=vectors_to_message(queries))
    return search_pb2.SearchRequest(**{"collection": "a", "legs": [leg], "k": 3, **parts})


def twin(data: bytes) -> Search | None:
    """Return the search that bytes mean; None if they are none."""
    try:
        return search_from_message(search_pb2.SearchRequest.FromString(data))
    except (InvalidArgument, search_forms.DecodeError):
        return None


def said(search: Search | None) -> Any:
    """Return everything that a search says, in a form that can be compared."""
    if search is None:
        return None
    fields = {each.name: getattr(search, each.name) for each in dataclasses.fields(search)}
    groups = [(each.k, each.filter, None if each.queries is None else each.queries.tolist()) for each in fields.pop("groups")]
    queries = fields.pop("queries")
    return fields, groups, queries.shape, queries.tobytes()


def read(forms: SearchForms, data: bytes) -> Search | None:
    found = forms.read(data)
    if found is None:
        return None
    form, queries = found
    assert queries.flags.aligned
    assert form.search.queries.shape == queries.shape
    return dataclasses.replace(form.search, queries=queries)


floats = st.floats(width=32, allow_nan=False)
queries = st.integers(1, 3).flatmap(
    lambda dim: st.lists(st.lists(floats, min_size=dim, max_size=dim), min_size=1, max_size=3).map(lambda rows: np.array(rows, np.float32))
)
parts = st.fixed_dictionaries(
    {},
    optional={
        "collection": st.sampled_from(["a", "b", "", "a long name of a collection"]),
        "k": st.integers(0, 20),
        "vector": st.sampled_from(["image", "text", ""]),
        "recall": st.sampled_from([0.5, 0.9]),
        "exact": st.booleans(),
        "radius": floats,
        "with_payload": st.booleans(),
        "consistency": st.integers(0, 3),
    },
)


@settings(max_examples=200, deadline=None)
@given(asked=st.lists(st.tuples(queries, parts, st.booleans()), min_size=1, max_size=12))
def test_every_search_is_read_as_if_it_were_the_first(asked: list[tuple[np.ndarray, dict[str, Any], bool]]) -> None:
    forms = SearchForms(1 << 16)
    for rows, options, queries_last in asked:
        data = message(rows, **options).SerializeToString()
        if queries_last:
            whole = message(rows, **options)
            legs = search_pb2.SearchRequest(legs=whole.legs).SerializeToString()
            whole.ClearField("legs")
            data = whole.SerializeToString() + legs
        for _ in range(2):
            assert said(read(forms, data)) == said(twin(data))


def pieces() -> st.SearchStrategy[bytes]:
    """Parts of searches, and other bytes, that may stand behind each other."""
    whole = message(np.array([[1.0, 2.0]], np.float32)).SerializeToString()
    cut = st.integers(0, len(whole)).flatmap(lambda start: st.integers(start, len(whole)).map(lambda end: whole[start:end]))
    return st.lists(st.one_of(cut, st.just(whole), st.binary(max_size=12)), max_size=4).map(b"".join)


@settings(max_examples=300, deadline=None)
@given(known=st.lists(pieces(), max_size=6), same_length=st.binary(min_size=64, max_size=64))
@example(known=[message(VECTOR[None]).SerializeToString()], same_length=b"\xff" * 64)
def test_bytes_that_only_look_like_a_known_search_are_read_as_they_are(known: list[bytes], same_length: bytes) -> None:
    forms = SearchForms(1 << 16)
    for data in known:
        forms.read(data)
    for data in known:
        for at in range(0, len(data), 3):
            changed = data[:at] + same_length[: min(5, len(data) - at)] + data[at + 5 :]
            assert len(changed) == len(data)
            assert said(read(forms, changed)) == said(twin(changed))


def test_a_form_is_read_once_and_then_known() -> None:
    forms, first = SearchForms(1 << 16), message(VECTOR[None])
    found = [forms.read(message(np.array([row], np.float32)).SerializeToString()) for row in ([1, 2, 3], [4, 5, 6])]
    assert found[0] is not None
    assert found[1] is not None
    assert found[0][0] is found[1][0]
    assert found[1][1].tolist() == [[4, 5, 6]]
    assert found[0][0].search.queries.nbytes == VECTOR.nbytes
    assert found[0][0].search.queries.base is not None, "the zeros of a form take no memory"
    other = forms.read(message(VECTOR[None], k=4).SerializeToString())
    assert other is not None
    assert other[0] is not found[0][0]
    assert forms.read(first.SerializeToString() + b"\xff") is None


def test_searches_that_are_too_long_or_have_long_filters_are_not_read() -> None:
    data = message(VECTOR[None]).SerializeToString()
    assert SearchForms(len(data)).read(data) is not None
    assert SearchForms(len(data) - 1).read(data) is None
    values = [{"integer": value} for value in range(70_000)]
    long = message(VECTOR[None], filter={"field": {"path": ["x"], "in": {"values": values}}})
    assert SearchForms(1 << 24).read(long.SerializeToString()) is None


def test_only_so_many_forms_are_kept(monkeypatch: Any) -> None:
    monkeypatch.setattr(search_forms, "_MOST_KEPT", 4)
    forms = SearchForms(1 << 16)
    for k in range(1, 12):
        assert read(forms, message(VECTOR[None], k=k).SerializeToString()) is not None
        assert len(forms._forms) <= 4
