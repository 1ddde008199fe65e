"""Measured recall survives a restart as it was, and nothing else is taken for it."""

import json

import numpy as np
import pytest

from shard_worker.index.tuning import Tuning
from shard_worker.index.tuning_record import tuning_from_json, tuning_to_json
from shoal.core.errors import DataLoss


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


@pytest.mark.parametrize(
    "change",
    [
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
