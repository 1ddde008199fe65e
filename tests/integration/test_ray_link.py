"""Test the link to a given Ray when the process at its other end fails. Scripts play that process, without Ray."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from shoal.core.errors import PreconditionFailed, Unavailable
from shoal.deploy.logic.supervision import LONGEST_PAUSE_S
from shoal.deploy.ray import link as ray_link
from shoal.deploy.ray.link import RayLink

_START = """
import sys, time
from multiprocessing.connection import Connection
from shoal.deploy.ray.link_messages import Answer, Failure, Joined
pipe = Connection(int(sys.argv[1]))
"""
_JOIN = _START + "pipe.send(Joined())\n"

MakeLink = Callable[[str], RayLink]


@pytest.fixture
def make_link() -> Iterator[MakeLink]:
    """Return a function that makes a link whose other end runs the given source."""
    made: list[RayLink] = []

    def make(source: str) -> RayLink:
        made.append(RayLink(address="ray:1", cluster_name="c", child=(sys.executable, "-P", "-c", source)))
        return made[-1]

    yield make
    for link in made:
        link.close()
        assert link.pid is None


def never() -> bool:
    return False


def test_answers_come_back(make_link: MakeLink) -> None:
    link = make_link(_JOIN + "for _ in range(2): request = pipe.recv(); pipe.send(Answer(value=[request.verb, *request.arguments]))")
    link.join(never)
    assert link.poll(0.5) == ["poll", 0.5]
    assert link.stop(["a"], 1.0) == ["stop", ["a"], 1.0]


def test_a_failure_to_join_is_told(make_link: MakeLink) -> None:
    link = make_link(_START + "pipe.send(Failure(message='no such host'))")
    with pytest.raises(Unavailable, match="cannot join the Ray cluster at ray:1: no such host"):
        link.join(never)


def test_a_ray_that_must_not_be_joined_is_refused_at_first(make_link: MakeLink) -> None:
    link = make_link(_START + "pipe.send(Failure(message='no token', refused=True))")
    with pytest.raises(PreconditionFailed, match="no token"):
        link.join(never)


def test_one_that_was_joined_before_may_be_put_right(make_link: MakeLink, tmp_path: Path) -> None:
    first = f"import os; first = not os.path.exists({str(tmp_path / 'joined')!r}); open({str(tmp_path / 'joined')!r}, 'w')\n"
    again = "pipe.send(Joined() if first else Failure(message='no token', refused=True))\nif first: pipe.recv()"
    link = make_link(_START + first + again)
    link.join(never)
    with pytest.raises(Unavailable, match="Ray ended the process"):
        link.poll(5.0)
    with pytest.raises(Unavailable, match="no token"):
        link.join(never)


def test_a_refusal_leaves_the_link_in_use(make_link: MakeLink) -> None:
    link = make_link(_JOIN + "pipe.recv(); pipe.send(Failure(message='no label', refused=True)); pipe.recv(); pipe.send(Answer(value=[]))")
    link.join(never)
    with pytest.raises(PreconditionFailed, match="no label"):
        link.check_labels((), "node")
    assert link.poll(0.0) == []


def test_a_killed_child_is_an_error_and_then_replaced(make_link: MakeLink) -> None:
    link = make_link(_JOIN + "while True: pipe.recv(); pipe.send(Answer(value=[]))")
    link.join(never)
    assert link.pid is not None
    os.kill(link.pid, signal.SIGKILL)
    with pytest.raises(Unavailable, match="Ray ended the process that speaks to it"):
        link.poll(5.0)
    with pytest.raises(Unavailable, match="not joined"):
        link.poll(5.0)
    assert not link.ready(0.0)
    link.join(never)
    assert link.poll(5.0) == []


def test_a_hanging_call_ends_in_time(make_link: MakeLink, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_link, "ASK_TIMEOUT_S", 0.2)
    link = make_link(_JOIN + "time.sleep(600)")
    link.join(never)
    with pytest.raises(Unavailable, match="did not answer 'kill' within"):
        link.kill("a")
    assert link.pid is None


def test_a_hanging_join_ends_in_time_and_can_be_broken_off(make_link: MakeLink, monkeypatch: pytest.MonkeyPatch) -> None:
    link = make_link(_START + "time.sleep(600)")
    asked = iter([False, True])
    link.join(lambda: next(asked))
    monkeypatch.setattr(ray_link, "JOIN_TIMEOUT_S", 0.0)
    with pytest.raises(Unavailable, match="no answer within 0 s"):
        link.join(never)


def test_failures_are_followed_by_growing_bounded_pauses(make_link: MakeLink, monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now_s
        now_s += seconds

    link = make_link(_START + "pipe.send(Failure(message='no'))")
    monkeypatch.setattr(ray_link, "time", type("Clock", (), {"monotonic": staticmethod(lambda: now_s), "sleep": staticmethod(sleep)}))
    failed_s = []
    for _ in range(7):
        with pytest.raises(Unavailable):
            link.join(never)
        failed_s.append(now_s)
    assert [after - before for before, after in pairwise(failed_s)] == pytest.approx([0.5, 1.0, 2.0, 4.0, 8.0, LONGEST_PAUSE_S])


def test_a_stopped_caller_is_not_kept(make_link: MakeLink) -> None:
    link = make_link(_START + "time.sleep(600)")
    began_s = time.monotonic()
    link.join(lambda: True)
    assert time.monotonic() - began_s < 1.0
