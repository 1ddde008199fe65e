"""Test that strings kept in a dictionary and strings kept as hashes give the answers of a plain comparison."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.core.filter import Range
from shoal.shard_worker.payload.matched import PayloadBounds
from shoal.shard_worker.payload.sealed import row_mapping
from shoal.shard_worker.payload.words import Strings, merge_strings, strings_of
from tests.unit.shard_worker.payload.payloads import STRINGS

texts_held = st.lists(st.sampled_from(STRINGS), max_size=10)
optional = st.one_of(st.none(), st.sampled_from(STRINGS))
ROOM = PayloadBounds()
TIGHT = PayloadBounds(distinct_values=2, indexed_chars=2)


def strings(texts: list[str], bounds: PayloadBounds) -> Strings:
    return strings_of(texts, list(range(len(texts))), bounds)


@given(texts=texts_held, wanted=st.lists(st.sampled_from(STRINGS), max_size=3), bounds=st.tuples(*[optional] * 4))
@settings(max_examples=300, deadline=None)
def test_words_are_compared_as_strings(texts: list[str], wanted: list[str], bounds: tuple[str | None, ...]) -> None:
    words = strings(texts, ROOM).words
    gt, gte, lt, lte = bounds
    found = [
        at
        for at, text in enumerate(texts)
        if (gt is None or text > gt) and (gte is None or text >= gte) and (lt is None or text < lt) and (lte is None or text <= lte)
    ]
    assert sorted(words.within(Range(path=("a",), gt=gt, gte=gte, lt=lt, lte=lte)).tolist()) == found
    assert sorted(words.equal(sorted(set(wanted))).tolist()) == [at for at, text in enumerate(texts) if text in wanted]
    for part in wanted:
        assert sorted(words.beginning(part).tolist()) == [at for at, text in enumerate(texts) if text.startswith(part)]
        assert sorted(words.holding(part).tolist()) == [at for at, text in enumerate(texts) if part in text]


@given(texts=texts_held, wanted=st.sampled_from(STRINGS))
@settings(max_examples=200, deadline=None)
def test_what_is_not_kept_is_found_by_its_hash(texts: list[str], wanted: str) -> None:
    held = strings(texts, TIGHT)
    assert len(held.words.texts) <= 2
    assert all(len(text) <= 2 for text in held.words.texts)
    found = held.words.equal([wanted]).tolist() + held.hashed([wanted]).tolist()
    assert sorted(found) == [at for at, text in enumerate(texts) if text == wanted]


@given(first=texts_held, second=texts_held, data=st.data(), bounds=st.sampled_from([ROOM, TIGHT]))
@settings(max_examples=200, deadline=None)
def test_merged_strings_are_those_of_the_rows_that_stay(
    first: list[str], second: list[str], data: st.DataObject, bounds: PayloadBounds
) -> None:
    stays = [data.draw(st.lists(st.sampled_from(range(len(texts))), unique=True)) if texts else [] for texts in (first, second)]
    mappings = [
        row_mapping(len(first), np.array(stays[0], dtype=np.int64), 0),
        row_mapping(len(second), np.array(stays[1], dtype=np.int64), len(stays[0])),
    ]
    merged = merge_strings(list(zip([strings(first, bounds), strings(second, bounds)], mappings, strict=True)), bounds)
    held = [first[at] for at in stays[0]] + [second[at] for at in stays[1]]
    for wanted in set(first + second):
        found = merged.words.equal([wanted]).tolist() + merged.hashed([wanted]).tolist()
        assert sorted(found) == [at for at, text in enumerate(held) if text == wanted]
    assert len(merged.words.texts) <= bounds.distinct_values
    if bounds is ROOM:
        assert list(merged.words.texts) == sorted(set(held))
