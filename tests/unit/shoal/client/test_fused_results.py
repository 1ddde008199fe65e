"""Hits of searches with legs: what they tell, that they are hits like others, and that others are as they were."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import re
from typing import Any

import numpy as np
import pytest

import shoal
from shoal.client.fused_results import FusedHit, fused_hits_of
from shoal.core.errors import Internal, InvalidArgument
from shoal.core.fused_search import (
    DenseLeg,
    FieldSpans,
    FusedExplain,
    FusedFound,
    FusedSearch,
    HitExplain,
    LegColumns,
    LegExplain,
    TextLeg,
)
from shoal.core.shard_calls import QueryGroup
from shoal.core.text_calls import WordShare
from shoal.core.text_query import TextAsk
from shoal.core.topk import HitColumns
from shoal.wire.fused_searches import fused_found_from_message, fused_found_to_message
from tests.support.repository import ROOT
from tests.twins.fused_answers import TEXT_EXPLAINED
from tests.twins.router_answers import EXPLAINED, DictCluster, client_with

DENSE = DenseLeg(queries=np.zeros((2, 2), np.float32))
TEXT = TextLeg(asks=(TextAsk(text="a"), TextAsk(text="b")))
REQUEST = FusedSearch(collection="c", legs=(DENSE, TEXT), groups=(QueryGroup(k=2),))
SHARE = WordShare("body", "red", 1.25)
EXPLAIN = FusedExplain(
    legs=tuple(
        LegExplain(query=query, leg=leg, hits=2, padded=1, lowest=0.0, highest=1.0, deviation=0.5, us=9.0)
        for query in (0, 1)
        for leg in ("dense", "text")
    ),
    hits=(HitExplain(arithmetic="0.5 x 1", words=(SHARE,)), HitExplain(arithmetic="0"), HitExplain(arithmetic="1", penalty=0.25)),
    segments=(EXPLAINED,),
    texts=(TEXT_EXPLAINED, dataclasses.replace(TEXT_EXPLAINED, query=1)),
)
FOUND = FusedFound(
    hits=HitColumns(
        counts=np.array([2, 1]),
        ids=np.array([7, 8, 9]),
        scores=np.array([1.0, 0.5, 0.25], np.float32),
        payloads=(b'{"body":"red fish"}', None, b"{}"),
        vectors=np.ones((3, 2), np.float32),
    ),
    legs=(
        LegColumns(name="dense", ranks=np.array([1, 2, 0]), scores=np.array([0.9, 0.8, np.nan])),
        LegColumns(name="text", ranks=np.array([1, 0, 1]), scores=np.array([3.5, np.nan, 2.5])),
    ),
    highlights=((FieldSpans("body", ((0, 3),)),), (), ()),
    group_values=('"a"', "[1]", "null"),
    complete=(True, False),
    explain=EXPLAIN,
)


def both() -> list[list[shoal.Hits]]:
    """The hits of the columns, and of the same columns after a journey."""
    return [fused_hits_of(REQUEST, found) for found in (FOUND, fused_found_from_message(fused_found_to_message(FOUND)))]


def test_each_hit_tells_its_legs_words_and_group() -> None:
    for first, second in both():
        assert [type(each) for each in (first, second)] == [shoal.Hits, shoal.Hits]
        best, other = first
        assert (best.id, best.score, best.payload, best.group) == (7, 1.0, {"body": "red fish"}, "a")
        assert best.vector is not None
        assert best.legs == {"dense": shoal.LegHit(1, 0.9), "text": shoal.LegHit(1, 3.5, (SHARE,))}
        assert (best.highlights, best.highlighted("body", "<", ">")) == ({"body": ((0, 3),)}, "<red> fish")
        assert (other.legs, other.highlights, other.group) == ({"dense": shoal.LegHit(2, 0.8)}, {}, [1])
        assert [list(hit.legs) for hit in second] == [["text"]]
        assert [each.complete for each in (first, second)] == [True, False]


def test_the_repr_names_a_leg_without_words() -> None:
    dense, text = FOUND.legs
    first, second = fused_hits_of(REQUEST, dataclasses.replace(FOUND, legs=(dense, dataclasses.replace(text, wordless=(1,)))))
    assert (first.wordless, second.wordless) == ((), ("text",))
    assert repr(second) == f"<Hits {list(second)!r}, wordless: text>"
    assert repr(first) == repr(list(first))


def test_each_query_gets_its_own_explanations() -> None:
    for first, second in both():
        assert (tuple(first.explain), tuple(second.explain)) == ((EXPLAINED,), (EXPLAINED,))
        assert [each.arithmetic for each in first.explain.hits] == ["0.5 x 1", "0"]
        assert [each.penalty for each in second.explain.hits] == [0.25]
        assert {each.query for each in second.explain.legs} == {1}
        assert [each.query for each in second.explain.texts] == [1]


def test_hits_name_the_legs_whose_text_held_no_word_to_search_for() -> None:
    columns = (FOUND.legs[0], dataclasses.replace(FOUND.legs[1], wordless=(1,)))
    first, second = fused_hits_of(REQUEST, dataclasses.replace(FOUND, legs=columns))
    assert (first.wordless, second.wordless, shoal.Hits().wordless) == ((), ("text",), ())
    said = "<p>the text holds no word to search for, only stop words or punctuation: leg text found nothing</p>"
    assert said in second._repr_html_()
    assert said not in first._repr_html_()


def test_words_of_several_text_legs_are_told_of_none() -> None:
    legs = (dataclasses.replace(TEXT, name="one"), dataclasses.replace(TEXT, name="two"))
    columns = tuple(dataclasses.replace(each, name=leg.name) for each, leg in zip(FOUND.legs, legs, strict=True))
    first, _ = fused_hits_of(dataclasses.replace(REQUEST, legs=legs), dataclasses.replace(FOUND, legs=columns))
    assert [leg.words for leg in first[0].legs.values()] == [(), ()]
    assert first.explain.hits[0].words == (SHARE,)


def test_without_what_was_not_asked_for_they_are_plain() -> None:
    bare = dataclasses.replace(FOUND, highlights=None, group_values=None, explain=None, complete=())
    bare = dataclasses.replace(bare, hits=dataclasses.replace(FOUND.hits, payloads=None, vectors=None), missing_shards=("c/1",))
    first, _ = fused_hits_of(REQUEST, bare)
    hit = first[0]
    assert (hit.payload, hit.vector, hit.highlights, hit.group, hit.legs["text"].words) == (None, None, {}, None, ())
    assert (first.complete, first.missing_shards, first.explain, first.explain.hits) == (True, ("c/1",), (), ())
    assert hit.highlighted("body") == ""


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"hits": dataclasses.replace(FOUND.hits, counts=np.array([3]))}, "hits of 1 queries, 2 were asked"),
        ({"complete": (True,)}, "says of 1 queries"),
        ({"explain": dataclasses.replace(EXPLAIN, hits=())}, "explains 0 hits, it has 3"),
        ({"group_values": ("{", "1", "1")}, "no JSON"),
    ],
)
def test_an_answer_that_makes_no_sense_is_a_typed_error(change: dict[str, Any], words: str) -> None:
    with pytest.raises(Internal, match=words):
        fused_hits_of(REQUEST, dataclasses.replace(FOUND, **change))


def test_they_are_frozen_and_can_be_copied_and_pickled() -> None:
    (hits, _), _ = both()
    for again in (copy.copy(hits), copy.deepcopy(hits), pickle.loads(pickle.dumps(hits))):
        assert (again, again.explain, again.explain.legs, again.complete) == (hits, hits.explain, hits.explain.legs, True)
        assert again[0].legs == hits[0].legs
    for name in ("id", "payload", "legs", "group"):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(hits[0], name, None)
    with pytest.raises(AttributeError):
        _ = hits[0].__dict__
    assert {hits[0]: 1}[copy.deepcopy(hits[0])] == 1
    assert dataclasses.asdict(hits[1])["legs"] == {"dense": {"rank": 2, "score": 0.8, "words": ()}}
    assert isinstance(hits[0], shoal.Hit)


def test_other_hits_have_the_same_names_and_nothing_in_them() -> None:
    hit = shoal.Hit(1, 0.5, {"body": "red"})
    assert (dict(hit.legs), dict(hit.highlights), hit.group, hit.highlighted("body")) == ({}, {}, None, "red")
    assert [each.name for each in dataclasses.fields(hit)] == ["id", "score", "payload", "vector"]
    assert FusedHit(1, 0.5, {"body": "red"}) != hit
    assert (shoal.Hits().complete, shoal.Hits().explain, shoal.Hits().explain.legs) == (True, (), ())


@pytest.mark.parametrize(
    ("payload", "field", "text"),
    [
        ({"a": "x"}, "a", "x"),
        ({"a": ["x", 7, "y"]}, "a", "x\ny"),
        ({"a": {"b": "x"}}, "a.b", "x"),
        ({"a": [{"b": "x"}, {"b": "y"}, {"c": "z"}]}, "a.b", "x\ny"),
        ({"a": 7}, "a", ""),
        ({}, "a", ""),
        (None, "a", ""),
    ],
)
def test_the_text_of_a_field_is_its_strings(payload: dict[str, Any] | None, field: str, text: str) -> None:
    assert shoal.Hit(1, 0.5, payload).highlighted(field) == text


def test_highlighted_marks_spans_and_refuses_others() -> None:
    assert shoal.highlighted("如何扩容 TiKV", [(2, 4), (5, 9)]) == "如何**扩容** **TiKV**"
    assert shoal.highlighted("ab", [(0, 1), (1, 2)], "<", ">") == "<a><b>"
    assert shoal.highlighted("ab", []) == "ab"
    for spans in ([(1, 1)], [(0, 3)], [(-1, 1)], [(1, 2), (0, 1)], [(0, 2), (1, 2)]):
        with pytest.raises(InvalidArgument, match=r"span .* is not in what is left of the text"):
            shoal.highlighted("ab", spans)


def test_the_examples_of_the_guide_run() -> None:
    page = (ROOT / "docs/guide/searching.md").read_text(encoding="utf-8")
    chapter = page.partition("## By words, and by both")[2].partition("\n## ")[0]
    blocks = re.findall(r"^```python\n(.*?)^```$", chapter, flags=re.MULTILINE | re.DOTALL)
    assert len(blocks) == 3
    client = client_with(DictCluster())
    client.create_collection("kb", 2, text={"body": "auto", "title": "auto"})
    client.upsert("kb", [1, 2], [[0, 0], [1, 1]], [{"body": "scale out TiKV", "lang": "en"}, {"body": "a replica in memory", "lang": "en"}])
    scope: dict[str, Any] = {"client": client, "vector": [0.0, 0.0], "vectors": np.zeros((2, 2))}
    told = []
    for block in blocks:
        exec(block, scope)
        told.append([hit.id for hit in scope["hits"]])
    assert told == [[1, 2], [2, 1], [2, 1]]
    assert [len(page) for page in scope["pages"]] == [2, 2]
