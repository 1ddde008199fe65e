from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from shoal.core.errors import InvalidArgument
from shoal.core.ids import CollectionId, ShardId
from shoal.core.requests import MeasureRecall, TuneCollection
from shoal.core.tuning_calls import CurvePoint, SegmentCurve, ShardMeasureRecall, ShardRecall, ShardTune
from shoal.wire import recall as wire
from tests.unit.shoal.wire.strategies import over_the_wire, shard_ids

uint32 = st.integers(0, 2**32 - 1)
numbers = st.floats(allow_nan=False)
curves = st.builds(
    SegmentCurve,
    shard=uint32,
    segment=st.text(max_size=5),
    index=st.text(max_size=5),
    rows=st.integers(0, 2**64 - 1),
    breadth_name=st.sampled_from(["ef", "nprobe", ""]),
    queries=uint32,
    real_queries=st.booleans(),
    points=st.lists(st.builds(CurvePoint, breadth=uint32, fetch=uint32, recall=numbers, us=numbers), max_size=3).map(tuple),
    exact_us=numbers,
)
recalls = st.builds(
    ShardRecall,
    shard=uint32,
    queries=uint32,
    real_queries=st.booleans(),
    recall=numbers,
    lowest=numbers,
    search_us=numbers,
    exact_us=numbers,
)
counts = st.integers(1, 2**32 - 1)


@settings(deadline=None)
@given(st.builds(ShardTune, shard=shard_ids, k=uint32, vector=st.text(max_size=4)))
def test_an_order_to_tune_a_shard_comes_back(call: ShardTune) -> None:
    assert wire.shard_tune_from_message(over_the_wire(wire.shard_tune_to_message(call))) == call


@given(arrays(np.float32, st.tuples(st.integers(0, 3), st.integers(1, 4)), elements=st.floats(-9, 9, width=32)))
def test_queries_to_tune_with_come_back(queries: np.ndarray) -> None:
    shard = ShardTune(shard=ShardId(CollectionId("c"), 1), k=5, queries=queries)
    found = wire.shard_tune_from_message(over_the_wire(wire.shard_tune_to_message(shard))).queries
    np.testing.assert_array_equal(found, queries)
    request = TuneCollection(name="c", queries=queries)
    found = wire.tune_from_message(over_the_wire(wire.tune_to_message(request))).queries
    np.testing.assert_array_equal(found, queries)


def test_queries_that_are_no_matrix_are_refused_by_name() -> None:
    message = wire.tune_to_message(TuneCollection(name="c", queries=np.ones((2, 3), dtype=np.float32)))
    message.queries.dim = 4
    with pytest.raises(InvalidArgument, match="queries"):
        wire.tune_from_message(message)


@settings(deadline=None)
@given(st.builds(ShardMeasureRecall, shard=shard_ids, k=uint32, sample=uint32, recall=numbers, vector=st.text(max_size=4)))
def test_an_order_to_measure_a_shard_comes_back(call: ShardMeasureRecall) -> None:
    assert wire.shard_measure_from_message(over_the_wire(wire.shard_measure_to_message(call))) == call


@settings(deadline=None)
@given(curves)
def test_a_curve_comes_back(curve: SegmentCurve) -> None:
    assert wire.curve_from_message(over_the_wire(wire.curve_to_message(curve))) == curve


@settings(deadline=None)
@given(recalls)
def test_a_measured_recall_comes_back(measured: ShardRecall) -> None:
    assert wire.recall_from_message(over_the_wire(wire.recall_to_message(measured))) == measured
    assert wire.shard_measured_from_message(over_the_wire(wire.shard_measured_to_message(measured))) == measured


@settings(deadline=None)
@given(st.builds(TuneCollection, name=st.text(max_size=5), k=counts))
def test_a_public_order_to_tune_comes_back(request: TuneCollection) -> None:
    assert wire.tune_from_message(over_the_wire(wire.tune_to_message(request))) == request


@settings(deadline=None)
@given(st.builds(MeasureRecall, name=st.text(max_size=5), k=counts, sample=counts, recall=st.none() | numbers))
def test_a_public_order_to_measure_comes_back(request: MeasureRecall) -> None:
    assert wire.measure_from_message(over_the_wire(wire.measure_to_message(request))) == request


@settings(deadline=None)
@given(st.lists(curves, max_size=2).map(tuple), st.lists(recalls, max_size=2).map(tuple))
def test_what_was_measured_comes_back(curved: tuple[SegmentCurve, ...], measured: tuple[ShardRecall, ...]) -> None:
    assert wire.tuned_from_message(over_the_wire(wire.tuned_to_message(curved))) == curved
    assert wire.shard_tuned_from_message(over_the_wire(wire.shard_tuned_to_message(curved))) == curved
    assert wire.measured_from_message(over_the_wire(wire.measured_to_message(measured))) == measured
