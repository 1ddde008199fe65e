from __future__ import annotations

import asyncio
import threading

import pytest

from shoal.core.errors import PreconditionFailed, ShoalError, Unavailable
from shoal.deploy.ray.role_thread import STOPPED, RoleEnd, RoleThread


class FakeRole:
    """Role that serves until it is told to fail. It records its calls."""

    def __init__(self, error: Exception | None = None) -> None:
        self.calls: list[str] = []
        self.started = threading.Event()
        self._error = error

    async def start(self) -> None:
        self.calls.append("start")
        self.started.set()

    async def failed(self) -> None:
        if self._error is not None:
            raise self._error
        await asyncio.Event().wait()

    async def stop(self) -> None:
        self.calls.append("stop")


def test_a_role_runs_until_it_is_asked_to_stop() -> None:
    role = FakeRole()
    thread = RoleThread(lambda: role)
    thread.start()
    assert role.started.wait(10)
    assert thread.wait(0.0) is None
    assert thread.stop(10.0)
    assert thread.wait(0.0) == STOPPED
    assert role.calls == ["start", "stop"]
    assert thread.stop(1.0)


def test_a_stop_that_comes_before_the_start_is_not_forgotten() -> None:
    role = FakeRole()
    thread = RoleThread(lambda: role)
    assert not thread.stop(0.0)
    thread.start()
    assert thread.wait(10.0) == STOPPED


@pytest.mark.parametrize(
    ("error", "end"),
    [
        (Unavailable("no port"), RoleEnd(message="no port", final=False)),
        (PreconditionFailed("another cluster"), RoleEnd(message="another cluster", final=True)),
        (RuntimeError("a defect"), RoleEnd(message="RuntimeError: a defect", final=False)),
    ],
)
def test_a_failure_stops_the_role_and_is_told(error: Exception, end: RoleEnd) -> None:
    role = FakeRole(error)
    thread = RoleThread(lambda: role)
    thread.start()
    assert thread.wait(10.0) == end
    assert role.calls == ["start", "stop"]


def test_a_role_that_cannot_be_made_is_told_too() -> None:
    def make() -> FakeRole:
        raise ShoalError("impossible settings")

    thread = RoleThread(make)
    thread.start()
    assert thread.wait(10.0) == RoleEnd(message="impossible settings", final=False)
