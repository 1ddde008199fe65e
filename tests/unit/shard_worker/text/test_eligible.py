from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from shoal.shard_worker.text import eligible as eligible_module
from shoal.shard_worker.text.eligible import Eligible, Mask, common_rows


def test_a_thread_never_sees_a_mask_that_another_one_is_still_filling(monkeypatch: pytest.MonkeyPatch) -> None:
    shared = Eligible(6, among=np.array([1, 4]))
    seen: list[list[bool]] = []

    class Watched(np.ndarray[Any, Any]):
        """Zeros of which the first change is preceded by what another thread may do at that moment."""

        def __setitem__(self, at: Any, value: Any) -> None:
            monkeypatch.setattr(np, "zeros", zeros)
            mask = shared.mask()
            assert mask is not None
            seen.append(mask.tolist())
            super().__setitem__(at, value)

    zeros = np.zeros

    def watched(rows: int, dtype: type[bool]) -> Mask:
        return zeros(rows, dtype=dtype).view(Watched)

    monkeypatch.setattr(np, "zeros", watched)
    mask = shared.mask()
    expected = [False, True, False, False, True, False]
    assert mask is not None
    assert mask.tolist() == expected
    assert seen == [expected]


@pytest.mark.parametrize("looked_up", [0, 24, 1_000_000])
def test_eligible_rows_are_those_of_sets_whether_looked_up_or_masked(looked_up: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eligible_module, "_LOOKED_UP", looked_up)
    random = np.random.default_rng(1)
    kept = 0
    for rows in (1, 64, 700):
        for _ in range(40):
            first, second = (np.flatnonzero(random.random(rows) < random.choice((0.01, 0.3, 1.0))).astype(np.uint32) for _ in range(2))
            alive = random.random(rows) < 0.8
            both = set(first.tolist()) & set(second.tolist())
            assert common_rows(first, second, rows).tolist() == sorted(both)
            for mask, living in ((None, range(rows)), (alive, np.flatnonzero(alive).tolist())):
                for among, most in ((None, range(rows)), (first, first.tolist())):
                    eligible = Eligible(rows, mask=mask, among=among)
                    expected = sorted(set(second.tolist()) & set(living) & set(most))
                    found = eligible.within(second)
                    masked = np.zeros(rows, dtype=bool)
                    masked[second] = True
                    assert found.tolist() == eligible.within_mask(masked).tolist() == expected
                    assert found.dtype == eligible.within_mask(masked).dtype == np.uint32
                    kept += len(expected)
    assert kept > 10_000
