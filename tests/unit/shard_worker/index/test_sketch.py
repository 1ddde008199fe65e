"""Images bound distances and products, rounding included, whatever the vectors are."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.shard_worker.index.sketch import Axes, Sketch
from shoal.shard_worker.logic.bound_gain import WIDTH
from tests.support.examples.hostile_vectors import DATA, QUERIES, queries_of, rows_of

DIM = 192


@settings(max_examples=60, deadline=None)
@given(
    data=st.sampled_from(DATA),
    asked=st.sampled_from(QUERIES),
    scale=st.sampled_from([1e-30, 1e-12, 1.0, 1e9, 1e17]),
    offset=st.sampled_from([0.0, 1.0, 1e3]),
    seed=st.integers(0, 50),
)
def test_an_image_is_nearer_and_its_product_larger(data: str, asked: str, scale: float, offset: float, seed: int) -> None:
    rows = (rows_of(data, 300, DIM, seed) + np.float32(offset)) * np.float32(scale)
    queries = (queries_of(asked, rows_of(data, 300, DIM, seed), 5, seed) + np.float32(offset)) * np.float32(scale)
    axes = Axes.of(rows)
    assert axes is not None
    sketch = Sketch.of(axes, rows)
    assert sketch is not None
    wide, centre = rows.astype(np.longdouble), axes.centre.astype(np.longdouble)
    images = sketch.images.astype(np.longdouble)
    assert sketch.reach * (1 + 1e-9) >= np.sqrt(((wide - centre) ** 2).sum(axis=1)).max()
    for query in queries:
        image, length = axes.image(query, centred=True)
        true = np.sqrt(((wide - query.astype(np.longdouble)) ** 2).sum(axis=1))
        near = np.sqrt(((images - image.astype(np.longdouble)) ** 2).sum(axis=1))
        assert (near <= true + axes.error(length + sketch.reach)).all()
        image, length = axes.image(query, centred=False)
        product = (wide - centre) @ query.astype(np.longdouble)
        bound = images @ image.astype(np.longdouble)
        assert (product <= bound + 2.1 * axes.error(length) * sketch.reach).all()


def test_a_bound_along_the_axes_of_the_spread_is_tight() -> None:
    rng = np.random.default_rng(1)
    spread = rng.standard_normal((2_000, 40)) @ rng.standard_normal((40, DIM))
    rows = (spread + 7).astype(np.float32)
    axes = Axes.of(rows)
    assert axes is not None
    images, _ = axes.images(rows) or pytest.fail("it was not stopped")
    true = np.sqrt(((rows[:100, None].astype(np.float64) - rows[None, :50]) ** 2).sum(axis=2))
    near = np.sqrt(((images[:100, None].astype(np.float64) - images[None, :50]) ** 2).sum(axis=2))
    np.testing.assert_allclose(near, true, rtol=1e-4, atol=1e-4)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", [np.inf, np.nan, 3e38])
def test_numbers_that_are_too_large_have_no_axes_or_an_infinite_reach(value: float) -> None:
    rows = rows_of("gaussian", 300, DIM, 1)
    rows[::2, 3] = value
    axes = Axes.of(rows)
    if axes is not None:
        images, reach = axes.images(rows) or pytest.fail("it was not stopped")
        assert not reach < 1e18
        assert images.shape == (300, WIDTH)


@pytest.mark.parametrize("rows", [1, 2, 70])
def test_few_and_equal_rows_have_axes_as_well(rows: int) -> None:
    axes = Axes.of(np.ones((rows, DIM), dtype=np.float32))
    assert axes is not None
    images, reach = axes.images(np.ones((3, DIM), dtype=np.float32)) or pytest.fail("it was not stopped")
    assert reach == 0
    assert not images.any()


def test_a_sketch_that_is_extended_equals_one_that_was_made_at_once() -> None:
    rows = rows_of("clusters", 900, DIM, 3)
    axes = Axes.of(rows)
    assert axes is not None
    first = Sketch.of(axes, rows[:500])
    assert first is not None
    longer, whole = first.extended(rows), Sketch.of(axes, rows)
    assert longer is not None
    assert whole is not None
    assert len(longer) == len(whole) == 900
    np.testing.assert_allclose(longer.images, whole.images, rtol=1e-6, atol=1e-5)
    assert math.isclose(longer.reach, whole.reach)
    assert longer.memory_bytes == whole.memory_bytes > rows.shape[0] * WIDTH * 4


def test_it_stops_when_it_is_told_to() -> None:
    rows = rows_of("gaussian", 100, DIM, 3)
    axes = Axes.of(rows)
    assert axes is not None
    assert Sketch.of(axes, rows, lambda: True) is None
    first = Sketch.of(axes, rows[:50])
    assert first is not None
    assert first.extended(rows, lambda: True) is None
