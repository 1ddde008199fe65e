from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.core.collection import CollectionSpec
from shoal.core.filter import In
from shoal.core.fused_search import DenseLeg, FusedSearch, TextLeg
from shoal.core.fusion_choice import Fusion, FusionKind, SearchDefaults
from shoal.core.metric import Metric
from shoal.core.points import PointId, id_array, id_order
from shoal.core.shard_calls import QueryGroup
from shoal.core.text_calls import TextHitColumns, WordShare
from shoal.core.text_fields import TextField
from shoal.core.text_query import TextAsk
from shoal.router.logic.rounds import boosted, deeper, groups_at, legs_plan
from shoal.router.logic.text_gather import gather_texts, leg_hits, shares_by_query

SPEC = CollectionSpec(name="a", dim=2, metric=Metric.L2, text=(TextField(name="body"), TextField(name="title")))
LEGS = (DenseLeg(queries=np.ones((1, 2), np.float32)), TextLeg(asks=(TextAsk(text="a"),)))
QUESTION = FusedSearch(collection="a", legs=LEGS, groups=(QueryGroup(k=1),))


def test_what_is_not_said_is_the_collections() -> None:
    defaults = SearchDefaults(fusion=Fusion(kind=FusionKind.MINMAX), dense_weight=0.0, text_weight=2.0)
    plan = legs_plan(QUESTION, CollectionSpec(name="a", dim=2, defaults=defaults))
    assert (plan.weights, plan.fusion.kind, plan.searched) == ((0.0, 2.0), FusionKind.MINMAX, (1,))
    assert plan.lone_vectors is None
    assert [rule.padded_to for rule in plan.rules(30)] == [0, 30]
    other = legs_plan(QUESTION, SPEC)
    assert (other.weights, other.fusion) == ((1.0, 1.0), Fusion())
    assert [rule.smaller_is_better for rule in other.rules(5)] == [True, False]
    assert not other.ascending


def test_a_single_leg_of_distances_ascends() -> None:
    plan = legs_plan(FusedSearch(collection="a", legs=LEGS[:1], groups=QUESTION.groups), SPEC)
    assert plan.ascending
    assert plan.lone_vectors is LEGS[0]


def test_an_ask_that_names_no_field_names_all_with_the_boosts_of_the_collection() -> None:
    spec = CollectionSpec(name="a", dim=2, text=SPEC.text, defaults=SearchDefaults(boosts=(("title", 3.0),)))
    assert boosted(TextAsk(text="a"), spec).fields == (("body", 1.0), ("title", 3.0))
    named = TextAsk(text="a", fields=(("body", 2.0),))
    assert boosted(named, spec) is named
    assert boosted(TextAsk(text="a"), SPEC).fields == (("body", 1.0), ("title", 1.0))


def test_groups_are_numbered_anew() -> None:
    first, second = In(("a",), (1,)), In(("a",), (2,))
    groups = (QueryGroup(k=3, filter=first, queries=np.array([0, 2, 5])), QueryGroup(k=9, filter=second, queries=np.array([1, 3, 4])))
    got = groups_at(groups, np.array([2, 3, 5]), 50)
    assert [(group.k, group.filter, group.queries.tolist()) for group in got] == [(50, first, [0, 2]), (50, second, [1])]
    (alone,) = groups_at(groups, np.array([1]), 50)
    assert (alone.filter, alone.queries.tolist()) == (second, [0])
    assert groups_at((QueryGroup(k=3, filter=first),), np.array([2]), 7)[0].queries is None


@pytest.mark.parametrize(
    ("candidates", "most", "following"), [(100, 16_384, 400), (6_400, 16_384, 16_384), (16_384, 16_384, None), (3, 5, 5)]
)
def test_rounds_go_four_times_as_deep(candidates: int, most: int, following: int | None) -> None:
    assert deeper(candidates, most) == following


point_ids = st.one_of(st.integers(0, 30), st.sampled_from("abcdef"))


@settings(deadline=None)
@given(
    st.lists(
        st.lists(st.dictionaries(point_ids, st.integers(0, 3).map(float), max_size=6), min_size=2, max_size=2), min_size=1, max_size=4
    ),
    st.integers(1, 5),
)
def test_texts_are_merged_by_score_and_id(parts: list[list[dict[PointId, float]]], k: int) -> None:
    """Each point is in one part, as each belongs to one shard."""
    owned = [
        [{(f"{at}{each}" if isinstance(each, str) else each * 10 + at): score for each, score in found.items()} for found in part]
        for at, part in enumerate(parts)
    ]

    def key(hit: tuple[PointId, float]) -> tuple[object, ...]:
        return (-hit[1], id_order(hit[0]))

    columns = []
    for part in owned:
        hits = [sorted(found.items(), key=key)[:k] for found in part]
        flat = [hit for each in hits for hit in each]
        columns.append(
            TextHitColumns(
                counts=np.array([len(each) for each in hits]),
                ids=id_array(point_id for point_id, _ in flat),
                scores=np.array([score for _, score in flat], dtype=np.float64),
                shares=tuple((WordShare("f", str(point_id), score),) for point_id, score in flat),
            )
        )
    merged = gather_texts(columns, k)
    expected = [sorted((hit for part in owned for hit in part[query].items()), key=key)[:k] for query in range(2)]
    assert merged.counts.tolist() == [len(each) for each in expected]
    assert merged.ids.tolist() == [point_id for each in expected for point_id, _ in each]
    assert merged.scores.tolist() == [score for each in expected for _, score in each]
    assert [words[0].word for words in merged.shares or ()] == [str(point_id) for each in expected for point_id, _ in each]
    assert [hits.ids.tolist() for hits in leg_hits(merged)] == [[point_id for point_id, _ in each] for each in expected]
    assert [list(shares) for shares in shares_by_query(merged)] == [[point_id for point_id, _ in each] for each in expected]
