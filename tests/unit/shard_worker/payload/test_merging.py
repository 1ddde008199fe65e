"""Test merging within bounds: which fields keep their index, and what happens to a field that one source could not
index.
"""

from __future__ import annotations

import numpy as np

from shoal.core.filter import Exists, In, Prefix
from shoal.shard_worker.payload.matched import PayloadBounds
from shoal.shard_worker.payload.sealed import SealedPayloads
from tests.unit.shard_worker.payload.payloads import Payload, check, everything, texts


def sealed(rows: list[Payload], bounds: PayloadBounds) -> SealedPayloads:
    return SealedPayloads.from_payloads(texts(rows), bounds)


def test_fields_of_the_most_rows_keep_their_index() -> None:
    bounds = PayloadBounds(fields=1)
    first: list[Payload] = [{"rare": 1}, None]
    second: list[Payload] = [{"often": 1}, {"often": 2}]
    merged = SealedPayloads.build([(part, everything(part)) for part in (sealed(first, bounds), sealed(second, bounds))])
    assert not check(merged, Exists(path=("often",)), first + second).unsure
    assert list(check(merged, Exists(path=("rare",)), first + second).unsure) == [0]


def test_rows_of_a_source_that_could_not_index_the_field_stay_unsure() -> None:
    bounds = PayloadBounds(fields=1)
    first: list[Payload] = [{"x": 1, "b": 5}, {"x": 1}]
    second: list[Payload] = [{"b": 5}] * 3
    merged = SealedPayloads.build([(part, everything(part)) for part in (sealed(first, bounds), sealed(second, bounds))])
    said = check(merged, In(path=("b",), values=(5,)), first + second)
    assert (list(said.sure), list(said.unsure)) == ([2, 3, 4], [0])
    there = check(merged, Exists(path=("b",)), first + second)
    assert (list(there.sure), list(there.unsure)) == ([2, 3, 4], [0])


def test_strings_that_are_together_too_many_become_hashes() -> None:
    bounds = PayloadBounds(distinct_values=3)
    first: list[Payload] = [{"w": "a"}, {"w": "b"}]
    second: list[Payload] = [{"w": "b"}, {"w": "c"}, {"w": "d"}]
    parts = (sealed(first, bounds), sealed(second, bounds))
    merged = SealedPayloads.build([(part, everything(part)) for part in parts])
    assert list(check(merged, In(path=("w",), values=("b",)), first + second).unsure) == [1, 2]
    # Without the row of "d" there are few enough distinct strings for a dictionary.
    fewer = SealedPayloads.build([(parts[0], everything(parts[0])), (parts[1], np.array([1, 0]))])
    assert list(check(fewer, Prefix(path=("w",), text="b"), [*first, second[1], second[0]]).sure) == [1, 3]


def test_a_field_that_no_row_holds_any_more_is_forgotten() -> None:
    rows: list[Payload] = [{"a": 1}, {"b": 2}]
    part = sealed(rows, PayloadBounds())
    kept = SealedPayloads.build([(part, np.array([1]))])
    assert kept.memory_bytes() < part.memory_bytes()
    assert not check(kept, Exists(path=("a",)), rows[1:]).sure
