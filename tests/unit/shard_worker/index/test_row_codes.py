"""Codes of growing rows: no row that they leave out is nearer than they say, and what a view sees does not move."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shoal.core.metric import Metric
from shoal.core.points import Matrix
from shoal.core.scoring import prepared
from shoal.shard_worker.index import row_codes
from shoal.shard_worker.index.row_codes import GrowingCodes
from shoal.shard_worker.logic import code_gain
from tests.support.scope import LONG

KINDS = ["normal", "whole", "few", "zeros", "outlier", "large", "small", "mixed"]
DIMS = [64, 65, 100, 128, 200]


@pytest.fixture(autouse=True)
def _few_rows_have_codes() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(code_gain, "LEAST_ROWS", 8)
        patch.setattr(code_gain, "LEAST_FLOATS", 1)
        for module in (code_gain, row_codes):
            patch.setattr(module, "looked_at", lambda wanted, dim: wanted + 1)
        yield


def made_rows(random: np.random.Generator, kind: str, rows: int, dim: int) -> Matrix:
    """Return rows of a kind. Rows of zeros are left to `zeros`, which no cosine can have."""
    made = random.normal(size=(rows, dim))
    match kind:
        case "whole":
            made = random.integers(-2, 3, size=(rows, dim)) + (np.arange(dim) == 0) * 5
        case "few":
            made = made[random.integers(0, max(1, rows // 10), size=rows)]
        case "zeros":
            made[random.integers(0, rows, size=rows // 2)] = 0
        case "outlier":
            made[random.integers(rows)] *= 1e4
        case "large":
            made *= 1e17
        case "small":
            made *= 1e-25
        case "mixed":
            made *= 10.0 ** random.integers(-6, 6, size=(rows, 1))
    return made.astype(np.float32)


def grown(vectors: Matrix, ends: list[int]) -> GrowingCodes:
    """Return the codes of rows that came in batches, in arrays that were replaced as they grew."""
    codes, reserved, start = GrowingCodes(vectors.shape[1]), 0, 0
    for end in ends:
        reserved = reserved if end <= reserved else max(end, 2 * reserved)
        codes.extend(vectors, start, end, reserved=reserved)
        start = end
    return codes


@settings(deadline=None, max_examples=600 if LONG else 150, suppress_health_check=[HealthCheck.too_slow])
@given(
    metric=st.sampled_from(list(Metric)),
    kind=st.sampled_from(KINDS),
    dim=st.sampled_from(DIMS),
    cuts=st.lists(st.integers(1, 399), max_size=5),
    wanted=st.integers(1, 30),
    asked=st.sampled_from(["normal", "row", "near", "far"]),
    seed=st.integers(0, 1 << 20),
)
def test_no_row_that_is_left_out_is_nearer_than_they_say(
    metric: Metric, kind: str, dim: int, cuts: list[int], wanted: int, asked: str, seed: int
) -> None:
    random = np.random.default_rng(seed)
    kind = "normal" if metric is Metric.COSINE and kind == "zeros" else kind
    vectors = np.ascontiguousarray(prepared(made_rows(random, kind, 400, dim), metric))
    query = {
        "normal": random.normal(size=dim),
        "row": vectors[7],
        "near": vectors[7] * random.normal(1, 1e-3, size=dim),
        "far": 50 * vectors[7],
    }[asked].astype(np.float32)[None, :]
    query = np.ascontiguousarray(prepared(query if query.any() else query + 1, metric))[0]
    lengths = np.sqrt(np.square(vectors.astype(np.float64)).sum(axis=1))
    part = grown(vectors, sorted({*cuts, 400})).part(400, float(lengths.max()))
    if part is None:
        assert kind in {"large", "small"}
        return
    length = math.sqrt(float(np.square(query.astype(np.float64)).sum()))
    shortlist = part.shortlist(query, length, wanted, metric)
    together = part.shortlists(np.stack([vectors[9], query]), [float(lengths[9]), length], wanted, metric)
    if shortlist is None:
        assert length > 1e18
        assert together is None
        return
    assert together is not None
    assert together.positions[1].tolist() == shortlist.positions.tolist()
    assert together.beyond[1] == pytest.approx(shortlist.beyond, rel=1e-5, abs=1e-5 * (length + lengths.max()) ** 2)
    assert np.unique(shortlist.positions).tolist() == shortlist.positions.tolist()
    wide, rows = query.astype(np.float64), vectors.astype(np.float64)
    far = np.square(rows - wide).sum(axis=1) if metric is Metric.L2 else -(rows @ wide)
    left_out = np.setdiff1d(np.arange(400), shortlist.positions)
    assert (far[left_out] >= shortlist.beyond - 1e-12 * abs(shortlist.beyond)).all()


@pytest.mark.parametrize("metric", list(Metric))
def test_they_tell_most_rows_of_usual_vectors_apart(metric: Metric) -> None:
    random = np.random.default_rng(5)
    vectors = np.ascontiguousarray(prepared(random.normal(size=(400, 128)).astype(np.float32), metric))
    part = grown(vectors, [100, 400]).part(400, float(np.linalg.norm(vectors, axis=1).max()) * 1.001)
    assert part is not None
    query = vectors[3]
    shortlist = part.shortlist(query, float(np.linalg.norm(query)), 10, metric)
    assert shortlist is not None
    far = np.square(vectors - query).sum(axis=1) if metric is Metric.L2 else -(vectors @ query)
    assert shortlist.beyond > np.sort(far)[1], "the nearest other row is certainly among those that are left"


def test_what_a_view_sees_does_not_move() -> None:
    random = np.random.default_rng(1)
    vectors = random.normal(size=(1_000, 64)).astype(np.float32)
    vectors[400:] *= 3
    vectors[700:] *= 3
    codes, seen = GrowingCodes(64), []
    for start in range(0, 1_000, 50):
        codes.extend(vectors, start, start + 50, reserved=max(256, 1 << (start + 49).bit_length()))
        part = codes.part(start + 50, 100.0)
        assert part is not None
        seen.append((part, part._codes.copy()))
    for part, before in seen:
        assert (part._codes == before).all()
    assert len({id(part._codes.base) for part, _ in seen}) >= 4, "rows that do not fit are coded into another array"


def test_rows_of_zeros_have_no_codes_until_another_comes() -> None:
    vectors = np.zeros((100, 64), dtype=np.float32)
    codes = GrowingCodes(64)
    codes.extend(vectors, 0, 60, reserved=100)
    assert codes.part(60, 0.0) is None
    vectors[60] = 1
    codes.extend(vectors, 60, 61, reserved=100)
    part = codes.part(61, 8.0)
    assert part is not None
    shortlist = part.shortlist(vectors[60], 8.0, 1, Metric.L2)
    assert shortlist is not None
    assert 60 in shortlist.positions.tolist()


def _check_beyond(vectors: np.ndarray, query: np.ndarray, metric: Metric) -> None:
    """Search for 3 rows. The last row must be left out, and must not be nearer than the codes say."""
    rows, asked = vectors.astype(np.float32), query.astype(np.float32)
    codes = GrowingCodes(rows.shape[1])
    codes.extend(rows, 0, len(rows), reserved=len(rows))
    part = codes.part(len(rows), float(np.linalg.norm(vectors, axis=1).max()) * (1 + 1e-6))
    assert part is not None
    shortlist = part.shortlist(asked, float(np.linalg.norm(query)) * (1 + 1e-6), 3, metric)
    assert shortlist is not None
    assert len(rows) - 1 not in shortlist.positions
    last = np.square(rows[-1] - asked).sum() if metric is Metric.L2 else -(rows[-1] @ asked)
    assert last >= shortlist.beyond


@pytest.mark.parametrize("metric", [Metric.L2, Metric.IP])
def test_what_rows_lose_in_all_dimensions_at_once_is_counted(metric: Metric) -> None:
    # The first row makes the scale 1. The last row is the nearest, and by its codes it is not.
    vectors = np.full((50, 64), 10 - 0.45)
    vectors[0] = 127 / 1.125 * (1 if metric is Metric.L2 else -1)
    vectors[-1] = 10 + 0.45
    vectors[-1, 0] -= 2
    _check_beyond(vectors, np.full(64, 20.0 if metric is Metric.L2 else 127.0), metric)


@pytest.mark.parametrize("metric", [Metric.L2, Metric.IP])
def test_what_the_query_loses_in_all_dimensions_at_once_is_counted(metric: Metric) -> None:
    early, late = slice(1, 32), slice(33, 64)
    vectors = np.zeros((50, 64)) + (20 if metric is Metric.L2 else 0)
    # The first row makes the scale 1, as the first dimension does for the query of a product.
    vectors[0, 1] = -127 / 1.125
    vectors[:, 0] = 0
    vectors[-1, early] += 5
    vectors[1:-1, late] += 5
    vectors[1:-1, 33] += 1 if metric is Metric.IP else -1
    query = np.full(64, 20.0)
    query[0] = 0 if metric is Metric.L2 else 127
    query[early], query[late] = 20.45, 19.55
    _check_beyond(vectors, query, metric)
