from __future__ import annotations

import numpy as np
import pytest

from shoal.core.errors import DeadlineExceeded, Internal, InvalidArgument
from shoal.core.points import id_array
from shoal.core.text_query import Match, QueryWord
from shoal.core.turns import Turn
from shoal.shard_worker.text import conditions as conditions_module
from shoal.shard_worker.text import part as part_module
from shoal.shard_worker.text import search as search_module
from shoal.shard_worker.text.bound import BoundedList
from shoal.shard_worker.text.eligible import Eligible
from shoal.shard_worker.text.part import TextPart
from shoal.shard_worker.text.query import Clause, Phrase, TextQuery
from shoal.shard_worker.text.scoring import K1, WeightedWord, idf, weighted
from shoal.shard_worker.text.search import TextHits, search_part, word_scores
from shoal.shard_worker.text.statistics import LivingRows
from tests.unit.shard_worker.text.letters import any_of, part_of


def weights(part: TextPart, query: TextQuery) -> tuple[WeightedWord, ...]:
    return weighted(query, LivingRows(part).statistics(query.boosts))


def best(part: TextPart, query: TextQuery, k: int = 10, eligible: Eligible | None = None) -> TextHits:
    return search_part(part, query, weights(part, query), k=k, ids=np.arange(len(part)), eligible=eligible or Eligible(len(part)))


def test_a_score_is_that_of_the_formula() -> None:
    hits = best(part_of(["a b", "a a c d", "e"]), any_of("a c"))
    mean = 7 / 3
    of_a = idf(3, 2) * 2.2 * 2 / (2 + K1 * (0.25 + 0.75 * 4 / mean))
    of_c = idf(3, 1) * 2.2 * 1 / (1 + K1 * (0.25 + 0.75 * 4 / mean))
    assert hits.rows.tolist() == [1, 0]
    assert hits.scores[0] == pytest.approx(of_a + of_c, rel=1e-14)


def test_equal_scores_are_ordered_by_id_integers_first() -> None:
    part = part_of(["a"] * 5)
    query = any_of("a")
    ids = id_array(["b", 7, "a", -1, "c"])
    hits = search_part(part, query, weights(part, query), k=4, ids=ids, eligible=Eligible(5))
    assert ids.take(hits.rows).tolist() == [-1, 7, "a", "b"]


def test_what_each_word_adds_sums_up_to_the_score() -> None:
    part = part_of(["a b", "a a c d", "c", "x"])
    query = any_of("a c zzz")
    hits = best(part, query)
    rows = np.sort(hits.rows)
    shares = word_scores(part, weights(part, query), rows)
    assert shares.shape == (3, 3)
    assert not shares[2].any()
    assert dict(zip(rows.tolist(), (shares[0] + shares[1] + shares[2]).tolist(), strict=True)) == dict(
        zip(hits.rows.tolist(), hits.scores.tolist(), strict=True)
    )


def test_long_lists_are_looked_up_and_not_added(monkeypatch: pytest.MonkeyPatch) -> None:
    part = part_of([f"all {'rare' if row % 400 == 0 else 'x'}" for row in range(4_000)])
    query = any_of("all rare")
    asked: list[int] = []
    shares = BoundedList.shares

    def counting(self: BoundedList, at: np.ndarray, counts: np.ndarray) -> np.ndarray:
        asked.append(len(at))
        return shares(self, at, counts)

    monkeypatch.setattr(BoundedList, "shares", counting)
    assert best(part, query, k=5).rows.tolist() == [0, 400, 800, 1_200, 1_600]
    assert asked == [10, 10]


def test_few_eligible_rows_are_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    part = part_of(["a b"] * 3_000)
    monkeypatch.setattr(search_module, "_added", None)
    hits = best(part, any_of("a b"), eligible=Eligible(3_000, among=np.array([5, 2_999])))
    assert hits.rows.tolist() == [5, 2_999]


class EndingTurn:
    """Ends the work at a certain look."""

    rested_s = 0.0

    def __init__(self, looks: int) -> None:
        self._looks = looks

    def check(self) -> None:
        self._looks -= 1
        if self._looks < 0:
            raise DeadlineExceeded("nobody waits")

    pause = check


def test_a_search_that_is_given_up_leaves_nothing_to_the_next() -> None:
    part = part_of([f"a b{row % 3} c{row % 2}" for row in range(100)])
    query = any_of("a b1 c1")
    expected = best(part, query, k=100)
    ended = 0
    for looks in range(8):
        turn: Turn = EndingTurn(looks)
        try:
            search_part(part, query, weights(part, query), k=100, ids=np.arange(100), eligible=Eligible(100), turn=turn)
        except DeadlineExceeded:
            ended += 1
        again = best(part, query, k=100)
        assert (again.rows.tolist(), again.scores.tolist()) == (expected.rows.tolist(), expected.scores.tolist())
    assert 2 <= ended < 8


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        (TextQuery.of([[(QueryWord("body", "in"), 1.0)], [(QueryWord("body", "memory"), 1.0)]], match=Match.ALL), [0, 1, 4]),
        (TextQuery.of([[(QueryWord("body", "in"), 1.0)]], must=[Clause((Phrase("body", ("in", "memory"), (0, 1)),))]), [0, 4]),
        (TextQuery.of([[(QueryWord("body", "in"), 1.0)]], must=[Clause((Phrase("body", ("in", "in"), (0, 2)),))]), [4]),
        (TextQuery.of([[(QueryWord("body", "in"), 1.0)]], must_not=[Clause((Phrase("body", ("memory", "in"), (1, 0)),))]), [1, 3]),
        (TextQuery.of([[(QueryWord("body", "re", prefix=True), 1.0)]]), [0, 2]),
        (
            TextQuery.of([[(QueryWord("body", "in"), 1.0)]], must=[Clause((QueryWord("body", "m", prefix=True), QueryWord("body", "on")))]),
            [0, 1, 3, 4],
        ),
        (TextQuery.of([[(QueryWord("body", "in"), 1.0)]], must=[Clause(())]), []),
        (TextQuery.of([[(QueryWord("body", "in"), 1.0)]], must=[Clause((Phrase("body", ("in", "nowhere"), (0, 1)),))]), []),
        (TextQuery.of([]), []),
    ],
)
@pytest.mark.parametrize("batch", [1, 1_000])
def test_conditions(query: TextQuery, rows: list[int], batch: int) -> None:
    part = part_of(["in memory replica", "memory in", "replica", "on in", "in memory in memory"], batch)
    assert sorted(best(part, query).rows.tolist()) == rows


def test_phrases_of_frequent_words_are_compared_in_blocks() -> None:
    part = part_of([("a b" if row % 2 else "b a") for row in range(40_000)], batch=40_000)
    query = TextQuery.of([[(QueryWord("body", "a"), 1.0)]], must=[Clause((Phrase("body", ("a", "b"), (0, 1)),))])
    hits = best(part, query, k=40_000)
    assert hits.rows.tolist() == list(range(1, 40_000, 2))


@pytest.mark.parametrize("boost", [0.0, -1.0, 1e-7, 1e7, float("nan"), float("inf")])
def test_a_boost_out_of_bounds_is_refused(boost: float) -> None:
    with pytest.raises(InvalidArgument, match="'a' has the boost"):
        TextQuery.of([[(QueryWord("body", "a"), boost)]])


def test_too_many_words_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="a query has 5000 words, at most 4096"):
        any_of(" ".join(f"w{number}" for number in range(5_000)))


@pytest.mark.parametrize(("words", "offsets"), [((), ()), (("a",), ()), (("a", "b"), (0, -1)), (("a",), (2**32,))])
def test_a_phrase_without_fit_offsets_is_refused(words: tuple[str, ...], offsets: tuple[int, ...]) -> None:
    with pytest.raises(InvalidArgument, match="a phrase has"):
        Phrase("body", words, offsets)


def test_a_word_that_is_asked_for_twice_counts_twice() -> None:
    assert any_of("a b a").boosts == {QueryWord("body", "a"): 2.0, QueryWord("body", "b"): 1.0}


def test_an_unknown_field_is_a_defect() -> None:
    part = part_of(["a"])
    query = TextQuery.of([[(QueryWord("body", "a"), 1.0)]], must=[Clause((QueryWord("title", "a"),))])
    with pytest.raises(Internal, match="no text field 'title'"):
        best(part, query)


def test_a_clause_of_all_scored_words_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    part = part_of(["memo", "men memo x", "x", "me"])
    prefix = QueryWord("body", "mem", prefix=True)
    query = TextQuery.of([[(prefix, 1.0)]], must=[Clause((prefix, QueryWord("body", "men")))])
    monkeypatch.setattr(conditions_module, "_fulfilling", None)
    assert sorted(best(part, query).rows.tolist()) == [0, 1]


def test_counts_of_a_prefix_are_added_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(2)
    texts = [" ".join(random.choice(["aa", "ab", "ac", "b"], size=random.integers(1, 9)).tolist()) for _ in range(200)]
    counts = {row: sum(word.startswith("a") for word in text.split()) for row, text in enumerate(texts)}
    monkeypatch.setattr(part_module, "_BLOCK", 7)
    found = part_of(texts).postings("body", "a", prefix=True)
    assert found is not None
    assert dict(zip(found.rows.tolist(), found.counts.tolist(), strict=True)) == {row: count for row, count in counts.items() if count}
