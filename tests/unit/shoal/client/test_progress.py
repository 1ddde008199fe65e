"""Test the argument for progress, and the rate that is shown: it is the mean of the whole call. Virtual time."""

import asyncio
import io
import sys
import types

import numpy as np
import pytest
import rich.console

from shoal.client.progress import Pace, Shown, bar_html, in_notebook, notebook_bar, rows_bar
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
        Shown(progress, "upsert", "c")
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


class Kernel:
    """Stands in for IPython in a kernel: what cells show, by picture."""

    def __init__(self, kernel: object | None = object()) -> None:
        self.shown: list[str] = []
        shell = None if kernel is None else types.SimpleNamespace(kernel=kernel)
        self.module = types.ModuleType("IPython")
        self.module.get_ipython = lambda: shell
        self.module.display = types.SimpleNamespace(HTML=str, display=self._display)

    def _display(self, drawn, *, display_id):
        assert display_id is True
        self.shown.append(drawn)
        return types.SimpleNamespace(update=self.shown.append)


def test_a_notebook_shows_the_bar_in_its_cell(monkeypatch):
    kernel = Kernel()
    monkeypatch.setitem(sys.modules, "IPython", kernel.module)
    with client_with(DictCluster()) as client:
        client.create_collection("c", dim=2)
        assert client.upsert("c", range(5_000), np.zeros((5_000, 2)), progress=True) == 5_000
    assert kernel.shown[0] == '<div>upsert c <progress value="0" max="5000"></progress> 0/5,000</div>'
    assert kernel.shown[-1].startswith('<div>upsert c <progress value="5000" max="5000"></progress> 5,000/5,000, ')
    assert kernel.shown[-1].endswith(" rows/s</div>")


def test_a_bar_of_a_notebook_is_drawn_again_now_and_then_and_at_the_end(monkeypatch):
    kernel, clock = Kernel(), Time()
    monkeypatch.setitem(sys.modules, "IPython", kernel.module)

    def stopped():
        with notebook_bar("x", None, Pace(clock), clock) as moved:
            for rows in range(10):
                clock.now += 0.125
                moved(rows, 10)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        stopped()
    numbers = [each.partition("</progress> ")[2].partition(",")[0] for each in kernel.shown]
    assert numbers == ["0</div>", "1/10", "3/10", "5/10", "7/10", "9/10", "9/10"]
    assert bar_html("<x>", 0, 0, "") == '<div>&lt;x&gt; <progress value="0" max="1"></progress> 0/0</div>'


@pytest.mark.parametrize("module", [None, Kernel(kernel=None).module])
def test_elsewhere_is_no_notebook(monkeypatch, module):
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    if module is not None:
        monkeypatch.setitem(sys.modules, "IPython", module)
    assert not in_notebook()
