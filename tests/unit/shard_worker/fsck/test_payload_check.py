"""Test the check of a payload index against the payloads: a right index passes, and each wrong entry is found."""

import json
import sys
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from shoal.core.filter import Exists, In
from shoal.core.filter_truth import is_scalar, matches, occurrences
from shoal.core.limits import DEFAULT_LIMITS
from shoal.core.payload import payload_from_json
from shoal.shard_worker.fsck.finding import Findings
from shoal.shard_worker.fsck.payload_check import PayloadCheck, fields_of
from shoal.shard_worker.payload.matched import PayloadBounds
from shoal.shard_worker.payload.sealed import SealedPayloads
from shoal.shard_worker.storage.store.inspection import StoredPoint

INDEXED = st.one_of(st.none(), st.booleans(), st.integers(-3, 3), st.sampled_from([0.5, 3.0, -1e300, "", "x", "é", "long" * 9]))
"""Values of which an index is sure within its bounds."""
SCALARS = INDEXED | st.just(2**70)
KEYS = st.sampled_from(["a", "b", "c.d"])


def values_with(scalars):
    return st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=6)


def payloads_with(scalars):
    return st.lists(st.none() | st.dictionaries(KEYS, values_with(scalars), max_size=3), min_size=1, max_size=8)


PAYLOADS = payloads_with(SCALARS)
SMALL = PayloadBounds(fields=2, distinct_values=2, indexed_chars=4)


def encoded(payloads):
    return [None if payload is None else json.dumps(payload).encode() for payload in payloads]


def findings(index, payloads, positions):
    found = Findings()
    check = PayloadCheck(Path("segment"), index, found)
    points = [StoredPoint(row=at + 1, id=at, seq=1, key_crc=0, payload=payload, vector=b"") for at, payload in enumerate(encoded(payloads))]
    check.see(points, np.array(positions, dtype=np.int64))
    check.finish()
    return list(found)


@given(PAYLOADS, st.sampled_from([PayloadBounds(), SMALL]))
def test_a_right_index_passes(payloads, bounds):
    index = SealedPayloads.from_payloads(encoded(payloads), bounds)
    assert findings(index, payloads, range(len(payloads))) == []


@given(PAYLOADS, st.lists(st.booleans(), min_size=8, max_size=8))
def test_dead_rows_in_between_do_not_matter(payloads, alive):
    index = SealedPayloads.from_payloads(encoded(payloads), PayloadBounds())
    kept = [at for at in range(len(payloads)) if alive[at]]
    assert findings(index, [payloads[at] for at in kept], kept) == []


@given(payloads_with(INDEXED), payloads_with(INDEXED))
def test_an_index_of_other_payloads_passes_only_when_no_test_of_a_held_value_tells_them_apart(payloads, others):
    others = (others * 8)[: len(payloads)]
    index = SealedPayloads.from_payloads(encoded(others), PayloadBounds())
    fields = [field for payload in payloads for field in fields_of(payload or {})]
    tests = [Exists(path) for path, _ in fields]
    for path, occurrence in fields:
        tests += [In(path, (each,)) for each in (occurrence if isinstance(occurrence, list) else [occurrence]) if is_scalar(each)]
    differ = any(matches(test, one, 0) != matches(test, other, 0) for test in tests for one, other in zip(payloads, others, strict=True))
    assert bool(findings(index, payloads, range(len(payloads)))) == differ


@given(st.dictionaries(KEYS, values_with(SCALARS), max_size=3))
def test_fields_are_those_that_the_truth_walks(payload):
    walked = list(fields_of(payload))
    for path in {path for path, _ in walked}:
        assert [found for each, found in walked if each == path] == list(occurrences(payload, path))


def test_a_payload_of_any_depth_is_walked_as_far_as_a_filter_may_ask():
    """An older version had no bound on depth. It stored payloads that Python's own json cannot read."""
    levels = 5 * sys.getrecursionlimit()
    deep = b'{"n":1,"b":' + b'[{"b":' * levels + b"1" + b"}]" * levels + b"}"
    walked = [path for path, _ in fields_of(payload_from_json(deep))]
    assert walked[:2] == [("n",), ("b",)]
    assert max(map(len, walked)) == DEFAULT_LIMITS.filter_path_keys
    index = SealedPayloads.from_payloads([deep], PayloadBounds())
    found = Findings()
    check = PayloadCheck(Path("segment"), index, found)
    check.see([StoredPoint(row=1, id=0, seq=1, key_crc=0, payload=deep, vector=b"")], np.array([0], dtype=np.int64))
    check.finish()
    assert list(found) == []


def test_what_is_wrong_is_said():
    index = SealedPayloads.from_payloads([b'{"n":1}', b'{"n":2}'], PayloadBounds())
    (first, second) = findings(index, [{"n": 1}, {"n": 1}], [0, 1])[:1] + findings(index, [{"m": True}, None], [0, 1])[:1]
    assert (first.position, "misses 1 rows that hold it and names 0" in first.meaning) == ("field n = 1", True)
    assert (second.position, "misses 1 rows that hold it" in second.meaning) == ("field m", True)
