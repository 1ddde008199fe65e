"""Test that every form of the payload index agrees with the definition of truth, for any payloads, filters
and bounds.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shoal.core.filter import Filter
from shoal.shard_worker.payload import growing as growing_module
from shoal.shard_worker.payload.growing import GrowingPart, GrowingPayloads
from shoal.shard_worker.payload.matched import PayloadBounds
from shoal.shard_worker.payload.sealed import SealedPayloads
from tests.unit.shard_worker.payload.payloads import (
    BOUNDS,
    ROOMY,
    Payload,
    check,
    field_tests,
    filters,
    numbered,
    payloads,
    plain_payloads,
    texts,
)

ROWS = st.lists(payloads, max_size=8)
FILTERS = st.lists(filters, min_size=1, max_size=4)
MODERATE = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


def grown(rows: list[Payload], bounds: PayloadBounds, block_rows: int) -> GrowingPart:
    """Put the rows into a growing index whose blocks have `block_rows` rows, and return its part."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(growing_module, "BLOCK_ROWS", block_rows)
        growing = GrowingPayloads(bounds)
        growing.append(texts(rows), len(rows))
        return growing.part()


@given(rows=ROWS, wanted=FILTERS, bounds=st.sampled_from(BOUNDS), block_rows=st.sampled_from((1, 3, 100)))
@MODERATE
def test_a_growing_index_agrees(rows: list[Payload], wanted: list[Filter], bounds: PayloadBounds, block_rows: int) -> None:
    part = grown(rows, bounds, block_rows)
    for filter in wanted:
        check(part, filter, rows, numbered(len(rows)))


@given(rows=ROWS, wanted=FILTERS, bounds=st.sampled_from(BOUNDS))
@MODERATE
def test_a_sealed_index_and_its_file_agree(rows: list[Payload], wanted: list[Filter], bounds: PayloadBounds, tmp_path: Path) -> None:
    sealed = SealedPayloads.from_payloads(iter(texts(rows)), bounds)
    path = tmp_path / "one.payload"
    sealed.write(path)
    again = SealedPayloads.read(path)
    assert again.bounds == bounds
    for filter in wanted:
        said = check(sealed, filter, rows, numbered(len(rows)))
        reread = check(again, filter, rows, numbered(len(rows)))
        assert (reread.sure, reread.unsure) == (said.sure, said.unsure)


@given(first=ROWS, second=ROWS, third=ROWS, wanted=FILTERS, bounds=st.sampled_from(BOUNDS), data=st.data())
@MODERATE
def test_what_is_built_from_parts_of_parts_agrees(
    first: list[Payload], second: list[Payload], third: list[Payload], wanted: list[Filter], bounds: PayloadBounds, data: st.DataObject
) -> None:
    """Two merges take some rows of each source, in any order. The second one merges the result of the first."""

    def some(rows: list[Payload]) -> list[int]:
        return data.draw(st.permutations(range(len(rows))))[: data.draw(st.integers(0, len(rows)))]

    one, two = some(first), some(second)
    merged = SealedPayloads.build(
        [
            (SealedPayloads.from_payloads(texts(first), bounds), np.array(one, dtype=np.int64)),
            (grown(second, bounds, 3), np.array(two, dtype=np.int64)),
        ]
    )
    middle = [first[at] for at in one] + [second[at] for at in two]
    last = some(middle)
    final = SealedPayloads.build([(grown(third, bounds, 2), np.arange(len(third))), (merged, np.array(last, dtype=np.int64))])
    rows = third + [middle[at] for at in last]
    for filter in wanted:
        check(merged, filter, middle)
        check(final, filter, rows)


@given(rows=st.lists(plain_payloads, max_size=8), wanted=field_tests)
@MODERATE
def test_within_its_bounds_an_index_is_sure(rows: list[Payload], wanted: Filter) -> None:
    """Without this test, an index that is unsure of every row would pass, too."""
    assert not check(SealedPayloads.from_payloads(texts(rows), ROOMY), wanted, rows).unsure
    assert not check(grown(rows, ROOMY, 3), wanted, rows).unsure


def test_building_from_nothing_gives_no_rows() -> None:
    assert len(SealedPayloads.build([])) == 0
    assert len(SealedPayloads.from_payloads([], ROOMY)) == 0
