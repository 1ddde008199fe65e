from __future__ import annotations

import itertools
import math
import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.core.fusion import Candidates, LegHits, LegRule, arithmetic, fuse, shares_of
from shoal.core.fusion_choice import Fusion, FusionKind
from shoal.core.points import PointId, id_array, id_order

DENSE, TEXT = LegRule(name="dense", weight=1.0), LegRule(name="text", weight=1.0, padded_to=5)
fusions = st.builds(Fusion, kind=st.sampled_from(list(FusionKind)), c=st.floats(0.5, 100))
values = st.one_of(st.integers(-4, 4).map(float), st.floats(-1e3, 1e3), st.floats(allow_nan=True, allow_infinity=True))
point_ids = st.one_of(st.integers(0, 12), st.sampled_from(["a", "b", "c"]))


def leg(found: dict[PointId, float], rule: LegRule = DENSE) -> LegHits:
    """Return hits as a leg gives them: best first, the smaller id first where scores are equal."""
    sign = 1 if rule.smaller_is_better else -1
    worst = math.inf

    def key(point_id: PointId) -> tuple[object, ...]:
        score = found[point_id]
        return (worst if math.isnan(score) else sign * score, id_order(point_id))

    ids = sorted(found, key=key)
    return LegHits(ids=id_array(ids), scores=np.array([found[each] for each in ids], dtype=np.float64))


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[LegHits], list[LegRule]]:
    count = draw(st.integers(2, 4))
    rules = [
        LegRule(
            name=str(at),
            weight=draw(st.floats(0.01, 10)),
            smaller_is_better=draw(st.booleans()),
            padded_to=draw(st.sampled_from([0, 0, 3, 20])),
        )
        for at in range(count)
    ]
    rules = [LegRule(name=each.name, weight=each.weight, padded_to=each.padded_to) if each.padded_to else each for each in rules]
    found = [draw(st.dictionaries(point_ids, values.map(abs) if rule.padded_to else values, max_size=8)) for rule in rules]
    return [leg(each, rule) for each, rule in zip(found, rules, strict=True)], rules


def slowly_fused(legs: list[LegHits], rules: list[LegRule], fusion: Fusion) -> dict[PointId, float]:
    """Return the fused score of each point, as the documentation states it, number by number."""
    total: dict[PointId, float] = {}
    whole = 0.0
    weights = sum(rule.weight for rule in rules)
    for hits, rule in zip(legs, rules, strict=True):
        ids, given = hits.ids.tolist(), hits.scores.tolist()
        for each in ids:
            total.setdefault(each, 0.0)
        if not ids:
            continue
        bad = 1e100 if rule.smaller_is_better else -1e100
        scores = [bad if math.isnan(each) else max(-1e100, min(1e100, each)) for each in given]
        good = [-each if rule.smaller_is_better else each for each in scores]
        padded = good + [0.0] * max(0, rule.padded_to - len(good))
        low, high = min(padded), max(padded)
        if fusion.kind is FusionKind.RRF:
            gains = [1 / (fusion.c + rank) for rank in range(1, len(good) + 1)]
        elif low == high:
            gains = [1.0] * len(good)
        else:
            size = high - low
            gains = [(each - low) / size for each in good]
            if fusion.kind is FusionKind.ZSCORE:
                spread = statistics.pstdev([(each - low) / size for each in padded])
                gains = [each / spread for each in gains]
        for each, gain in zip(ids, gains, strict=True):
            total[each] += rule.weight / weights * gain
        whole += rule.weight / weights * max(gains)
    return {each: score / whole for each, score in total.items()} if whole else total


@settings(deadline=None, max_examples=300)
@given(cases(), fusions)
def test_it_agrees_with_the_formulas(case: tuple[list[LegHits], list[LegRule]], fusion: Fusion) -> None:
    legs, rules = case
    found, expected = fuse(legs, rules, fusion), slowly_fused(legs, rules, fusion)
    ids = found.ids.tolist()
    assert set(ids) == set(expected)
    assert len(ids) == len(expected)
    assert found.scores == pytest.approx([expected[each] for each in ids], rel=1e-9, abs=1e-12)
    assert np.isfinite(found.scores).all()
    assert ((found.scores >= 0) & (found.scores <= 1)).all()
    keys = [(-score, id_order(each)) for score, each in zip(found.scores.tolist(), ids, strict=True)]
    assert keys == sorted(keys)
    for number, hits in enumerate(legs):
        ranked = {each: (rank, score) for rank, (each, score) in enumerate(zip(hits.ids.tolist(), hits.scores.tolist(), strict=True), 1)}
        assert found.ranks[number].tolist() == [ranked.get(each, (0, 0))[0] for each in ids]
        assert repr(found.raw[number].tolist()) == repr([ranked.get(each, (0, math.nan))[1] for each in ids])


@settings(deadline=None)
@given(cases(), fusions)
def test_a_point_that_is_best_in_all_legs_gets_one(case: tuple[list[LegHits], list[LegRule]], fusion: Fusion) -> None:
    legs, rules = case
    best = [
        LegHits(ids=id_array(["top", *hits.ids.tolist()]), scores=np.array([*hits.scores[:1], *hits.scores]) if len(hits) else np.ones(1))
        for hits in legs
    ]
    found = fuse(best, rules, fusion)
    assert found.scores[found.ids.tolist().index("top")] == 1.0


@settings(deadline=None)
@given(st.dictionaries(point_ids, values, max_size=8), st.booleans(), fusions)
def test_a_single_leg_keeps_its_scores_and_its_order(found: dict[PointId, float], smaller: bool, fusion: Fusion) -> None:
    rule = LegRule(name="a", weight=0.5, smaller_is_better=smaller)
    hits = leg(found, rule)
    alone = fuse([hits], [rule], fusion)
    assert alone.ids.tolist() == hits.ids.tolist()
    assert repr(alone.scores.tolist()) == repr(hits.scores.tolist())
    assert alone.ranks.tolist() == [list(range(1, len(hits) + 1))]
    assert [arithmetic(alone, at, [rule], fusion) for at in range(len(alone))] == [f"{each:.6g}" for each in hits.scores]


@settings(deadline=None)
@given(cases(), fusions)
def test_the_arithmetic_gives_the_score(case: tuple[list[LegHits], list[LegRule]], fusion: Fusion) -> None:
    legs, rules = case
    legs = [LegHits(ids=each.ids, scores=np.round(np.clip(np.nan_to_num(each.scores), -100, 100), 1)) for each in legs]
    found = fuse(legs, rules, fusion)
    for at, score in enumerate(found.scores.tolist()):
        written = arithmetic(found, at, rules, fusion).replace(" x ", " * ")
        assert eval(written, {"__builtins__": {}}) == pytest.approx(score, rel=1e-3, abs=1e-3)


def test_a_lone_exact_hit_of_a_text_counts_because_zeros_are_added() -> None:
    dense = leg({at: 1.0 - at / 100 for at in range(1, 11)})
    text = leg({99: 8.0})
    alone = LegRule(name="text", weight=1.0)
    padded = LegRule(name="text", weight=1.0, padded_to=10)
    score = {
        rule: dict(zip((found := fuse([dense, text], [DENSE, rule], Fusion())).ids.tolist(), found.scores, strict=True))
        for rule in (alone, padded)
    }
    assert score[padded][99] > score[padded][1]
    assert score[alone][99] < score[alone][1]
    shape = fuse([dense, text], [DENSE, padded], Fusion()).shapes[1]
    assert (shape.hits, shape.padded, shape.lowest, shape.highest) == (1, 9, 0.0, 8.0)
    assert shape.deviation == pytest.approx(statistics.pstdev([8.0] + [0.0] * 9))


def test_equal_scores_count_more_than_no_hit() -> None:
    found = fuse([leg({1: 0.5, 2: 0.5}), leg({3: 9.0, 4: 1.0})], [DENSE, DENSE], Fusion())
    scores = dict(zip(found.ids.tolist(), found.scores.tolist(), strict=True))
    assert scores[1] == scores[2] == pytest.approx(1 / 3)
    assert scores[3] == pytest.approx(2 / 3)
    assert scores[4] == 0.0


def test_a_leg_without_hits_does_not_count() -> None:
    found = fuse([leg({1: 0.9, 2: 0.3}), leg({})], [DENSE, TEXT], Fusion())
    assert found.scores.tolist() == [1.0, 0.0]
    nothing = fuse([leg({}), leg({})], [DENSE, TEXT], Fusion())
    assert len(nothing) == 0
    assert nothing.shapes[1].padded == 5


def test_a_leg_of_weight_nothing_changes_nothing() -> None:
    rules = [DENSE, LegRule(name="text", weight=0.0)]
    found = fuse([leg({1: 0.9, 2: 0.5, 3: 0.1}), leg({})], rules, Fusion())
    assert found.scores.tolist() == [1.0, 0.5, 0.0]


def test_small_distances_are_good() -> None:
    rule = LegRule(name="dense", weight=1.0, smaller_is_better=True)
    found = fuse([leg({1: 4.0, 2: 1.0, 3: 2.0}, rule), leg({1: 1.0})], [rule, TEXT], Fusion(kind=FusionKind.MINMAX))
    assert dict(zip(found.ids.tolist(), found.scores.tolist(), strict=True)) == {1: 0.5, 2: 0.5, 3: pytest.approx(1 / 3)}
    assert found.ids.tolist() == [1, 2, 3]
    assert (found.shapes[0].lowest, found.shapes[0].highest) == (1.0, 4.0)
    assert arithmetic(found, 1, [rule, TEXT], Fusion(kind=FusionKind.MINMAX)) == "(0.5 x (4 - 1) / (4 - 1) + 0.5 x 0) / 1"


@settings(deadline=None)
@given(cases(), fusions)
def test_the_order_of_the_legs_moves_nothing_but_rounding(case: tuple[list[LegHits], list[LegRule]], fusion: Fusion) -> None:
    legs, rules = case
    first = fuse(legs, rules, fusion)
    for order in itertools.permutations(range(len(legs))):
        other = fuse([legs[at] for at in order], [rules[at] for at in order], fusion)
        scores = dict(zip(other.ids.tolist(), other.scores.tolist(), strict=True))
        assert [scores[each] for each in first.ids.tolist()] == pytest.approx(first.scores.tolist())


@settings(deadline=None)
@given(st.lists(st.floats(0, 1.7e308), min_size=1, max_size=5).filter(any))
def test_shares_sum_to_one(weights: list[float]) -> None:
    shares = shares_of(weights)
    assert math.fsum(shares) == pytest.approx(1.0)
    assert all(each >= 0 for each in shares)


def test_some_of_the_candidates_keep_what_is_theirs() -> None:
    found: Candidates = fuse([leg({1: 3.0, 2: 2.0}), leg({2: 5.0, 3: 1.0})], [DENSE, TEXT], Fusion())
    some = found.take(np.array([2, 0]))
    assert some.ids.tolist() == [found.ids[2], found.ids[0]]
    assert some.ranks.tolist() == found.ranks[:, [2, 0]].tolist()
    assert some.shapes == found.shapes
