"""Test the evaluation of ids and of and, or, not. The test of a field is answered by a stand-in."""

from __future__ import annotations

import pytest
from pyroaring import BitMap

from shoal.core.filter import And, Exists, HasId, Not
from shoal.core.points import PointId, id_array
from shoal.shard_worker.payload.evaluate import evaluate
from shoal.shard_worker.payload.field_index import Test
from shoal.shard_worker.payload.matched import Matched

UNSURE, NOBODY = Exists(path=("unsure",)), Exists(path=("nobody",))


def answer(test: Test) -> Matched:
    """Answer the test UNSURE with row 0 as unsure, and the test NOBODY with no row. Any other test raises KeyError."""
    return {UNSURE.path: Matched(sure=BitMap(), unsure=BitMap([0])), NOBODY.path: Matched(sure=BitMap(), unsure=BitMap())}[test.path]


@pytest.mark.parametrize(
    ("ids", "wanted", "found"),
    [
        ([1, 2, 3], (3, 1), [0, 2]),
        ([1, 2, 3], ("1", 2**70, -(2**70)), []),
        ([1, "1", 2], ("1",), [1]),
        ([1, "1", 2], (1, 2), [0, 2]),
        ([], (1,), []),
        ([1], (), []),
    ],
)
def test_ids_are_found_by_type_and_value(ids: list[PointId], wanted: tuple[PointId, ...], found: list[int]) -> None:
    assert list(evaluate(HasId(ids=wanted), answer, id_array(ids)).sure) == found
    rest = [at for at in range(len(ids)) if at not in found]
    assert list(evaluate(Not(term=HasId(ids=wanted)), answer, id_array(ids)).sure) == rest


def test_nothing_more_is_asked_once_no_row_is_left() -> None:
    unasked = Exists(path=("unasked",))
    assert not evaluate(And(terms=(NOBODY, unasked)), answer, id_array([1])).sure
    with pytest.raises(KeyError):
        evaluate(And(terms=(UNSURE, unasked)), answer, id_array([1]))
