"""Test searches of several legs by different vectors of the same points."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.core.errors import InvalidArgument
from shoal.core.fused_search import DenseLeg, FusedFound, FusedSearch, TextLeg
from shoal.core.fusion import LegHits, LegRule, fuse
from shoal.core.fusion_choice import Fusion, FusionKind
from shoal.core.metric import Metric
from shoal.core.points import PointId, id_array
from shoal.core.shard_calls import QueryGroup
from shoal.core.text_query import TextAsk
from tests.twins.cluster import TwinCluster
from tests.unit.router.verbs.test_named_vectors import (
    DOT,
    IMAGE,
    TEXT,
    VECTORS,
    Named,
    best,
    by_id,
    cluster_of,
    points_by_id,
    upsert,
)


def leg(vector: str, query: list[float], **options: Any) -> DenseLeg:
    return DenseLeg(queries=np.array([query], np.float32), vector=vector, **{"name": vector, **options})


def search(cluster: TwinCluster, *legs: Any, k: int = 5, **options: Any) -> FusedFound:
    question = FusedSearch(collection="a", legs=legs, groups=(QueryGroup(k=k),), **options)
    return asyncio.run(cluster.router.fused.search(question, 10.0))


@settings(max_examples=60, deadline=None)
@given(points_by_id, st.sampled_from(list(FusionKind)), st.sampled_from([(IMAGE, TEXT, DOT), (DOT, IMAGE), (TEXT,), (IMAGE,)]))
def test_legs_by_different_vectors_are_fused_each_with_its_metric(
    points: dict[PointId, Named], kind: FusionKind, vectors: tuple[Any, ...]
) -> None:
    cluster = cluster_of()
    upsert(cluster, points)
    queries = {"image": [1.0, 2.0, 3.0], "text": [1.0, -1.0], "dot": [2.0]}
    found = search(
        cluster, *(leg(each.name, queries[each.name]) for each in vectors), k=50, fusion=Fusion(kind=kind), with_vectors=True, explain=True
    )
    legs = []
    for each in vectors:
        hits = best(points, each, queries[each.name], 100)
        legs.append(LegHits(ids=id_array(point_id for point_id, _ in hits), scores=np.array([score for _, score in hits], np.float64)))
    rules = [LegRule(name=each.name, weight=1.0, smaller_is_better=each.metric is Metric.L2, padded_to=0) for each in vectors]
    wanted = fuse(legs, rules, Fusion(kind=kind))
    assert found.hits.ids.tolist() == wanted.ids.tolist()[:50]
    assert found.hits.scores.tolist() == wanted.scores.astype(np.float32).tolist()[:50]
    assert by_id(found.hits) == {each: points[each] for each in found.hits.ids.tolist()}
    assert found.explain is not None
    assert {each.vector for each in found.explain.segments} == {each.name for each in vectors}


def test_a_least_score_is_that_of_the_leg() -> None:
    cluster = cluster_of()
    upsert(cluster, {1: {"image": [0, 0, 0], "dot": [5]}, 2: {"image": [3, 0, 0], "dot": [1]}, 3: {"dot": [4]}})
    near, large = leg("image", [0, 0, 0], min_score=4.0), leg("dot", [1], min_score=3.0)
    found = search(cluster, near, large)
    assert sorted(found.hits.ids.tolist()) == [1, 3]
    assert {each.name: each.ranks.tolist() for each in found.legs} == {"image": [1, 0], "dot": [1, 2]}


def test_a_text_and_two_vectors_are_fused() -> None:
    cluster = cluster_of()
    points: dict[PointId, Named] = {1: {"image": [0, 0, 0]}, 2: {"text": [1, 0]}, 3: {}}
    upsert(cluster, points, (None, None, b'{"body":"raft log"}'))
    found = search(
        cluster, leg("image", [0, 0, 0]), leg("text", [1, 0]), TextLeg(asks=(TextAsk(text="raft"),), name="words"), with_vectors=True
    )
    assert sorted(found.hits.ids.tolist()) == [1, 2, 3]
    assert by_id(found.hits) == points


DIVERSE: dict[PointId, Named] = {
    1: {"image": [1, 0, 0], "text": [1, 0]},
    2: {"image": [0, 1, 0], "text": [1, 0.1]},
    3: {"image": [1, 0.1, 0], "text": [0, 1]},
    4: {"text": [1, 0.05]},
}


@pytest.mark.parametrize(
    ("legs", "ids"),
    [
        ((leg("text", [1, 0]),), [1, 3, 2]),
        ((leg("image", [1, 0, 0], weight=0.0), leg("text", [1, 0])), [1, 3, 2]),
        ((leg("text", [1, 0]), leg("image", [1, 0, 0], weight=0.0)), [1, 3, 2]),
    ],
)
def test_diversity_compares_the_vector_of_the_first_leg_that_is_searched_by_one(legs: tuple[DenseLeg, ...], ids: list[PointId]) -> None:
    cluster = cluster_of()
    upsert(cluster, {key: DIVERSE[key] for key in (1, 2, 3)})
    assert search(cluster, *legs, diversity=0.6).hits.ids.tolist() == ids


def test_diversity_of_texts_compares_the_vector_of_a_leg_that_is_not_searched_and_a_point_without_it_is_like_nothing() -> None:
    cluster = cluster_of()
    upsert(cluster, DIVERSE, (b'{"body":"a a a"}', b'{"body":"a a"}', b'{"body":"a a"}', b'{"body":"a"}'))
    texts = TextLeg(asks=(TextAsk(text="a"),), name="words")
    for vector, query in (("image", [9, 9, 9]), ("text", [9, 9])):
        found = search(cluster, texts, leg(vector, query, weight=0.0), diversity=0.999, explain=True)
        ids = found.hits.ids.tolist()
        assert found.explain is not None
        penalties = dict(zip(ids, [each.penalty for each in found.explain.hits], strict=True))
        if vector == "image":
            assert ids[0] == 1
            assert ids[-1] == 3
            assert penalties[4] == 0.0
        else:
            assert ids[:2] == [1, 3]
            assert penalties[4] > 0.9


def test_diversity_without_a_vector_to_compare_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="add a leg by one of image, text, dot, with weight 0") as caught:
        search(cluster_of(), TextLeg(asks=(TextAsk(text="a"),)), diversity=0.5)
    assert caught.value.details.field == "diversity"


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (leg("img", [1]), "no vector 'img', it has image, text, dot"),
        (leg("", [1], name="x"), "give the name of one: image, text, dot"),
        (leg("text", [1, 2, 3]), r"legs\[1\].vectors have dimension 3, vector 'text' has 2"),
        (leg("text", [0, 0]), r"legs\[1\].vectors\[0\] is zero"),
        (leg("dot", [1], name="image"), "have the name 'image'"),
    ],
)
def test_a_leg_that_fits_no_vector_is_refused(wrong: DenseLeg, told: str) -> None:
    with pytest.raises(InvalidArgument, match=told):
        search(cluster_of(), leg("image", [1, 2, 3]), wrong)


def test_all_names_may_be_searched_at_once() -> None:
    cluster = cluster_of()
    upsert(cluster, {1: {"dot": [1]}})
    names = [each.name for each in VECTORS]
    queries = {"image": [1.0, 2.0, 3.0], "text": [1.0, 1.0], "dot": [1.0]}
    assert search(cluster, *(leg(name, queries[name]) for name in names)).hits.ids.tolist() == [1]
