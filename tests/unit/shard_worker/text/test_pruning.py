"""Test that what is left out of a search would not have come in, where the bounds are met exactly.

Rows hold the words of the query once each, or all twice, and most have the same length. So a row with all words that
are left gets all that these can add, and a bound that is a little too low loses it.
"""

from __future__ import annotations

from random import Random

import numpy as np
import pytest

from shoal.core.text_query import QueryWord
from shoal.shard_worker.text.eligible import Eligible
from shoal.shard_worker.text.part import TextPart
from shoal.shard_worker.text.query import TextQuery
from shoal.shard_worker.text.scoring import weighted
from shoal.shard_worker.text.search import search_part, word_scores
from shoal.shard_worker.text.statistics import LivingRows
from tests.support.scope import LONG
from tests.unit.shard_worker.text.letters import part_of

SEARCHES = 60
WORDS = ("a", "b", "c", "d", "e")


def drawn(random: Random) -> TextPart:
    """Return rows of which each holds some of the words; the later words are in more rows, or in fewer."""
    shares = [random.choice((0.02, 0.1, 0.3, 0.6, 0.9)) for _ in WORDS]
    twice = random.choice((150, 75))
    texts = []
    for row in range(150):
        held = [word for word, share in zip(WORDS, shares, strict=True) if random.random() < share]
        held *= 1 + (row >= twice)
        length = 10 if random.random() < 0.8 else random.choice((5, 16))
        texts.append(" ".join([*held, *(f"x{row}" for _ in range(length - len(held)))]))
    return part_of(texts, batch=random.choice((150, 40, 9)))


def bitwise(rows: np.ndarray, scores: np.ndarray) -> list[tuple[int, float]]:
    return list(zip(rows.tolist(), scores.tolist(), strict=True))


@pytest.mark.parametrize("seed", range(400 if LONG else 40))
def test_no_row_is_lost_to_a_bound(seed: int) -> None:
    random = Random(seed)
    part = drawn(random)
    every = np.arange(len(part), dtype=np.uint32)
    for _ in range(SEARCHES):
        query = TextQuery.of([[(QueryWord("body", word), random.uniform(0.1, 3.0))] for word in random.sample(WORDS, random.randint(2, 5))])
        words = weighted(query, LivingRows(part).statistics(query.boosts))
        scores = np.zeros(len(part))
        for share in word_scores(part, words, every):
            scores += share
        k = random.choice((1, 2, 5, 20))
        order = np.lexsort((every, -scores))[:k]
        expected = [(row, score) for row, score in bitwise(every[order], scores[order]) if score]
        found = search_part(part, query, words, k=k, ids=every.astype(np.int64), eligible=Eligible(len(part)))
        assert bitwise(found.rows, found.scores) == expected, (seed, query, k)
