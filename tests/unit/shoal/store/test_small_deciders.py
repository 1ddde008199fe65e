from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.core.errors import InvalidArgument
from shoal.store.etcd.channels import EndpointOrder
from shoal.store.etcd.settings import EtcdSettings
from shoal.store.etcd.watch import FIRST_S, LONGEST_S, backoff_s


@given(st.integers(1, 10_000), st.floats(0.0, 1.0, exclude_max=True))
def test_a_backoff_lies_between_half_and_all_of_a_bounded_ceiling(failures: int, jitter: float) -> None:
    waited = backoff_s(failures, jitter)
    assert FIRST_S / 2 <= waited <= LONGEST_S
    assert backoff_s(failures + 1, jitter) >= waited


def test_a_backoff_grows_to_its_bound() -> None:
    assert [backoff_s(failures, 1.0) for failures in (1, 2, 3, 6, 60)] == [0.1, 0.2, 0.4, 2.0, 2.0]


def test_the_endpoint_that_worked_is_tried_first_and_one_that_failed_gives_way() -> None:
    order = EndpointOrder(3)
    assert order.attempts() == (0, 1, 2)
    order.worked(1)
    assert order.attempts() == (1, 2, 0)
    order.failed(0)
    assert order.preferred == 1
    order.failed(1)
    order.failed(2)
    assert order.attempts() == (0, 1, 2)


@given(st.integers(1, 5), st.lists(st.tuples(st.booleans(), st.integers(0, 4)), max_size=20))
def test_every_endpoint_is_always_attempted_once(count: int, reports: list[tuple[bool, int]]) -> None:
    order = EndpointOrder(count)
    for worked, endpoint in reports:
        (order.worked if worked else order.failed)(endpoint % count)
    assert sorted(order.attempts()) == list(range(count))


@pytest.mark.parametrize(
    "endpoint", ["", "localhost", "http://localhost:2379", ":2379", "localhost:", "localhost:x", "host:２", "::1:2379", "[::1:2379"]
)
def test_an_endpoint_that_is_no_host_and_port_is_refused(endpoint: str) -> None:
    with pytest.raises(InvalidArgument, match="host:port"):
        EtcdSettings(endpoints=(endpoint,))


def test_impossible_settings_are_refused_by_name() -> None:
    with pytest.raises(InvalidArgument, match="at least one"):
        EtcdSettings(endpoints=())
    for name in ("dial_timeout_s", "call_timeout_s", "silence_s"):
        with pytest.raises(InvalidArgument, match=name):
            EtcdSettings(endpoints=("localhost:2379",), **{name: 0.0})
    assert EtcdSettings(endpoints=("[::1]:2379", "etcd-0.etcd:2379")).silence_s > 0
