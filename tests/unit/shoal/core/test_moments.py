import datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.core.filter_input import filter_from_input
from shoal.core.filter_truth import matches
from shoal.core.limits import DEFAULT_LIMITS
from shoal.core.moments import is_no_time, moment_text
from shoal.core.payload import payload_from_json, payload_to_json

ZONES = st.timezones() | st.none()
MOMENTS = st.datetimes(datetime.datetime(2, 1, 1), datetime.datetime(9998, 12, 31), timezones=ZONES, allow_imaginary=False)


def in_utc(moment):
    return moment.replace(tzinfo=datetime.UTC) if moment.tzinfo is None else moment.astimezone(datetime.UTC)


@given(MOMENTS, MOMENTS)
def test_texts_are_ordered_as_times_are_and_read_back_as_the_same_time(one, other):
    texts = moment_text(one), moment_text(other)
    assert (texts[0] < texts[1], texts[0] == texts[1]) == (in_utc(one) < in_utc(other), in_utc(one) == in_utc(other))
    assert datetime.datetime.fromisoformat(texts[0]) == in_utc(one)
    assert len(texts[0]) == 27


@given(MOMENTS, MOMENTS)
def test_what_is_stored_is_found_by_the_time_itself(stored, bound):
    payload = payload_from_json(payload_to_json({"at": stored}, 0))
    for operator, truth in (("$gt", in_utc(stored) > in_utc(bound)), ("$lte", in_utc(stored) <= in_utc(bound))):
        assert matches(filter_from_input({"at": {operator: bound}}, DEFAULT_LIMITS), payload, 1) == truth
    assert matches(filter_from_input({"at": stored}, DEFAULT_LIMITS), payload, 1)


@given(st.dates(), st.dates())
def test_dates_are_ordered_too(one, other):
    assert (moment_text(one) < moment_text(other)) == (one < other)
    assert moment_text(one) < moment_text(datetime.datetime.combine(one, datetime.time()))


@pytest.mark.parametrize("value", [None, "2024-01-01", 5, datetime.time(1), datetime.timedelta(1), np.datetime64("NaT"), np.timedelta64(5)])
def test_other_values_are_no_moments(value):
    assert moment_text(value) is None
    assert is_no_time(value) == isinstance(value, np.datetime64)


def test_times_of_pandas_are_cut_to_microseconds_and_its_nat_is_no_time():
    pandas = pytest.importorskip("pandas")
    assert moment_text(pandas.Timestamp(1_500_000_123, tz="Asia/Tokyo", unit="ns")) == "1970-01-01T00:00:01.500000Z"
    assert moment_text(pandas.NaT) is None
    assert is_no_time(pandas.NaT)


@given(st.datetimes(datetime.datetime(1, 1, 1)))
def test_times_of_numpy_are_those_of_python(moment):
    given = np.datetime64(moment)
    assert moment_text(given) == moment_text(moment)
    for unit in ("s", "ms"):
        coarse = given.astype(f"M8[{unit}]")
        assert moment_text(coarse) == moment_text(coarse.astype("M8[us]").item())
    assert moment_text(given.astype("M8[D]")) == moment_text(moment.date())


@given(st.integers(-(2**63) + 1, 2**63 - 1))
def test_finer_times_of_numpy_are_cut_to_microseconds(nanoseconds):
    expected = datetime.datetime(1970, 1, 1) + datetime.timedelta(microseconds=nanoseconds // 1000)
    assert moment_text(np.datetime64(nanoseconds, "ns")) == moment_text(expected)


@pytest.mark.parametrize(
    "value", [np.datetime64(10_000, "Y"), np.datetime64(2**62, "s"), np.datetime64(-(2**62), "D"), np.datetime64(2**62, "us")]
)
def test_times_of_numpy_beyond_those_of_python_are_none(value):
    assert moment_text(value) is None
    assert not is_no_time(value)
