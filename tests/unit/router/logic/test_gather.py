from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.core.metric import Metric
from shoal.core.points import PointId, StoredColumns, id_array, id_order
from shoal.core.topk import HitColumns
from shoal.router.logic.gather import gather_hits, gather_page, gather_points, page_points, smaller_page

point_ids = st.one_of(st.integers(-5, 5), st.sampled_from(["a", "b", "1", "z"]))


def hits(rows: list[list[tuple[float, PointId]]], payloads: bool = True) -> HitColumns:
    flat = [hit for row in rows for hit in row]
    return HitColumns(
        counts=np.array([len(row) for row in rows], dtype=np.int64),
        ids=id_array([point_id for _, point_id in flat]),
        scores=np.array([score for score, _ in flat], dtype=np.float32),
        payloads=tuple(f"{point_id!r}".encode() for _, point_id in flat) if payloads else None,
        vectors=np.array([[score] for score, _ in flat], dtype=np.float32).reshape(-1, 1),
    )


@settings(deadline=None)
@given(
    parts=st.lists(st.lists(st.dictionaries(point_ids, st.integers(-3, 3)), min_size=2, max_size=2), min_size=1, max_size=4),
    k=st.integers(1, 6),
    metric=st.sampled_from([Metric.L2, Metric.IP]),
)
def test_gathered_hits_agree_with_sorting_everything(parts: list[list[dict[PointId, int]]], k: int, metric: Metric) -> None:
    sign = 1 if metric.smaller_is_better else -1

    def best(found: list[tuple[int, PointId]]) -> list[tuple[int, PointId]]:
        return sorted(found, key=lambda hit: (sign * hit[0], id_order(hit[1])))[:k]

    # Shards own different points, so an id of an earlier shard is left out of the later ones.
    disjoint = [
        [
            {key: score for key, score in row.items() if not any(key in earlier[number] for earlier in parts[:at])}
            for number, row in enumerate(part)
        ]
        for at, part in enumerate(parts)
    ]
    answers = [hits([best([(score, key) for key, score in row.items()]) for row in part]) for part in disjoint]
    gathered = gather_hits(answers, k, metric)
    expected = [best([(score, key) for part in disjoint for key, score in part[number].items()]) for number in range(2)]
    flat = [hit for row in expected for hit in row]
    assert gathered.counts.tolist() == [len(row) for row in expected]
    assert list(zip(gathered.scores.tolist(), gathered.ids.tolist(), strict=True)) == flat
    assert list(gathered.payloads) == [f"{point_id!r}".encode() for _, point_id in flat]
    assert gathered.vectors[:, 0].tolist() == [score for score, _ in flat]


def test_an_empty_shard_does_not_take_the_payloads_of_the_others_away() -> None:
    empty = HitColumns(counts=np.zeros(1, dtype=np.int64), ids=id_array([]), scores=np.empty(0, dtype=np.float32))
    gathered = gather_hits([empty, hits([[(1.0, 7)]]), hits([[(0.5, 8)]])], 5, Metric.L2)
    assert gathered.payloads == (b"8", b"7")
    assert len(gather_hits([empty, empty], 5, Metric.L2)) == 0


def stored(ids: list[PointId], payload_bytes: int = 3) -> StoredColumns:
    return StoredColumns(
        ids=id_array(ids),
        vectors=np.array([[hash(point_id) % 97] for point_id in ids], dtype=np.float32).reshape(-1, 1),
        payloads=tuple(None if point_id == 0 else b"x" * payload_bytes for point_id in ids),
    )


def test_points_asked_for_twice_stand_twice_and_missing_ones_not_at_all() -> None:
    found = gather_points(id_array(["a", 3, 9, "a"]), [stored([3]), stored([]), stored(["a"])])
    assert found.ids.tolist() == ["a", 3, "a"]
    assert found.payloads == (b"xxx",) * 3


def test_nothing_found_is_empty() -> None:
    assert len(gather_points(id_array([1]), [stored([]), stored([])])) == 0


@settings(deadline=None)
@given(
    ids=st.lists(point_ids, unique=True, max_size=14), cut=st.integers(0, 14), limit=st.integers(1, 6), message_bytes=st.integers(1, 200)
)
def test_a_page_is_the_beginning_of_all_points_in_order(ids: list[PointId], cut: int, limit: int, message_bytes: int) -> None:
    shards = [sorted(ids[:cut], key=id_order), sorted(ids[cut:], key=id_order)]
    page = gather_page([stored(shard[:limit]) for shard in shards], limit, message_bytes)
    ordered = sorted(ids, key=id_order)
    count = len(page.points)
    assert page.points.ids.tolist() == ordered[:count]
    assert count <= limit
    assert count > 0 or not ids
    assert page.more or count == len(ids)
    if message_bytes == 200 and limit <= 5:
        assert count == min(limit, len(ids))


def test_a_page_is_cut_where_a_message_would_grow_too_large() -> None:
    page = gather_page([stored([1, 2, 3], payload_bytes=100)], 10, 300)
    assert (page.points.ids.tolist(), page.more) == ([1, 2], True)
    page = gather_page([stored([1, 2, 3], payload_bytes=1000)], 10, 300)
    assert (page.points.ids.tolist(), page.more) == ([1], True)
    page = gather_page([stored(["é" * 100, "ê" * 100], payload_bytes=0)], 10, 400)
    assert (len(page.points), page.more) == (1, True)


@pytest.mark.parametrize(
    ("limit", "dim", "vectors", "message_bytes", "points"),
    [(1000, 784, False, 2**20, 1000), (1000, 784, True, 2**20, 331), (10, 65536, True, 1000, 1)],
)
def test_a_page_with_vectors_is_as_large_as_a_message_allows(limit: int, dim: int, vectors: bool, message_bytes: int, points: int) -> None:
    assert page_points(limit, dim, vectors, message_bytes) == points


def test_pages_shrink_to_one_point_in_few_steps() -> None:
    sizes = [10_000]
    while (smaller := smaller_page(sizes[-1])) is not None:
        sizes.append(smaller)
    assert sizes == [10_000, 1_250, 156, 19, 2, 1]
