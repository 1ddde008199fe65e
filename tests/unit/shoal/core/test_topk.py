from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.core.metric import Metric
from shoal.core.points import PointId, id_array, id_order
from shoal.core.topk import HitColumns, PartRows, concat_hits, concat_ids, hit_order, merge_hits, order_of_one, rank_in_group
from tests.twins.merge import merge_by_sorting

INT_IDS = st.integers(-3, 12)
ANY_IDS = st.one_of(INT_IDS, st.sampled_from(["", "1", "a", "b", "ba", "é"]))
SCORES = st.sampled_from([-2.0, -0.0, 0.0, 1.0, 1.5, float("inf")])


def _columns(hits: list[list[tuple[float, PointId]]]) -> HitColumns:
    flat = [hit for query in hits for hit in query]
    return HitColumns(
        counts=np.array([len(query) for query in hits], dtype=np.int64),
        ids=id_array(point_id for _, point_id in flat),
        scores=np.array([score for score, _ in flat], dtype=np.float32),
        payloads=tuple(f'{{"of":"{point_id!r}"}}'.encode() for _, point_id in flat),
        vectors=np.array([[score, score] for score, _ in flat], dtype=np.float32).reshape(-1, 2),
    )


def _key(hit: tuple[float, PointId], metric: Metric) -> tuple[float, tuple[int, int, str]]:
    return (hit[0] if metric.smaller_is_better else -hit[0], id_order(hit[1]))


@given(
    st.sampled_from(Metric), st.sampled_from([INT_IDS, ANY_IDS]).flatmap(lambda ids: st.lists(st.tuples(st.integers(0, 2), SCORES, ids)))
)
def test_hit_order_agrees_with_sorting_tuples(metric: Metric, hits: list[tuple[int, float, PointId]]) -> None:
    query = np.array([number for number, _, _ in hits], dtype=np.int64)
    scores = np.array([score for _, score, _ in hits], dtype=np.float32)
    order = hit_order(query, scores, id_array(point_id for _, _, point_id in hits), metric)
    assert [hits[at] for at in order] == sorted(hits, key=lambda hit: (hit[0], _key(hit[1:], metric)))


def test_scores_that_are_no_number_come_last_and_tie_by_id() -> None:
    scores = np.array([np.nan, 1.0, np.nan, 2.0], dtype=np.float32)
    for ids in (id_array([9, 1, 3, 2]), id_array(["z", "a", "b", "c"])):
        for metric, expected in ((Metric.L2, [1, 3, 2, 0]), (Metric.IP, [3, 1, 2, 0])):
            assert hit_order(np.zeros(4, dtype=np.int64), scores, ids, metric).tolist() == expected


@st.composite
def _parts(draw: st.DrawFn) -> list[list[list[tuple[float, PointId]]]]:
    queries = draw(st.integers(1, 3))
    ids = draw(st.sampled_from([INT_IDS, ANY_IDS]))
    return draw(
        st.lists(st.lists(st.lists(st.tuples(SCORES, ids), max_size=6), min_size=queries, max_size=queries), min_size=1, max_size=3)
    )


@given(_parts(), st.integers(1, 5) | st.lists(st.integers(1, 5), min_size=3, max_size=3), st.sampled_from(Metric))
def test_merge_agrees_with_sorting_tuples(parts: list[list[list[tuple[float, PointId]]]], k: int | list[int], metric: Metric) -> None:
    wanted = [k] * 3 if isinstance(k, int) else k
    merged = merge_hits([_columns(part) for part in parts], k if isinstance(k, int) else np.array(k[: len(parts[0])]), metric)
    expected = [
        sorted((hit for part in parts for hit in part[query]), key=lambda hit: _key(hit, metric))[: wanted[query]]
        for query in range(len(parts[0]))
    ]
    flat = [hit for query in expected for hit in query]
    assert merged.counts.tolist() == [len(query) for query in expected]
    assert merged.ids.tolist() == [point_id for _, point_id in flat]
    assert merged.scores.tolist() == [score for score, _ in flat]
    assert merged.payloads == tuple(f'{{"of":"{point_id!r}"}}'.encode() for _, point_id in flat)
    assert merged.vectors is not None
    assert merged.vectors.tolist() == [[score, score] for score, _ in flat]


def test_merge_leaves_out_what_one_part_was_not_asked_for() -> None:
    full = _columns([[(1.0, 1)]])
    bare = HitColumns(counts=full.counts, ids=full.ids, scores=full.scores)
    merged = merge_hits([full, bare], 5, Metric.L2)
    assert (len(merged), merged.payloads, merged.vectors) == (2, None, None)


def test_concat_ids_keeps_integers_as_integers() -> None:
    integers, mixed = id_array([1, 2]), id_array([3, "x"])
    assert concat_ids([integers, id_array([])]).dtype == np.int64
    assert concat_ids([]).dtype == np.int64
    joined = concat_ids([integers, mixed])
    assert (joined.dtype, joined.tolist()) == (np.dtype(object), [1, 2, 3, "x"])


@given(st.lists(st.integers(0, 4)))
def test_rank_in_group_counts_from_the_start_of_each_run(values: list[int]) -> None:
    groups = sorted(values)
    expected = [groups[:at].count(value) for at, value in enumerate(groups)]
    assert rank_in_group(np.array(groups, dtype=np.int64)).tolist() == expected


def test_a_part_without_hits_does_not_cost_the_others_their_payloads() -> None:
    full = _columns([[(1.0, 1)]])
    empty = HitColumns(counts=np.array([0]), ids=np.empty(0, dtype=np.int64), scores=np.empty(0, dtype=np.float32))
    for parts in ([full, empty], [empty, full]):
        merged = merge_hits(parts, 3, Metric.L2)
        assert merged.ids.tolist() == [1]
        assert merged.payloads == full.payloads
        assert merged.vectors is not None


def _drawn(random: np.random.Generator, counts: np.ndarray, texts: bool, steps: int) -> HitColumns:
    """Hits of a part, best first in no query: few different scores, so that many tie, and some that are no number."""
    size = int(counts.sum())
    scores = random.integers(-steps, steps, size).astype(np.float32)
    scores[random.random(size) < 0.05] = np.nan
    scores[random.random(size) < 0.05] = -0.0
    numbers = random.permutation(10 * size)[:size]
    return HitColumns(
        counts=counts,
        ids=id_array(f"id {number}" if texts and number % 2 else int(number) for number in numbers),
        scores=scores,
        payloads=tuple(b"%d" % number if number % 3 else None for number in numbers),
        vectors=random.random((size, 2), dtype=np.float32),
    )


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    parts=st.integers(1, 9),
    queries=st.integers(1, 12),
    widest=st.integers(0, 12),
    even=st.booleans(),
    texts=st.booleans(),
    steps=st.sampled_from([1, 4, 1_000]),
    one_k=st.booleans(),
    metric=st.sampled_from(Metric),
)
def test_merge_is_the_same_bit_for_bit_as_sorting_all_hits(
    seed: int, parts: int, queries: int, widest: int, even: bool, texts: bool, steps: int, one_k: bool, metric: Metric
) -> None:
    random = np.random.default_rng(seed)
    sizes = [np.full(queries, widest) if even else random.integers(0, widest + 1, queries) for _ in range(parts)]
    columns = [_drawn(random, counts.astype(np.int64), texts, steps) for counts in sizes]
    k = int(random.integers(1, 15)) if one_k else random.integers(1, 15, queries)
    merged, expected = merge_hits(columns, k, metric), merge_by_sorting(columns, k, metric)
    assert merged.ids.dtype == expected.ids.dtype
    assert (merged.counts.tolist(), merged.ids.tolist()) == (expected.counts.tolist(), expected.ids.tolist())
    assert (merged.scores.tobytes(), merged.payloads) == (expected.scores.tobytes(), expected.payloads)
    assert merged.vectors is not None
    assert merged.vectors.tobytes() == expected.vectors.tobytes()


def test_one_query_with_many_hits_and_few_with_one_each_are_not_padded_to_a_large_table() -> None:
    counts = np.array([3_000, *[1] * 200], dtype=np.int64)
    random = np.random.default_rng(5)
    columns = [_drawn(random, counts, False, 50) for _ in range(3)]
    merged, expected = merge_hits(columns, 40, Metric.L2), merge_by_sorting(columns, 40, Metric.L2)
    assert merged.ids.tolist() == expected.ids.tolist()
    single = [_drawn(random, counts[:1], False, 50) for _ in range(3)]
    assert merge_hits(single, 40, Metric.IP).ids.tolist() == merge_by_sorting(single, 40, Metric.IP).ids.tolist()


@given(st.lists(st.integers(0, 4), min_size=1, max_size=5), st.randoms())
def test_places_name_part_and_row_of_each_position(sizes: list[int], random: object) -> None:
    positions = list(range(sum(sizes)))
    random.shuffle(positions)
    places = PartRows.of(sizes, np.array(positions, dtype=np.intp))
    expected = [(part, row) for part, size in enumerate(sizes) for row in range(size)]
    assert list(zip(places.part.tolist(), places.row.tolist(), strict=True)) == [expected[at] for at in positions]


@given(st.sampled_from(Metric), st.sampled_from([INT_IDS, ANY_IDS]).flatmap(lambda ids: st.lists(st.tuples(SCORES, ids))))
def test_the_order_of_one_query_is_that_of_a_batch_of_one(metric: Metric, hits: list[tuple[float, PointId]]) -> None:
    found, ids = np.array([score for score, _ in hits], dtype=np.float32), id_array(point_id for _, point_id in hits)
    assert order_of_one(found, ids, metric).tolist() == hit_order(np.zeros(len(hits), dtype=np.int64), found, ids, metric).tolist()


@given(
    st.lists(st.lists(st.lists(st.tuples(SCORES, ANY_IDS), max_size=3), min_size=1, max_size=3), min_size=1, max_size=4),
    st.booleans(),
)
def test_a_batch_that_was_cut_by_queries_is_put_together_again(pieces: list[list[list[tuple[float, PointId]]]], bare: bool) -> None:
    columns = [_columns(piece) for piece in pieces]
    if bare:
        columns = [HitColumns(counts=each.counts, ids=each.ids, scores=each.scores) for each in columns]
    found, whole = concat_hits(columns), _columns([query for piece in pieces for query in piece])
    assert [found.counts.tolist(), found.ids.tolist(), found.scores.tolist()] == [
        whole.counts.tolist(),
        whole.ids.tolist(),
        whole.scores.tolist(),
    ]
    assert found.payloads == (None if bare else whole.payloads)
    assert (found.vectors is None) == bare
    assert bare or np.array_equal(found.vectors, whole.vectors)
