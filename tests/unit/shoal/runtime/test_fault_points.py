"""Test fault points: they cost nothing when off, they act at the right visit, and each name is used exactly once in the
product.
"""

import errno
import os
import re
import signal
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.core.errors import InvalidArgument
from shoal.runtime.fault_points import (
    CALL_POINTS,
    FAULT_POINTS,
    STEP_POINTS,
    Action,
    Fault,
    SimulatedCrash,
    armed,
    counted,
    fault_from_text,
    fault_point,
)
from tests.house.source_tree import PACKAGES, python_files
from tests.support.repository import ROOT


def uses() -> list[str]:
    texts = (file.read_text(encoding="utf-8") for file in python_files(*PACKAGES))
    return sorted(name for text in texts for name in re.findall(r"\bfault_point\(\"([^\"]*)\"\)", text))


def test_every_name_is_listed_once_and_used_once() -> None:
    assert uses() == sorted(FAULT_POINTS)


def test_a_point_that_is_not_armed_does_nothing() -> None:
    assert fault_point(FAULT_POINTS[0]) is None


@given(st.none() | st.sampled_from(FAULT_POINTS), st.integers(1, 5), st.lists(st.sampled_from(FAULT_POINTS), max_size=40))
def test_the_nth_reaching_of_the_point_acts_and_each_one_after_it(name: str | None, nth: int, path: list[str]) -> None:
    seen: list[int] = []
    walked: list[str] = []
    with armed(name, lambda: seen.append(len(walked)), nth=nth):
        for reached in path:
            fault_point(reached)
            walked.append(reached)
    assert seen == [at for at, reached in enumerate(path) if name in (None, reached)][nth - 1 :]


@given(st.lists(st.sampled_from(FAULT_POINTS), max_size=40))
def test_points_that_are_reached_are_counted(path: list[str]) -> None:
    with counted() as counts:
        for name in path:
            fault_point(name)
    assert counts == {name: path.count(name) for name in set(path)}


def test_a_simulated_crash_passes_what_answers_errors() -> None:
    def crash() -> None:
        raise SimulatedCrash

    def careful() -> None:
        try:
            fault_point("log.write")
        except Exception:
            pytest.fail("it was taken for an error")

    with armed("log.write", crash), pytest.raises(SimulatedCrash):
        careful()
    careful()


def test_what_is_armed_ends_with_its_block_and_is_alone() -> None:
    with armed("log.write", lambda: pytest.fail("reached")):
        with pytest.raises(InvalidArgument, match="armed already"), counted():
            pass
        fault_point("log.written")
    fault_point("log.write")
    with pytest.raises(InvalidArgument, match="no fault point 'log'"), armed("log", lambda: None):
        pass


@given(st.sampled_from(FAULT_POINTS), st.integers(1, 99), st.sampled_from(Action))
def test_a_fault_is_read_as_it_is_written(name: str, nth: int, action: Action) -> None:
    if action is Action.KILL or name in CALL_POINTS:
        assert fault_from_text(f"{name}:{nth}:{action}") == Fault(name=name, nth=nth, action=action)
    assert fault_from_text(f"{name}:{nth}") == Fault(name=name, nth=nth)
    assert fault_from_text(name) == Fault(name=name)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("log", "names the point 'log', there are disk.flush,"),
        ("log.write:0", "NTH from 1"),
        ("log.write:-1", "NTH from 1"),
        ("log.write:x", "NTH from 1"),
        ("log.write:1:stop", "one of kill, enospc, eio"),
        ("log.write:1:kill:2", "one of kill, enospc, eio"),
        (f"{STEP_POINTS[0]}:1:eio", "where only kill can be"),
    ],
)
def test_what_cannot_be_is_refused(text: str, said: str) -> None:
    with pytest.raises(InvalidArgument, match=re.escape(said)):
        fault_from_text(text)


SCRIPT = """
import os
from shoal.runtime.fault_points import arm_from_environment, fault_point
arm_from_environment(os.environ)
for at in range(3):
    try:
        fault_point("log.write")
    except OSError as error:
        print(at, error.errno, flush=True)
    else:
        print(at, flush=True)
"""


def run(fault: str) -> tuple[int, list[str]]:
    environment = {**os.environ, "SHOAL_FAULT": fault}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stdout.splitlines()


def test_a_process_is_armed_by_its_environment() -> None:
    assert run("") == (0, ["0", "1", "2"])
    assert run("log.write:2:kill") == (-signal.SIGKILL, ["0"])
    assert run("log.write:2:enospc") == (0, ["0", f"1 {errno.ENOSPC}", f"2 {errno.ENOSPC}"])
    assert run("log.write:3:eio") == (0, ["0", "1", f"2 {errno.EIO}"])
