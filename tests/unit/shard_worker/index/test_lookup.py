from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from shoal.shard_worker.index.lookup import RowLookup

ROWS = st.integers(0, 40)


@given(st.lists(ROWS, unique=True), st.lists(ROWS))
def test_lookup_agrees_with_a_dict(held: list[int], asked: list[int]) -> None:
    lookup = RowLookup(np.array(held, dtype=np.int64))
    found, positions = lookup.find(np.array(asked, dtype=np.int64))
    where = {row: at for at, row in enumerate(held)}
    assert found.tolist() == [row in where for row in asked]
    assert positions.tolist() == [where[row] for row in asked if row in where]
    assert (lookup.extra_bytes > 0) == (held != sorted(held))
