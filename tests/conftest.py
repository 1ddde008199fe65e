"""What holds for every test.

Examples of properties have no deadline, because the machine may be busy. A property that does not say how many examples
it wants has fewer in the short form, and the same ones in each run, so that what a change breaks is not mixed up with
what chance finds. The long form draws new ones each time. SIGINT can end the processes that tests start, also when the
tests themselves were started in the background of a shell, which ignores it. With pytest-xdist, one worker waits and
the others compute. What the collection of the tests has made lives as long as the process, so the garbage collector
does not look at it again: each full collection would take a second.
"""

from __future__ import annotations

import gc
import signal
from collections.abc import Generator
from typing import Any

import pytest
from hypothesis import settings

from tests.support.figures import gather, shown
from tests.support.scope import LONG

settings.register_profile("short", deadline=None, max_examples=40, derandomize=True)
settings.register_profile("long", deadline=None, max_examples=200)
settings.load_profile("long" if LONG else "short")

signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    from tests.support.lanes import Lanes

    return Lanes(config, log)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    gather(node.config, getattr(node, "workeroutput", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for line in shown(config):
        terminalreporter.write_line(line)
