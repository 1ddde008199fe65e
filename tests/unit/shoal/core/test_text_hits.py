from __future__ import annotations

from random import Random

import numpy as np
import pytest

from shoal.core.points import PointId, id_array, id_order
from shoal.core.text_calls import TextHitColumns, WordShare
from shoal.core.text_hits import joined_text_hits, merged_text_hits, no_text_hits, text_hit_order

Hit = tuple[PointId, float]


def columns(queries: list[list[Hit]], *, shares: bool) -> TextHitColumns:
    flat = [hit for hits in queries for hit in hits]
    return TextHitColumns(
        counts=np.array([len(hits) for hits in queries], dtype=np.int64),
        ids=id_array([point_id for point_id, _ in flat]),
        scores=np.array([score for _, score in flat], dtype=np.float64),
        shares=tuple((WordShare("body", str(point_id), score),) for point_id, score in flat) if shares else None,
    )


def listed(hits: TextHitColumns) -> list[list[Hit]]:
    flat = list(zip(hits.ids.tolist(), hits.scores.tolist(), strict=True))
    if hits.shares is not None:
        assert [(share.word, share.share) for (share,) in hits.shares] == [(str(point_id), score) for point_id, score in flat]
    ends = np.cumsum(hits.counts).tolist()
    return [flat[end - count : end] for end, count in zip(ends, hits.counts.tolist(), strict=True)]


def ordered(hits: list[Hit]) -> list[Hit]:
    return sorted(hits, key=lambda hit: (-hit[1], id_order(hit[0])))


@pytest.mark.parametrize("seed", range(60))
def test_the_merge_is_that_of_a_sort(seed: int) -> None:
    random = Random(seed)
    queries, shares = random.randint(1, 4), random.random() < 0.5
    ids: list[PointId] = [*range(40), *(f"{at}" for at in range(20))] if random.random() < 0.5 else list(range(60))
    parts: list[list[list[Hit]]] = [[[] for _ in range(queries)] for _ in range(random.randint(1, 4))]
    for query in range(queries):
        for point_id in random.sample(ids, random.randint(0, len(ids))):
            random.choice(parts)[query].append((point_id, random.choice((0.5, 1.0, 1.0000000000000002, 3.0))))
    k = random.choice((1, 7, 100))
    wanted = [random.choice((1, 2, 50)) for _ in range(queries)] if random.random() < 0.5 else [k] * queries
    expected = [ordered([hit for part in parts for hit in part[query]])[: wanted[query]] for query in range(queries)]
    given = [columns([ordered(hits) for hits in part], shares=shares) for part in parts]
    merged = merged_text_hits(given, k if wanted == [k] * queries else np.array(wanted))
    assert listed(merged) == expected
    assert (merged.shares is None) == (not shares)


def test_equal_scores_are_ordered_by_id_integers_first() -> None:
    ids = id_array(["10", 3, "1", 12])
    assert text_hit_order(np.array([1.0, 1.0, 1.0, 2.0]), ids).tolist() == [3, 1, 2, 0]


def test_hits_of_several_queries_are_a_batch() -> None:
    first, second = columns([[(1, 2.0), ("a", 1.0)]], shares=True), columns([[(1, 0.5)]], shares=True)
    assert listed(joined_text_hits([first, second, no_text_hits(1, shares=True)])) == [[(1, 2.0), ("a", 1.0)], [(1, 0.5)], []]


def test_no_hits_are_none_of_each_query() -> None:
    assert (no_text_hits(2).counts.tolist(), no_text_hits(2).shares, no_text_hits(1, shares=True).shares) == ([0, 0], None, ())
    assert listed(merged_text_hits([no_text_hits(2), no_text_hits(2)], 5)) == [[], []]
