from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.core.errors import InvalidArgument
from shoal.core.filter import Filter, In, Range
from shoal.core.fused_search import DenseLeg, FieldSpans, FusedSearch, GroupBy, TextLeg
from shoal.core.fusion_choice import Fusion, FusionKind, SearchDefaults
from shoal.core.limits import Limits
from shoal.core.metric import Metric
from shoal.core.requests import ReadAs
from shoal.core.shard_calls import Consistency, QueryGroup, ShardGet, ShardsSearch
from shoal.core.text_calls import TextMarksCall, TextSearchCall, TextStatsCall
from shoal.core.text_query import Match, TextAsk
from shoal.router.logic.rounds import legs_plan
from tests.support.fused_scene import (
    DIM,
    WORDS,
    ask,
    calls_of,
    candidates_by_brute_force,
    hybrid,
    ids_by_query,
    made_points,
    scene,
)
from tests.twins.shard_texts import texts_of, words_of

POINTS = made_points(40)
QUERIES = np.random.default_rng(5).integers(-3, 4, (2, DIM)).astype(np.float32) + np.float32(0.25)
ASKS = (TextAsk(text="ant bee"), TextAsk(text="cat fox eel", fields=(("body", 1.0), ("title", 2.0))))

asks = st.builds(
    TextAsk,
    text=st.lists(st.sampled_from(WORDS), min_size=1, max_size=3).map(" ".join),
    match=st.sampled_from(list(Match)),
    fields=st.sampled_from([(), (("title", 2.0),), (("body", 1.0), ("title", 0.5))]),
    must_not=st.sampled_from([(), ("dog",)]),
)
filters = st.sampled_from([None, In(("doc", "id"), ("d1", "d2")), Range(("at",), lt=12)])


def groups_for(first: Filter | None, second: Filter | None, k: int) -> tuple[QueryGroup, ...]:
    return (QueryGroup(k=k, filter=first, queries=np.array([0])), QueryGroup(k=k + 1, filter=second, queries=np.array([1])))


@settings(deadline=None, max_examples=60)
@given(
    count=st.integers(0, 40),
    seed=st.integers(0, 5),
    shards=st.integers(1, 5),
    workers=st.integers(1, 3),
    metric=st.sampled_from(list(Metric)),
    asked=st.tuples(asks, asks),
    fusion=st.none() | st.builds(Fusion, kind=st.sampled_from(list(FusionKind)), c=st.just(10.0)),
    weights=st.sampled_from([(None, None), (0.3, 0.7), (0.0, 1.0), (2.0, 0.0)]),
    chosen=st.tuples(filters, filters),
    k=st.integers(1, 6),
    candidates=st.integers(12, 30),
    offset=st.integers(0, 4),
    threshold=st.none() | st.floats(0, 0.9),
)
def test_it_agrees_with_brute_force_over_one_shard(
    count: int,
    seed: int,
    shards: int,
    workers: int,
    metric: Metric,
    asked: tuple[TextAsk, TextAsk],
    fusion: Fusion | None,
    weights: tuple[float | None, float | None],
    chosen: tuple[Filter | None, Filter | None],
    k: int,
    candidates: int,
    offset: int,
    threshold: float | None,
) -> None:
    cluster = scene(made_points(count, seed), shards=shards, workers=workers, metric=metric)
    question = hybrid(
        QUERIES,
        asked,
        legs=(DenseLeg(queries=QUERIES, weight=weights[0]), TextLeg(asks=asked, weight=weights[1])),
        groups=groups_for(*chosen, k),
        fusion=fusion,
        candidates=candidates,
        offset=offset,
        threshold=threshold,
        with_vectors=True,
    )
    found = ask(cluster, question)
    spec = cluster.view.current.by_name["a"].spec
    at = 0
    for query in range(2):
        expected = candidates_by_brute_force(cluster, legs_plan(question, spec), question, query, candidates)
        good = [
            place for place, score in enumerate(expected.scores.astype(np.float32)) if threshold is None or score >= np.float32(threshold)
        ]
        page = good[offset : offset + k + query]
        mine = slice(at, at + len(page))
        assert found.hits.counts[query] == len(page)
        assert found.hits.ids[mine].tolist() == expected.ids[page].tolist()
        assert found.hits.scores[mine].tolist() == expected.scores[page].astype(np.float32).tolist()
        for number, leg in enumerate(found.legs):
            assert leg.ranks[mine].tolist() == expected.ranks[number][page].tolist()
            assert repr(leg.scores[mine].tolist()) == repr(expected.raw[number][page].tolist())
        at = mine.stop
    stored = cluster.points()
    for point_id, payload, vector in zip(found.hits.ids.tolist(), found.hits.payloads, found.hits.vectors, strict=True):
        assert payload == stored[point_id][1]
        assert np.array_equal(vector, stored[point_id][0])


@pytest.mark.parametrize(
    "options", [{}, {"diversity": 0.5}, {"group_by": GroupBy(path="doc.id", size=2)}, {"diversity": 0.4, "group_by": GroupBy(path="at")}]
)
@pytest.mark.parametrize("kind", list(FusionKind))
def test_two_pages_are_one_of_both(options: dict[str, Any], kind: FusionKind) -> None:
    cluster = scene(made_points(60, groups=30))
    question = hybrid(QUERIES, ASKS, k=12, fusion=Fusion(kind=kind), candidates=30, **options)
    whole = ids_by_query(ask(cluster, question))
    first = ids_by_query(ask(cluster, dataclasses.replace(question, groups=(QueryGroup(k=5),))))
    second = ids_by_query(ask(cluster, dataclasses.replace(question, groups=(QueryGroup(k=7),), offset=5)))
    assert [a + b for a, b in zip(first, second, strict=True)] == whole
    assert all(whole)


def test_one_worker_that_has_all_shards_is_asked_once() -> None:
    cluster = scene(POINTS, workers=1, shards=4)
    ask(cluster, hybrid(QUERIES, ASKS))
    assert not calls_of(cluster, TextStatsCall)
    (search,) = calls_of(cluster, TextSearchCall)
    assert search.statistics is None
    assert len(search.shards) == 4
    assert len(calls_of(cluster, ShardsSearch)) == 1


def test_several_workers_score_by_the_counts_of_all() -> None:
    cluster = scene(POINTS, workers=2, shards=6)
    found = ask(cluster, hybrid(QUERIES, ASKS))
    stats, searches = calls_of(cluster, TextStatsCall), calls_of(cluster, TextSearchCall)
    assert [len(call.shards) for call in stats] == [3, 3]
    assert [len(call.shards) for call in searches] == [3, 3]
    assert searches[0].statistics == searches[1].statistics
    assert searches[0].statistics.fields["body"].rows == sum("body" in payload for _, payload in POINTS.values())
    alone = ask(scene(POINTS, workers=1, shards=1), hybrid(QUERIES, ASKS))
    assert found.hits.ids.tolist() == alone.hits.ids.tolist()
    assert found.legs[1].scores.tobytes() == alone.legs[1].scores.tobytes()


def test_the_legs_are_asked_for_candidates_and_only_hits_for_payloads() -> None:
    cluster = scene(POINTS, shards=4)
    ask(cluster, hybrid(QUERIES[:1], ASKS[:1], k=3, candidates=20))
    assert {(call.groups[0].k, call.with_payload, call.with_vectors) for call in calls_of(cluster, ShardsSearch)} == {(20, False, False)}
    assert {call.groups[0].k for call in calls_of(cluster, TextSearchCall)} == {20}
    assert sum(len(call.ids) for call in calls_of(cluster, ShardGet)) == 3


def test_nothing_is_read_if_nothing_is_wanted_of_the_points() -> None:
    cluster = scene(POINTS)
    found = ask(cluster, hybrid(QUERIES, ASKS, with_payload=False))
    assert not calls_of(cluster, ShardGet)
    assert (found.hits.payloads, found.hits.vectors) == (None, None)
    assert len(found.hits) == 10


def test_a_leg_of_weight_nothing_is_not_asked() -> None:
    cluster = scene(POINTS)
    legs = (DenseLeg(queries=QUERIES, weight=0.0), TextLeg(asks=ASKS))
    found = ask(cluster, hybrid(QUERIES, ASKS, legs=legs))
    assert not calls_of(cluster, ShardsSearch)
    assert not found.legs[0].ranks.any()
    assert np.isnan(found.legs[0].scores).all()
    assert found.legs[1].ranks.all()


def test_the_collection_says_what_a_search_does_not() -> None:
    defaults = SearchDefaults(fusion=Fusion(kind=FusionKind.RRF, c=7.0), dense_weight=3.0, text_weight=1.0, boosts=(("title", 4.0),))
    cluster = scene(POINTS, defaults=defaults)
    found = ask(cluster, hybrid(QUERIES[:1], ASKS[:1], explain=True))
    (asked,) = {call.asks[0] for call in calls_of(cluster, TextSearchCall)}
    assert asked.fields == (("title", 4.0), ("body", 1.0))
    assert found.explain.hits[0].arithmetic.startswith("(0.75 x 1 / (7 + ")
    said = hybrid(
        QUERIES[1:], ASKS[1:], fusion=Fusion(), legs=(DenseLeg(queries=QUERIES[1:], weight=1.0), TextLeg(asks=ASKS[1:])), explain=True
    )
    assert ask(cluster, said).explain.hits[0].arithmetic.startswith("(0.5 x (")
    assert calls_of(cluster, TextSearchCall)[-1].asks[0].fields == ASKS[1].fields


def test_a_single_leg_of_distances_keeps_them_and_its_threshold_is_a_distance() -> None:
    cluster = scene(POINTS, metric=Metric.L2)
    question = FusedSearch(collection="a", legs=(DenseLeg(queries=QUERIES[:1]),), groups=(QueryGroup(k=10),), candidates=20)
    found = ask(cluster, question)
    scores = found.hits.scores.tolist()
    assert scores == sorted(scores)
    assert found.legs[0].scores.tolist() == scores
    bounded = ask(cluster, dataclasses.replace(question, threshold=scores[4]))
    assert bounded.hits.scores.tolist() == [score for score in scores if score <= scores[4]]
    assert bounded.complete == (True,)
    least = ask(cluster, dataclasses.replace(question, legs=(DenseLeg(queries=QUERIES[:1], min_score=scores[2]),)))
    assert least.hits.scores.tolist() == [score for score in scores if score <= scores[2]]


def test_the_least_score_of_a_text_cuts_its_leg() -> None:
    cluster = scene(POINTS)
    question = FusedSearch(collection="a", legs=(TextLeg(asks=ASKS[:1]),), groups=(QueryGroup(k=20),))
    scores = ask(cluster, question).hits.scores.tolist()
    assert scores == sorted(scores, reverse=True)
    bound = (scores[3] + scores[4]) / 2 if scores[3] > scores[4] else scores[3]
    cut = ask(cluster, dataclasses.replace(question, legs=(TextLeg(asks=ASKS[:1], min_score=bound),)))
    assert cut.hits.scores.tolist() == [score for score in scores if score >= bound]


def test_groups_hold_the_best_hits_of_each_value() -> None:
    cluster = scene(POINTS)
    question = hybrid(QUERIES[:1], ASKS[:1], k=3, group_by=GroupBy(path="doc.id", size=2), candidates=40)
    found, ungrouped = ask(cluster, question), ask(cluster, dataclasses.replace(question, group_by=None, groups=(QueryGroup(k=40),)))
    by_group: dict[str, list[Any]] = {}
    for point_id in ungrouped.hits.ids.tolist():
        by_group.setdefault(json.dumps(POINTS[point_id][1]["doc"]["id"]), []).append(point_id)
    expected = [(value, point_id) for value, members in list(by_group.items())[:3] for point_id in members[:2]]
    assert list(zip(found.group_values, found.hits.ids.tolist(), strict=True)) == expected
    assert found.complete == (True,)


def test_groups_are_looked_for_deeper_until_there_are_enough() -> None:
    points = made_points(60)
    for at, (_, payload) in enumerate(points.values()):
        payload["doc"]["id"] = "usual" if at < 50 else f"rare{at}"
    cluster = scene(points)
    vectors = np.stack([points[at][0] for at in (0,)])
    question = FusedSearch(
        collection="a",
        legs=(DenseLeg(queries=vectors),),
        groups=(QueryGroup(k=11),),
        group_by=GroupBy(path="doc.id"),
        candidates=2,
        explain=True,
    )
    found = ask(cluster, question)
    assert len(set(found.group_values)) == 11
    assert found.complete == (True,)
    assert sorted({call.groups[0].k for call in calls_of(cluster, ShardsSearch)}) == [2, 8, 32, 128]
    assert [leg.hits for leg in found.explain.legs] == [60]
    too_many = ask(cluster, dataclasses.replace(question, groups=(QueryGroup(k=12),)))
    assert len(too_many.hits) == 11
    assert too_many.complete == (True,)


@pytest.mark.parametrize("diversity", [0.0, 0.6])
@pytest.mark.parametrize("kind", list(FusionKind))
def test_pages_of_groups_are_slices_however_deep_they_are_found(diversity: float, kind: FusionKind) -> None:
    points = made_points(60)
    for at, (_, payload) in enumerate(points.values()):
        payload["doc"]["id"] = f"d{at % 3}" if at % 10 else f"rare{at}"
    cluster = scene(points)
    question = hybrid(
        QUERIES, ASKS, k=9, fusion=Fusion(kind=kind), candidates=3, diversity=diversity, group_by=GroupBy(path="doc.id", size=2)
    )
    whole = ask(cluster, question)
    assert len({call.groups[0].k for call in calls_of(cluster, TextSearchCall)}) > 1
    values = [
        whole.group_values[start:end] for start, end in ((0, int(whole.hits.counts[0])), (int(whole.hits.counts[0]), len(whole.hits)))
    ]
    assert [len(set(each)) for each in values] == [9, 9]
    pages = [ask(cluster, dataclasses.replace(question, groups=(QueryGroup(k=3),), offset=offset)) for offset in (0, 3, 6)]
    assert [[*first, *second, *third] for first, second, third in zip(*map(ids_by_query, pages), strict=True)] == ids_by_query(whole)


def test_a_score_that_was_shown_is_a_threshold_that_it_passes() -> None:
    cluster = scene(POINTS)
    question = hybrid(QUERIES[:1], ASKS[:1], k=10)
    shown = ask(cluster, question).hits.scores.tolist()
    for rank, score in enumerate(shown):
        assert len(ask(cluster, dataclasses.replace(question, threshold=score)).hits) >= rank + 1


def test_groups_that_the_limit_hides_are_told_of() -> None:
    points = made_points(30)
    for _, payload in points.values():
        payload["doc"]["id"] = "usual"
    cluster = scene(points, limits=Limits(k=8))
    question = hybrid(QUERIES, ASKS, k=2, group_by=GroupBy(path="doc.id"), candidates=4, legs=(DenseLeg(queries=QUERIES),))
    found = ask(cluster, question)
    assert found.hits.counts.tolist() == [1, 1]
    assert found.complete == (False, False)


def test_points_without_a_value_are_in_no_group() -> None:
    cluster = scene(POINTS)
    found = ask(cluster, hybrid(QUERIES[:1], ASKS[:1], k=40, group_by=GroupBy(path="title")))
    titles = {json.dumps(payload["title"]) for _, payload in POINTS.values() if "title" in payload}
    assert set(found.group_values) <= titles
    assert len(found.group_values) == len(set(found.group_values))


def test_diversity_picks_unlike_hits() -> None:
    cluster = scene(POINTS)
    question = hybrid(QUERIES[:1], ASKS[:1], k=8, explain=True)
    plain, diverse = ask(cluster, question), ask(cluster, dataclasses.replace(question, diversity=0.7))
    assert plain.hits.ids[0] == diverse.hits.ids[0]
    assert plain.hits.ids.tolist() != diverse.hits.ids.tolist()
    assert [each.penalty for each in plain.explain.hits] == [0.0] * 8
    assert diverse.explain.hits[0].penalty == 0.0
    assert any(each.penalty for each in diverse.explain.hits)
    reads = [call for call in calls_of(cluster, ShardGet) if call.with_vectors]
    assert reads
    assert not any(call.with_payload for call in reads)


def test_vectors_alone_are_picked_by_their_cosine_to_the_query() -> None:
    for metric in Metric:
        cluster = scene(POINTS, metric=metric)
        question = FusedSearch(
            collection="a", legs=(DenseLeg(queries=QUERIES[:1]),), groups=(QueryGroup(k=6),), candidates=15, diversity=0.5
        )
        ids = ask(cluster, dataclasses.replace(question, diversity=0.0, groups=(QueryGroup(k=15),))).hits.ids.tolist()
        vectors = np.stack([POINTS[each][0] for each in ids]).astype(np.float64)
        units = vectors / np.linalg.norm(vectors, axis=1)[:, None]
        query = QUERIES[0].astype(np.float64) / np.linalg.norm(QUERIES[0])
        relevance = units @ query
        picks = [int(np.argmax(relevance))]
        while len(picks) < 6:
            worth = [0.5 * relevance[at] - 0.5 * max(units[at] @ units[each] for each in picks) for at in range(len(ids))]
            picks.append(max((at for at in range(len(ids)) if at not in picks), key=lambda at: (round(worth[at], 9), -at)))
        assert ask(cluster, question).hits.ids.tolist() == [ids[at] for at in picks]


def test_highlights_are_the_words_of_all_text_legs() -> None:
    cluster = scene(POINTS)
    legs = (DenseLeg(queries=QUERIES), TextLeg(asks=ASKS), TextLeg(asks=(TextAsk(text="dog"),) * 2, name="more"))
    found = ask(cluster, hybrid(QUERIES, ASKS, legs=legs, highlight=True))
    wanted = [{"ant", "bee", "dog"}] * 5 + [{"cat", "fox", "eel", "dog"}] * 5
    assert len(found.highlights) == 10
    for point_id, words, marks in zip(found.hits.ids.tolist(), wanted, found.highlights, strict=True):
        payload = POINTS[point_id][1]
        expected = []
        for name in ("body", "title"):
            text = payload.get(name, "")
            spans, at = [], 0
            for word in text.split():
                begin = text.index(word, at)
                at = begin + len(word)
                if word in words:
                    spans.append((begin, at))
            if spans:
                expected.append(FieldSpans(name, tuple(spans)))
        assert list(marks) == expected
    assert calls_of(cluster, TextMarksCall)


def test_a_search_explains_itself() -> None:
    cluster = scene(POINTS)
    found = ask(cluster, hybrid(QUERIES, ASKS, explain=True, candidates=30))
    explain = found.explain
    assert [(leg.query, leg.leg) for leg in explain.legs] == [(0, "dense"), (0, "text"), (1, "dense"), (1, "text")]
    assert all(leg.hits + leg.padded == 30 for leg in explain.legs)
    assert len(explain.hits) == len(found.hits)
    for hit, score, text, rank in zip(explain.hits, found.hits.scores, found.legs[1].scores, found.legs[1].ranks, strict=True):
        assert eval(hit.arithmetic.replace(" x ", " * "), {"__builtins__": {}}) == pytest.approx(score, rel=1e-3, abs=1e-3)
        assert bool(hit.words) == bool(rank)
        if rank:
            assert sum(word.share for word in hit.words) == pytest.approx(text)
    assert {(each.query, each.shard) for each in explain.texts} == {(query, shard) for query in (0, 1) for shard in (0, 1, 2)}
    assert {each.shard for each in explain.segments} == {0, 1, 2}
    assert ask(cluster, hybrid(QUERIES, ASKS)).explain is None


def test_each_call_has_the_conditions_of_the_read() -> None:
    cluster = scene(POINTS)
    ask(cluster, hybrid(QUERIES, ASKS, read=ReadAs(consistency=Consistency.PRIMARY, caller="me"), highlight=True))
    for kind in (TextStatsCall, TextSearchCall, ShardsSearch):
        assert {(call.consistency, call.caller) for call in calls_of(cluster, kind)} <= {(Consistency.PRIMARY, "me")}
    for kind in (ShardGet, TextMarksCall):
        assert {(call.terms.consistency, call.terms.caller) for call in calls_of(cluster, kind)} == {(Consistency.PRIMARY, "me")}


def test_an_empty_collection_has_no_hits() -> None:
    found = ask(
        scene({}), hybrid(QUERIES, ASKS, explain=True, diversity=0.5, highlight=True, group_by=GroupBy(path="a"), with_vectors=True)
    )
    assert found.hits.counts.tolist() == [0, 0]
    assert found.complete == (True, True)
    assert found.hits.vectors.shape == (0, DIM)
    assert (found.highlights, found.group_values, found.explain.hits) == ((), (), ())


def test_the_twin_finds_what_a_reader_would() -> None:
    cluster = scene(POINTS, shards=1, workers=1)
    must = FusedSearch(
        collection="a",
        legs=(TextLeg(asks=(TextAsk(text="ant", must=("bee",), must_not=("dog",)),)),),
        groups=(QueryGroup(k=40),),
    )
    found = set(ask(cluster, must).hits.ids.tolist())
    (shard,) = (shard for worker in cluster.workers.values() for shard in worker.shards.values())
    texts = {point_id: texts_of(shard, point_id) for point_id in POINTS}
    assert found == {
        point_id
        for point_id, fields in texts.items()
        if any("bee" in words for words in fields.values()) and not any("dog" in words for words in fields.values())
    }
    assert words_of("A b") == ["a", "b"]


def test_a_fault_is_told_before_any_worker_is_asked() -> None:
    cluster = scene(POINTS)
    with pytest.raises(InvalidArgument, match="diversity"):
        ask(cluster, hybrid(QUERIES, ASKS, diversity=2.0))
    assert not any(worker.calls for worker in cluster.workers.values())
