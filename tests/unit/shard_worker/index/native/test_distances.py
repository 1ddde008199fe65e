from __future__ import annotations

import numpy as np
import pytest

from shoal.core.metric import Metric
from shoal.core.scoring import scores
from shoal.shard_worker.index.native.distances import distances_at


@pytest.mark.parametrize("metric", [Metric.L2, Metric.IP])
@pytest.mark.parametrize("queries", [1, 5])
def test_smaller_is_nearer_and_no_row_is_infinitely_far(metric: Metric, queries: int) -> None:
    rng = np.random.default_rng(1)
    asked, rows = rng.normal(size=(queries, 12)).astype(np.float32), rng.normal(size=(40, 12)).astype(np.float32)
    positions = rng.integers(0, 40, size=(queries, 7))
    positions[:, 3] = -1
    found = distances_at(asked, rows, positions, metric)
    sign = 1 if metric is Metric.L2 else -1
    for number in range(queries):
        expected = sign * scores(asked[number], rows[positions[number]], metric)
        kept = positions[number] >= 0
        assert found[number][kept] == pytest.approx(expected[kept], rel=1e-4)
    assert np.isposinf(found[:, 3]).all()
