"""Draw random payloads and filters that often match, and compare an index with its dumb twin, which reads every row."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from shoal.core.filter import And, Contains, Exists, Filter, HasId, In, Not, Or, Path, Prefix, Range
from shoal.core.filter_truth import matches
from shoal.core.points import PointId, id_array
from shoal.shard_worker.payload.matched import Matched, PayloadBounds, PayloadPart

Payload = dict[str, Any] | None

ROOMY = PayloadBounds()
BOUNDS = (
    ROOMY,
    PayloadBounds(fields=2),
    PayloadBounds(distinct_values=1),
    PayloadBounds(indexed_chars=2),
    PayloadBounds(fields=3, distinct_values=2, indexed_chars=1),
    PayloadBounds(fields=0, distinct_values=0, indexed_chars=0),
)

INTS = (-1, 0, 1, 3, 2**53, 2**53 + 1, -(2**53) - 1, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**64, 10**308, 10**400)
FLOATS = (-1.5, 0.0, -0.0, 1.0, 2.5, 3.0, float(2**53), float(2**53 + 2), float(2**63), -float(2**63), float(2**64), 1e308, 5e-324)
STRINGS = ("", "a", "ab", "abc", "b", "ba", "é", "中文", "\U0001f41f", "\ud800", "1", "a" * 9)
KEYS = ("a", "b", "c.d")

scalars = st.one_of(st.none(), st.booleans(), st.sampled_from(INTS), st.sampled_from(FLOATS), st.sampled_from(STRINGS))
numbers = st.one_of(st.sampled_from(INTS), st.sampled_from(FLOATS))
paths = st.lists(st.sampled_from(KEYS), min_size=1, max_size=3).map(tuple)

values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(KEYS), inner, max_size=3)),
    max_leaves=6,
)
payloads: st.SearchStrategy[Payload] = st.one_of(st.none(), st.dictionaries(st.sampled_from(KEYS), values, max_size=3))


def _fits(value: Any) -> bool:
    return not isinstance(value, int) or -(2**63) <= value < 2**63


plain_payloads: st.SearchStrategy[Payload] = st.one_of(
    st.none(),
    st.dictionaries(
        st.sampled_from(KEYS),
        st.recursive(scalars.filter(_fits), lambda inner: st.dictionaries(st.sampled_from(KEYS), inner, max_size=3), max_leaves=4)
        | st.lists(scalars.filter(_fits), max_size=3),
        max_size=3,
    ),
)
"""Payloads of which an index is sure within its bounds: no integer beyond 64 bits, no object in a list."""


def _ranges(path: Path, bounds: st.SearchStrategy[Any]) -> st.SearchStrategy[Filter]:
    optional = st.one_of(st.none(), bounds)
    made = st.builds(Range, path=st.just(path), gt=optional, gte=optional, lt=optional, lte=optional)
    return made.filter(lambda test: any(bound is not None for bound in (test.gt, test.gte, test.lt, test.lte)))


def _tests(path: Path) -> st.SearchStrategy[Filter]:
    return st.one_of(
        st.builds(In, path=st.just(path), values=st.lists(scalars, max_size=3).map(tuple)),
        _ranges(path, numbers),
        _ranges(path, st.sampled_from(STRINGS)),
        st.builds(Exists, path=st.just(path)),
        st.builds(Contains, path=st.just(path), value=scalars),
        st.builds(Prefix, path=st.just(path), text=st.sampled_from(STRINGS)),
    )


field_tests = paths.flatmap(_tests)
ids_wanted = st.lists(st.one_of(st.integers(-1, 8), st.sampled_from(("1", "2", "5")), st.just(2**70)), max_size=3).map(tuple)
filters: st.SearchStrategy[Filter] = st.recursive(
    st.one_of(field_tests, st.builds(HasId, ids=ids_wanted)),
    lambda inner: st.one_of(
        st.builds(Not, term=inner),
        st.builds(And, terms=st.lists(inner, max_size=3).map(tuple)),
        st.builds(Or, terms=st.lists(inner, max_size=3).map(tuple)),
    ),
    max_leaves=5,
)


def texts(payloads: Sequence[Payload]) -> list[bytes | None]:
    """Return the payloads as a store holds them."""
    return [None if payload is None else json.dumps(payload).encode() for payload in payloads]


def numbered(rows: int) -> list[PointId]:
    """Return ids of rows: integers, and every third one a string."""
    return [str(row) if row % 3 == 2 else row for row in range(rows)]


def true_rows(filter: Filter, payloads: Sequence[Payload], ids: Sequence[PointId]) -> list[int]:
    """Return the positions that match by the definition of truth."""
    return [at for at, (payload, point_id) in enumerate(zip(payloads, ids, strict=True)) if matches(filter, payload, point_id)]


def read_rows(matched: Matched, filter: Filter, payloads: Sequence[Payload], ids: Sequence[PointId]) -> list[int]:
    """Return the positions that match, after the unsure rows were read."""
    assert not matched.sure & matched.unsure
    read = [at for at in matched.unsure if matches(filter, payloads[at], ids[at])]
    return sorted([*matched.sure, *read])


def check(part: PayloadPart, filter: Filter, payloads: Sequence[Payload], ids: Sequence[PointId] | None = None) -> Matched:
    """Check that the part agrees with the truth: sure rows match, and no row is missed. Return its answer."""
    known = list(range(len(payloads))) if ids is None else ids
    assert len(part) == len(payloads)
    matched = part.match(filter, id_array(known))
    expected = true_rows(filter, payloads, known)
    assert set(matched.sure) <= set(expected)
    assert read_rows(matched, filter, payloads, known) == expected
    return matched


def everything(part: PayloadPart) -> np.ndarray:
    """Return the positions of all rows."""
    return np.arange(len(part), dtype=np.int64)
