"""Test the supervisor. The processes are only entries in a table."""

from __future__ import annotations

from pathlib import Path

import pytest

from shoal.coordinator.settings import CoordinatorSettings
from shoal.core.errors import PreconditionFailed, Unavailable
from shoal.deploy.logic.supervision import StartPatience
from shoal.deploy.plans import CoordinatorPlan, ProcessPlan
from shoal.deploy.reports import Alive, Creation, Ended, Report
from shoal.deploy.supervise import Supervisor


class TableLauncher:
    """Launcher whose processes are entries in a table: name to pid. heard: what the next poll returns."""

    def __init__(self) -> None:
        self.pids: dict[str, int] = {}
        self.created: list[str] = []
        self.killed: list[str] = []
        self.stopped: list[list[str]] = []
        self.heard: list[Report] = []
        self.late: list[str] = []
        self.broken = ""
        self.homeless: set[str] = set()

    def ready(self, timeout_s: float) -> bool:
        self.fail()
        return True

    def fail(self) -> None:
        if self.broken:
            raise Unavailable(self.broken)

    def create(self, plan: ProcessPlan) -> Creation:
        if plan.name in self.homeless:
            return Creation.NO_NODE
        if plan.name in self.pids:
            return Creation.FOUND
        self.created.append(plan.name)
        self.pids[plan.name] = len(self.created)
        self.heard.append(Alive(name=plan.name, pid=self.pids[plan.name]))
        return Creation.STARTED

    def end(self, name: str, *, final: bool = False) -> None:
        del self.pids[name]
        self.heard.append(Ended(name=name, reason="it crashed", final=final))

    def poll(self, timeout_s: float) -> list[Report]:
        heard, self.heard = self.heard, []
        return heard

    def stop(self, names: list[str], timeout_s: float) -> list[str]:
        self.fail()
        self.stopped.append(names)
        return [name for name in names if name in self.late]

    def kill(self, name: str) -> None:
        self.killed.append(name)
        self.pids.pop(name, None)


class World:
    def __init__(self, *names: str, patience: StartPatience | None = None) -> None:
        self.now_s, self.lines, self.launcher = 0.0, [], TableLauncher()
        self.lines: list[str]
        self.supervisor = Supervisor(
            plans=[plan(name) for name in names],
            launcher=self.launcher,
            clock=lambda: self.now_s,
            say=self.lines.append,
            patience=patience,
        )

    def turn(self) -> None:
        self.supervisor.turn(0.0)


def plan(name: str) -> ProcessPlan:
    return ProcessPlan(name=name, role=CoordinatorPlan(coordinator=CoordinatorSettings()), label="l", log_file=Path("x"), log_level="INFO")


def test_everything_is_created_once() -> None:
    world = World("a", "b")
    world.turn()
    world.turn()
    assert world.launcher.created == ["a", "b"]
    assert world.lines == []


def test_what_ends_is_created_again_and_people_are_told() -> None:
    world = World("a", "b")
    world.turn()
    world.launcher.end("b")
    world.turn()
    world.turn()
    assert world.launcher.created == ["a", "b", "b"]
    assert world.lines == ["b ended: it crashed; starting it again", "b is back (pid 3)"]


def test_what_keeps_ending_is_created_ever_more_slowly() -> None:
    world = World("a")
    world.turn()
    for _ in range(3):
        world.launcher.end("a")
        world.turn()
        world.turn()
        world.now_s += 10.0
        world.turn()
    assert world.launcher.created == ["a"] * 4
    assert [line.partition("again")[2] for line in world.lines if "ended" in line] == ["", " in 0.5 s", " in 1.0 s"]


def test_a_silent_process_is_killed_and_replaced() -> None:
    world = World("a", patience=StartPatience(start_s=5.0, silence_s=5.0))
    world.turn()
    world.now_s = 6.0
    world.turn()
    assert world.launcher.killed == ["a"]
    world.turn()
    assert world.launcher.created == ["a", "a"]


def test_before_everything_worked_once_a_final_end_is_an_error() -> None:
    world = World("a")
    world.turn()
    world.launcher.end("a", final=True)
    with pytest.raises(PreconditionFailed, match="a: it crashed"):
        world.turn()


def test_afterwards_it_is_started_again() -> None:
    world = World("a")
    world.turn()
    world.supervisor.settled()
    world.launcher.end("a", final=True)
    world.turn()
    world.turn()
    assert world.launcher.created == ["a", "a"]


def test_stopping_keeps_the_order_and_tells_who_was_late() -> None:
    world = World("a", "b", "c")
    world.turn()
    world.launcher.late = ["b"]
    world.supervisor.stop([["a"], ["b", "c"]], 7.0)
    assert world.launcher.stopped == [["a"], ["b", "c"]]
    assert world.lines == ["b did not end within 7 s and was killed"]


def test_while_nothing_can_be_heard_all_is_left_alone_and_said_once() -> None:
    world = World("a", "b", patience=StartPatience(start_s=5.0, silence_s=5.0))
    world.turn()
    world.launcher.broken = "Ray is away"
    for _ in range(9):
        world.now_s += 100.0
        world.turn()
    assert world.launcher.killed == []
    assert world.lines == ["Ray is away; running processes go on by themselves, trying again"]


def test_afterwards_what_runs_is_found_and_what_ended_is_started_with_one_line_each() -> None:
    world = World("a", "b")
    world.turn()
    world.launcher.broken = "Ray is away"
    world.turn()
    del world.launcher.pids["b"]
    world.launcher.broken = ""
    for _ in range(3):
        world.turn()
    assert world.launcher.created == ["a", "b", "b"]
    assert world.lines[1:] == ["b ended while Ray was away; starting it again", "Ray answers again", "b is back (pid 3)"]


def test_a_process_without_a_node_waits_for_one_without_failing() -> None:
    world = World("a")
    world.turn()
    world.launcher.homeless = {"a"}
    world.launcher.end("a")
    for _ in range(50):
        world.turn()
        world.now_s += 1.0
    assert world.lines == ["a ended: it crashed; starting it again", "a waits: no living node carries the label l"]
    world.launcher.homeless = set()
    world.turn()
    assert world.lines[2:] == ["a is back (pid 2)"]
    world.launcher.end("a")
    world.turn()
    assert world.lines[3:] == ["a ended: it crashed; starting it again in 0.5 s"]


def test_what_cannot_be_stopped_is_said() -> None:
    world = World("a")
    world.turn()
    world.launcher.broken = "Ray is away"
    world.supervisor.stop([["a"]], 7.0)
    assert world.lines == ["warning: Ray is away; processes that could not be ended go on, and the next 'shoal up' finds them"]
