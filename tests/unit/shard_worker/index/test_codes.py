"""Test what codes of one byte lose: the same codes as FAISS makes, and a trial that tells good data from bad."""

from __future__ import annotations

import faiss
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from shoal.core.metric import Metric
from shoal.core.scoring import prepared
from shoal.shard_worker.index.codes import CodeRange, codes_suffice
from tests.support.worker.made_segments import clustered

DIM = 64


def with_far_rows(rows: np.ndarray) -> np.ndarray:
    """Return the rows with three that lie far out, so that all others get a few codes only."""
    changed = rows.copy()
    changed[:3] *= 1_000
    return changed


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.floats(1e-3, 1e3))
def test_rows_are_coded_as_faiss_codes_them(seed: int, rows: int, scale: float) -> None:
    made = (np.random.default_rng(seed).standard_normal((rows, 8)) * scale).astype(np.float32)
    others = (np.random.default_rng(seed + 1).standard_normal((rows, 8)) * scale).astype(np.float32)
    made[:, 3] = 1.5
    twin = faiss.IndexScalarQuantizer(8, faiss.ScalarQuantizer.QT_8bit)
    twin.train(made)
    codes = CodeRange.of(made)
    twin.add(np.concatenate([made, others]))
    step = codes.width / 255
    # A value at the border between two codes may fall to either.
    assert (np.abs(codes.coded(np.concatenate([made, others])) - twin.reconstruct_n(0, 2 * rows)) <= 1.01 * step + 1e-5 * scale).all()
    assert np.mean(codes.coded(others) != twin.reconstruct_n(rows, rows)) < 1 or rows < 40


@given(st_numpy.arrays(np.float32, (7, 5), elements=st.floats(-1e6, 1e6, width=32)))
def test_a_row_within_the_range_moves_by_half_a_step_at_most(rows: np.ndarray) -> None:
    codes = CodeRange.of(rows)
    rounding = 4e-7 * (np.abs(rows).max(axis=0) + codes.width) + 1e-30
    assert (np.abs(codes.coded(rows) - rows) <= codes.width / 255 * 0.51 + rounding).all()


@pytest.mark.parametrize("metric", [Metric.L2, Metric.COSINE, Metric.IP])
def test_codes_tell_usual_rows_apart_and_rows_among_far_ones_not(metric: Metric) -> None:
    rows = clustered(3, 2_000, DIM)
    assert codes_suffice(prepared(rows, metric), metric)
    assert codes_suffice(prepared(rows[:7], metric), metric), "too few rows to lose one"
    if metric is not Metric.COSINE:
        assert not codes_suffice(prepared(with_far_rows(rows), metric), metric)


def test_equal_rows_count_as_found_whichever_is_found() -> None:
    assert codes_suffice(np.repeat(clustered(3, 40, DIM), 50, axis=0), Metric.L2)


@pytest.mark.parametrize("value", [1e30, np.float32(3e38)])
def test_rows_whose_distances_overflow_are_not_coded(value: float) -> None:
    rows = clustered(3, 200, DIM) * np.float32(value / 1e3)
    assert not codes_suffice(rows.astype(np.float32), Metric.L2)


def test_codes_of_other_rows_suffice_if_these_rows_lie_in_their_range() -> None:
    rows, later = clustered(3, 2_000, DIM), clustered(4, 1_000, DIM)
    codes = CodeRange.of(rows)
    assert codes_suffice(later, Metric.L2, codes)
    assert not codes_suffice(later + 40, Metric.L2, codes), "all are clipped"
    assert not codes_suffice(later, Metric.L2, CodeRange.of(with_far_rows(rows))), "steps are too wide"
    assert codes_suffice(later + 40, Metric.L2), "their own codes fit"
