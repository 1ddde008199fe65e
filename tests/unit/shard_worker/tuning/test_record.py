"""Test that measured recall is the same after a restart, and that no other record is taken for it."""

import dataclasses
import json

import numpy as np
import pytest

from shoal.core.errors import DataLoss
from shoal.shard_worker.index.tuning import Tuning
from shoal.shard_worker.tuning.record import tuning_from_json, tuning_to_json


def rule() -> Tuning:
    return Tuning.untuned(breadth_name="ef", max_breadth=10_000, quantised=True, rows=10_000, dim=32)


def test_it_says_the_same_after_a_round_trip():
    before = rule()
    after = tuning_from_json(json.loads(json.dumps(tuning_to_json(before))))
    assert after.shape.rows == 10_000
    for k in (1, 10, 77, 500):
        for recall in (0.5, 0.9, 0.95):
            assert after.breadth_for(k, recall) == before.breadth_for(k, recall)
            assert after.recall_at(k, 300, 600) == before.recall_at(k, 300, 600)
    assert after.us_of(100, 10) == before.us_of(100, 10)
    np.testing.assert_array_equal(after.measures.surely, before.measures.surely)


def real() -> Tuning:
    before = rule()
    return Tuning(before.shape, dataclasses.replace(before.measures, queries=64, real=True, remote=(-1.0, 0.5, 2.0)))


def test_what_the_measured_queries_were_like_is_remembered():
    after = tuning_from_json(json.loads(json.dumps(tuning_to_json(real()))))
    assert after.trusted
    assert after.measures.remote == (-1.0, 0.5, 2.0)


def test_a_record_of_an_earlier_version_is_read_and_not_trusted():
    """Such a record does not tell whether later queries are like the measured ones."""
    record = tuning_to_json(real())
    del record["remote"]
    after = tuning_from_json(record)
    assert (after.measured, after.real, after.trusted) == (True, False, False)


@pytest.mark.parametrize(
    "change",
    [
        {"remote": [2.0, 1.0]},
        {"remote": [float("inf")]},
        {"remote": 3},
        {"breadths": []},
        {"breadths": [8, 8]},
        {"ranks": [0, 1]},
        {"ranks": "abc"},
        {"expected": [[[0.5]]]},
        {"surely": [[[2.0]]]},
        {"us": [1.0]},
        {"us": None},
        {"score_us": float("nan")},
        {"exact_row_us": -1.0},
        {"rows": "many"},
        {"expected": [[1.0], [1.0, 2.0]]},
    ],
)
def test_a_record_that_cannot_be_right_is_refused(change):
    with pytest.raises(DataLoss, match="measured recall"):
        tuning_from_json({**tuning_to_json(rule()), **change})


@pytest.mark.parametrize("record", [None, [], 3, {}, {"rows": 1}])
def test_what_is_no_record_is_refused(record):
    with pytest.raises(DataLoss, match="cannot be read"):
        tuning_from_json(record)


def test_shares_beyond_one_are_refused():
    record = tuning_to_json(rule())
    record["surely"][0][0][0] = 1.5
    with pytest.raises(DataLoss, match="contradicts itself"):
        tuning_from_json(record)
