"""What a fit chooses from synthetic legs, and that it sees no gain where there is none."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from shoal.core.errors import InvalidArgument
from shoal.core.fit_choices import FitChoice, fit_choices
from shoal.core.fit_outcomes import LegTerms, ReadQuery, outcomes, scaled
from shoal.core.fitting import LEAST_QUERIES, FitRead, Fitted, fitted, mean_interval, student_t
from shoal.core.fusion import LegHits, LegRule, fuse
from shoal.core.fusion_choice import Fusion, FusionKind, SearchDefaults
from shoal.core.points import id_array, id_order
from shoal.core.ranking_quality import ndcg
from tests.support.scope import cells

POINTS, CANDIDATES = 60, 20
TERMS = LegTerms(candidates=CANDIDATES, smaller_is_better=False)
ONE_READING = ((("body", 1.0),),)


def leg(random: np.random.Generator, relevant: int, strength: float) -> LegHits:
    """Noise on all points, and `strength` beside it on the relevant one; the best come back."""
    scores = random.exponential(size=POINTS)
    scores[relevant] += strength
    best = np.lexsort((np.arange(POINTS), -scores))[:CANDIDATES]
    return LegHits(ids=best.astype(np.int64), scores=scores[best])


def world(seed: int, queries: int, dense: float, *texts: float) -> tuple[ReadQuery, ...]:
    random = np.random.default_rng(seed)
    relevant = random.integers(POINTS, size=queries).tolist()
    return tuple(
        ReadQuery(dense=leg(random, each, dense), texts=tuple(leg(random, each, text) for text in texts), judged={each: 1.0})
        for each in relevant
    )


def fit(queries: tuple[ReadQuery, ...], present: SearchDefaults | None = None, seed: int = 0) -> Fitted:
    return fitted(FitRead(queries=queries, boosts=ONE_READING, terms=TERMS), present or SearchDefaults(), seed=seed)


def test_a_useless_dense_leg_is_dropped() -> None:
    found = fit(world(1, 200, 0.0, 4.0))
    assert (found.choice.dense_weight, found.choice.text_weight) == (0.0, 1.0)
    assert found.may_be_saved
    assert found.held_out == found.on_all == found.text > found.present
    assert found.low < found.gain < found.high


def test_a_useless_text_leg_is_dropped() -> None:
    found = fit(world(2, 200, 4.0, 0.0))
    assert (found.choice.dense_weight, found.choice.text_weight) == (1.0, 0.0)
    assert found.may_be_saved


def test_two_legs_that_help_each_other_are_kept() -> None:
    found = fit(world(3, 200, 2.5, 2.5), SearchDefaults(fusion=Fusion(kind=FusionKind.RRF)))
    assert found.choice == SearchDefaults(fusion=Fusion(kind=FusionKind.RRF))
    assert not found.changes
    assert not found.may_be_saved
    assert found.gain == pytest.approx(0.0, abs=0.02)
    assert found.held_out > max(found.text, found.dense) + 0.1


def test_a_weaker_leg_gets_less_weight_and_is_kept_where_it_helps() -> None:
    found = fit(world(4, 3_000, 2.0, 3.5), SearchDefaults(dense_weight=0.9, text_weight=0.1))
    assert found.may_be_saved
    assert 0.0 < found.choice.dense_weight < 0.5
    assert found.held_out > max(found.text, found.dense)


def test_better_boosts_are_chosen() -> None:
    boosts = ((("body", 1.0), ("title", 1.0)), (("body", 1.0), ("title", 4.0)))
    found = fitted(FitRead(queries=world(5, 300, 2.0, 1.0, 4.0), boosts=boosts, terms=TERMS), SearchDefaults())
    assert found.may_be_saved
    assert found.choice.boosts == (("title", 4.0),)


@pytest.mark.parametrize("queries", cells([12, 40, 100], [12, 40]))
@pytest.mark.parametrize("strength", [0.0, 2.5])
def test_no_gain_is_seen_where_there_is_none(queries: int, strength: float) -> None:
    """Legs without any strength, and legs of equal strength for which rrf is best, as 5,000 queries tell. Of 100 fits
    less than 5 may be saved.
    """
    best = SearchDefaults(fusion=Fusion(kind=FusionKind.RRF), dense_weight=0.5, text_weight=0.5)
    saved = [fit(world(1_000 + seed, queries, strength, strength), best, seed=seed).may_be_saved for seed in range(100)]
    assert sum(saved) < 0.05 * len(saved)


def test_equal_input_and_seed_give_equal_results() -> None:
    queries = world(6, 60, 1.0, 3.0)
    assert fit(queries, seed=3) == fit(queries, seed=3)
    assert fit(queries, seed=3).folds != fit(queries, seed=4).folds


def test_folds_hold_each_judged_query_once() -> None:
    queries = world(7, 23, 1.0, 3.0)
    unjudged = tuple(dataclasses.replace(each, judged={5: 0.0}) for each in queries[:4])
    found = fit(queries + unjudged)
    assert (found.queries, found.left_out) == (23, 4)
    assert sorted(fold.queries for fold in found.folds) == [4, 4, 5, 5, 5]
    assert found.held_out == pytest.approx(sum(fold.held_out * fold.queries for fold in found.folds) / 23)
    assert found.present == pytest.approx(sum(fold.present * fold.queries for fold in found.folds) / 23)


def test_too_few_queries_are_refused() -> None:
    queries = world(8, LEAST_QUERIES, 1.0, 3.0)
    fit(queries)
    with pytest.raises(InvalidArgument, match="9 of 10 queries have a relevant point, at least 10 are needed") as refused:
        fit((*queries[:-1], dataclasses.replace(queries[-1], judged={})))
    assert refused.value.details.field == "qrels"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda query: dataclasses.replace(query, texts=()), "query 3 has 0 readings of the text leg, there are 1 sets of boosts"),
        (lambda query: dataclasses.replace(query, dense=LegHits(ids=id_array([1]), scores=np.zeros(2))), "leg of 1 ids and 2 scores"),
        (lambda query: dataclasses.replace(query, dense=LegHits(ids=np.arange(21), scores=np.zeros(21))), r"at most 20 \(candidates\)"),
        (lambda query: dataclasses.replace(query, dense=LegHits(ids=id_array([1]), scores=np.array([np.nan]))), "no finite number"),
        (lambda query: dataclasses.replace(query, dense=LegHits(ids=id_array([1, 2]), scores=np.array([1.0, 2.0]))), "not best first"),
        (lambda query: dataclasses.replace(query, texts=(LegHits(ids=id_array([1, 2]), scores=np.array([1.0, 2.0])),)), "not best first"),
        (lambda query: dataclasses.replace(query, dense=LegHits(ids=id_array([1, 1]), scores=np.zeros(2))), "found a point twice"),
        (lambda query: dataclasses.replace(query, judged={1: float("inf")}), "query 3 has a grade that is no finite number"),
    ],
)
def test_readings_that_cannot_be_are_refused(change, message) -> None:
    queries = list(world(9, 12, 1.0, 1.0))
    queries[3] = change(queries[3])
    with pytest.raises(InvalidArgument, match=message) as refused:
        fit(tuple(queries))
    assert refused.value.details.index == 3


@pytest.mark.parametrize("smaller_is_better", [False, True])
def test_outcomes_are_those_of_the_orders_of_searches(smaller_is_better: bool) -> None:
    random = np.random.default_rng(10)
    terms = LegTerms(candidates=8, smaller_is_better=smaller_is_better)
    choices = fit_choices(SearchDefaults(fusion=Fusion(kind=FusionKind.RRF, c=2.0), dense_weight=3.0), 2)
    queries = [random_query(random, smaller_is_better) for _ in range(60)]
    table = outcomes(queries, choices, terms)
    for query, row in zip(queries, table, strict=True):
        assert row == pytest.approx([ndcg(order_of(query, choice, terms), query.judged) for choice in choices])


def random_query(random: np.random.Generator, smaller_is_better: bool) -> ReadQuery:
    """Few points and few different scores, so that many are equal; ids of both types."""
    names = [*range(9), *"abc"]

    def hits(most: int, sign: int) -> LegHits:
        picked = [names[each] for each in random.permutation(len(names))[: random.integers(most + 1)]]
        scores = np.sort(random.integers(1, 5, size=len(picked)) / 2)[::sign]
        return LegHits(ids=id_array(sorted(picked, key=id_order)), scores=scores)

    judged = {names[each]: float(random.integers(3)) for each in random.permutation(len(names))[:4]} | {names[0]: 1.0}
    return ReadQuery(dense=hits(8, 1 if smaller_is_better else -1), texts=(hits(8, -1), hits(5, -1)), judged=judged)


def order_of(query: ReadQuery, choice: FitChoice, terms: LegTerms) -> list[int | str]:
    dense = LegRule(name="dense", weight=choice.dense, smaller_is_better=terms.smaller_is_better)
    text = LegRule(name="text", weight=1.0 - choice.dense, padded_to=terms.candidates)
    legs = [(hits, rule) for hits, rule in ((query.dense, dense), (query.texts[choice.reading], text)) if rule.weight > 0]
    return list(fuse([hits for hits, _ in legs], [rule for _, rule in legs], choice.fusion).ids.tolist())


def test_a_text_leg_with_few_hits_is_padded_with_zeros() -> None:
    lone = LegHits(ids=id_array([1]), scores=np.array([2.0]))
    padded = np.array([2.0, *[0.0] * 19])
    assert scaled(lone, Fusion(), TERMS, text=True) == pytest.approx([2.0 / padded.std()])
    assert scaled(lone, Fusion(), TERMS, text=False) == pytest.approx([1.0])


def test_the_quantiles_are_those_of_the_tables() -> None:
    assert [student_t(each) for each in (9, 19, 99, 4_220)] == pytest.approx([2.2622, 2.0930, 1.9842, 1.9605], abs=5e-4)


def test_the_interval_holds_the_mean_in_95_of_100() -> None:
    random = np.random.default_rng(11)
    holds = [low < 0.3 < high for low, high in (mean_interval(random.normal(0.3, 1.0, size=15)) for _ in range(2_000))]
    assert np.mean(holds) == pytest.approx(0.95, abs=0.015)
