from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from shoal.core.collection import CollectionSpec
from shoal.core.errors import InvalidArgument
from shoal.core.filter import In
from shoal.core.fused_search import DenseLeg, FusedSearch, GroupBy, TextLeg
from shoal.core.fusion_choice import Fusion, FusionKind, SearchDefaults
from shoal.core.limits import DEFAULT_LIMITS, Limits
from shoal.core.metric import Metric
from shoal.core.shard_calls import Breadth, QueryGroup, RecallTarget
from shoal.core.text_fields import TextField
from shoal.core.text_query import TextAsk
from shoal.router.logic.fused_checks import MOST_GROUP_SIZE, MOST_LEGS, check_fused

SPEC = CollectionSpec(name="a", dim=3, metric=Metric.COSINE, text=(TextField(name="body"),))
ONES = np.ones((2, 3), np.float32)
DENSE, TEXT = DenseLeg(queries=ONES), TextLeg(asks=(TextAsk(text="a"), TextAsk(prefix="b")))
GOOD = FusedSearch(collection="a", legs=(DENSE, TEXT), groups=(QueryGroup(k=10),))


def with_legs(*legs: Any) -> dict[str, Any]:
    return {"legs": legs}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"candidates": 16_384},
        {"candidates": 10},
        {"offset": 90},
        {"threshold": -5.0},
        {"diversity": 1.0},
        {"group_by": GroupBy(path="a.b", size=MOST_GROUP_SIZE)},
        {"group_by": GroupBy(path="a"), "offset": 16_374},
        {"highlight": True},
        {"fusion": Fusion(kind=FusionKind.RRF, c=0.1)},
        with_legs(TEXT),
        with_legs(DENSE),
        with_legs(*(dataclasses.replace(DENSE, name=str(at)) for at in range(MOST_LEGS))),
        with_legs(dataclasses.replace(DENSE, weight=0.0), TEXT),
        with_legs(dataclasses.replace(DENSE, min_score=-1.0), dataclasses.replace(TEXT, min_score=3.0)),
        {"groups": (QueryGroup(k=1, queries=np.array([1])), QueryGroup(k=100, queries=np.array([0])))},
    ],
)
def test_what_is_allowed_passes(changes: dict[str, Any]) -> None:
    check_fused(dataclasses.replace(GOOD, **changes), SPEC, DEFAULT_LIMITS)


def field_and_words(question: FusedSearch, spec: CollectionSpec = SPEC, limits: Limits = DEFAULT_LIMITS) -> tuple[str | None, str]:
    with pytest.raises(InvalidArgument) as caught:
        check_fused(question, spec, limits)
    return caught.value.details.field, caught.value.message


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        (with_legs(), "legs", "0 legs, it must have 1 to 16"),
        (with_legs(*[DENSE] * 17), "legs", "17 legs"),
        (with_legs(TEXT, TEXT), "legs", "have the name 'text'"),
        (with_legs(dataclasses.replace(DENSE, name="")), "name", "1-64"),
        (with_legs(dataclasses.replace(DENSE, name="x" * 65)), "name", "65"),
        (with_legs(dataclasses.replace(DENSE, weight=-1.0)), "weight", "-1.0"),
        (with_legs(dataclasses.replace(DENSE, weight=math.inf)), "weight", "inf"),
        (with_legs(dataclasses.replace(DENSE, weight=math.nan)), "weight", "nan"),
        (with_legs(dataclasses.replace(DENSE, weight=0.0)), "weight", "all legs have the weight 0"),
        (with_legs(dataclasses.replace(DENSE, min_score=math.nan)), "min_score", "nan"),
        (with_legs(DENSE, TextLeg(asks=(TextAsk(text="a"),))), "legs", "1 queries and legs[0] has 2"),
        (with_legs(DenseLeg(queries=ONES[:0])), "legs", "0 queries"),
        (with_legs(DenseLeg(queries=ONES[:, :2])), "vectors", "dimension 2, the collection has 3"),
        (with_legs(TEXT, DenseLeg(queries=ONES[:, :2])), "legs[1].vectors", "legs[1].vectors have dimension 2"),
        (with_legs(DenseLeg(queries=ONES * np.float32(np.nan))), "vectors", "NaN"),
        (with_legs(DenseLeg(queries=ONES * 0)), "vectors", "zero"),
        (with_legs(TextLeg(asks=(TextAsk(text="a"), TextAsk()))), "text", "query 1: "),
        (with_legs(TextLeg(asks=(TextAsk(text="a", fields=(("tittle", 1.0),)),))), "fields", "'tittle', the text fields"),
        ({"groups": (QueryGroup(k=0),)}, "k", "0"),
        ({"groups": (QueryGroup(k=1, queries=np.array([0])),)}, "groups", "query 1"),
        ({"groups": (QueryGroup(k=1, filter=In(("",), (1,))),)}, "filter", "empty key"),
        ({"accuracy": RecallTarget(2.0)}, "recall", "2.0"),
        ({"accuracy": Breadth(ef=0)}, "params", "ef is 0"),
        ({"candidates": 0}, "candidates", "0"),
        ({"candidates": 16_385}, "candidates", "16385"),
        ({"fusion": Fusion(kind=FusionKind.RRF, c=0.0)}, "c", "0.0"),
        ({"fusion": Fusion(kind=FusionKind.RRF, c=math.nan)}, "c", "nan"),
        ({"threshold": math.nan}, "threshold", "nan"),
        ({"diversity": 1.5}, "diversity", "1.5"),
        ({"diversity": math.nan}, "diversity", "nan"),
        ({"diversity": -0.1}, "diversity", "-0.1"),
        ({"offset": -1}, "offset", "-1"),
        ({"offset": 91}, "offset", "offset 91 + k 10 is 101, but each leg finds 100 candidates"),
        ({"groups": (QueryGroup(k=101),)}, "k", "offset 0 + k 101 is 101"),
        ({"group_by": GroupBy(path="")}, "group_by", "no path"),
        ({"group_by": GroupBy(path="a", size=0)}, "group_by", "0, it must be from 1 to 100"),
        ({"group_by": GroupBy(path="a", size=101)}, "group_by", "101"),
        ({"group_by": GroupBy(path="a"), "offset": 16_375}, "offset", "at most 16384 candidates"),
        ({"diversity": 0.5, "candidates": 16_384, "groups": (QueryGroup(k=100),)}, "diversity", "comparisons"),
        ({"legs": (DENSE,), "highlight": True}, "highlight", "no leg has texts"),
    ],
)  # fmt: skip
def test_what_is_not_allowed_is_named(changes: dict[str, Any], field: str, words: str) -> None:
    found, message = field_and_words(dataclasses.replace(GOOD, **changes))
    assert found == field
    assert words in message


def test_amounts_are_bounded() -> None:
    assert field_and_words(GOOD, limits=Limits(batch_hits=399))[0] == "candidates"
    check_fused(GOOD, SPEC, Limits(batch_hits=400))
    grouped = dataclasses.replace(GOOD, group_by=GroupBy(path="a", size=100))
    field, words = field_and_words(grouped, limits=Limits(batch_hits=1_999))
    assert field == "k"
    assert "2000 hits" in words
    assert field_and_words(GOOD, limits=Limits(batch_queries=1))[0] == "legs"


def test_a_leg_that_is_not_searched_is_no_amount() -> None:
    question = dataclasses.replace(GOOD, legs=(dataclasses.replace(DENSE, weight=0.0), TEXT))
    check_fused(question, SPEC, Limits(batch_hits=200))


def test_a_collection_without_texts_cannot_be_searched_by_text() -> None:
    field, words = field_and_words(GOOD, spec=dataclasses.replace(SPEC, text=()))
    assert field == "fields"
    assert "no text field" in words
    assert "alter" in words


def test_weights_of_the_collection_count_where_a_leg_has_none() -> None:
    spec = dataclasses.replace(SPEC, defaults=SearchDefaults(dense_weight=0.0))
    assert field_and_words(dataclasses.replace(GOOD, legs=(DENSE,)), spec=spec) == (
        "weight",
        "all legs have the weight 0, at least one must have more",
    )
    check_fused(dataclasses.replace(GOOD, legs=(dataclasses.replace(DENSE, weight=1.0),)), spec, DEFAULT_LIMITS)
