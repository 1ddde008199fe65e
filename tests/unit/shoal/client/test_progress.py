"""Test the argument for progress, and the rate that is shown: it is the mean of the whole call. Virtual time."""

import asyncio
import io

import numpy as np
import pytest
import rich.console

from shoal.client.progress import Pace, Shown, rows_bar
from shoal.core.errors import InvalidArgument
from tests.twins.router_answers import DictCluster, PausingClock, async_client_with, client_with


class Time:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_rate_is_that_of_all_rows_since_the_call_began():
    clock = Time()
    pace = Pace(clock)
    assert pace.text() == ""
    clock.now += 3
    pace.moved(3_000)
    assert pace.text() == "1,000 rows/s"
    clock.now += 1
    # Several messages are answered at the same moment. The rate must not become millions of rows/s.
    for rows in (10_000, 20_000, 30_000, 40_000):
        pace.moved(rows)
    assert pace.text() == "10,000 rows/s"


def test_the_bar_ends_with_the_true_rate(monkeypatch):
    shown = io.StringIO()
    real = rich.console.Console
    monkeypatch.setattr(rich.console, "Console", lambda **_: real(file=shown, force_terminal=True, width=120))
    clock = Time()
    pace = Pace(clock)
    clock.now += 10
    with rows_bar("upsert c", 4_000, pace) as moved:
        moved(1_000, 4_000)
        moved(4_000, 4_000)
    assert [line for line in shown.getvalue().splitlines() if "upsert c" in line][-1].count(" 400 rows/s") == 1


@pytest.mark.parametrize("progress", ["yes", 1, 0, [], object()])
def test_what_is_no_progress_is_refused_before_anything_is_sent(progress):
    with pytest.raises(InvalidArgument, match=r"progress is .*, it must be True, False or a function") as caught:
        Shown(progress, "")
    assert caught.value.details.field == "progress"
    cluster = DictCluster()
    client = client_with(cluster, clock=PausingClock())
    for call in (
        lambda: client.upsert("c", [1], np.ones((1, 2)), progress=progress),
        lambda: client.upsert_batches("c", [([1], [[1, 2]])], progress),
    ):
        with pytest.raises(InvalidArgument, match="progress"):
            call()
    assert client.mock.sent == []


@pytest.mark.parametrize("progress", ["yes", 1])
def test_the_asynchronous_client_refuses_it_too(progress):
    cluster = DictCluster()
    client = async_client_with(cluster)
    for call in (
        lambda: client.upsert("c", [1], np.ones((1, 2)), progress=progress),
        lambda: client.upsert_batches("c", [([1], [[1, 2]])], progress),
    ):
        with pytest.raises(InvalidArgument, match="progress"):
            asyncio.run(call())
    assert client.mock.sent == []
