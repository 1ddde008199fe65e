"""Roles as Ray actors: creates, observes and stops them. Owns every handle on an actor; no handle leaves this file.

An actor hosts its role on a separate thread. The launcher calls its `await_end` again and again; each call returns
after a few seconds. An answer is a sign of life. An error means that the process died, which Ray reports within
milliseconds.
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING, Any

import ray

from shoal.deploy.plans import CombinedPlan, CoordinatorPlan, ProcessPlan, WorkerPlan, on_node
from shoal.deploy.processes.die_with_parent import die_with_parent
from shoal.deploy.processes.log_files import send_output_to
from shoal.deploy.ray.cluster import LABEL_VALUE, NAMESPACE, homes_of_labels
from shoal.deploy.ray.role_thread import RoleEnd, RoleThread
from shoal.deploy.reports import Alive, Creation, Ended, Report
from shoal.runtime.interpreter import settle_interpreter
from shoal.runtime.logs import configure_logs
from shoal.runtime.role import Role

if TYPE_CHECKING:
    from shoal.shard_worker.resources.builders import Runner
    from shoal.shard_worker.settings import WorkerSettings

SIGN_OF_LIFE_S = 3.0
ASK_AGAIN_S = 0.2
OUT_OF_REACH_S = 5.0
"""An actor that Ray considers alive but cannot reach is replaced after this time."""
CPUS = 0.01
"""CPUs that an actor requests from Ray. Not 0, because Ray considers a node without any request idle."""

_CALLS_AT_ONCE = 8
_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "PYTHONSAFEPATH": "1", "RAY_worker_niceness": "0"}


class RoleActor:
    """The actor: runs a role in its process."""

    def __init__(self, plan: ProcessPlan) -> None:
        die_with_parent(os.getppid())
        send_output_to(plan.log_file)
        configure_logs(plan.log_level, plan.name)
        address: str = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
        placed = on_node(plan, address)
        self._thread = RoleThread(lambda: _settled(placed))
        self._thread.start()

    def await_end(self, timeout_s: float) -> tuple[int, RoleEnd | None]:
        """Return our pid, and how the role ended: None if it still runs after timeout_s seconds."""
        return os.getpid(), self._thread.wait(timeout_s)

    def stop(self, timeout_s: float) -> bool:
        """End the role cleanly. Returns whether it did so within timeout_s seconds."""
        return self._thread.stop(timeout_s)


class RayLauncher:
    """The actors, by the name of their plan. detached: they go on after this process, and the next one finds them."""

    def __init__(self, *, cluster_name: str, detached: bool) -> None:
        self._cluster_name, self._detached = cluster_name, detached
        self._actors: dict[str, Any] = {}
        self._calls: dict[str, Any] = {}
        self._unreached: dict[str, float] = {}
        self._again: dict[str, float] = {}

    def create(self, plan: ProcessPlan) -> Creation:
        """Start the process, or find the one that runs already.

        Returns at once. `poll` reports the state of the process.
        """
        actor = self._existing(plan.name) if self._detached else None
        creation = Creation.FOUND
        if actor is None:
            if self._detached and plan.label not in homes_of_labels():
                return Creation.NO_NODE
            creation = Creation.STARTED
            actor = (
                ray.remote(RoleActor)
                .options(
                    num_cpus=CPUS,
                    max_restarts=0,
                    max_concurrency=_CALLS_AT_ONCE,
                    name=self._full_name(plan.name),
                    lifetime="detached" if self._detached else None,
                    label_selector={plan.label: LABEL_VALUE},
                    runtime_env={"env_vars": _ENVIRONMENT},
                )
                .remote(plan)
            )
        self._actors[plan.name] = actor
        self._ask(plan.name)
        return creation

    def ready(self, timeout_s: float) -> bool:
        """See Launcher. Ray is joined before this object is made, so this is always true."""
        return True

    def poll(self, timeout_s: float) -> list[Report]:
        """Return the reports of the processes that came within timeout_s seconds."""
        self._ask_again()
        if not self._calls:
            time.sleep(timeout_s)
            return []
        names = {call: name for name, call in self._calls.items()}
        ready, _ = ray.wait(list(names), num_returns=1, timeout=timeout_s)
        return [report for call in ready if (report := self._heard(names[call], call)) is not None]

    def stop(self, names: list[str], timeout_s: float) -> list[str]:
        """End these processes cleanly, all at the same time.

        Returns the names of those that did not end within timeout_s and were killed.
        """
        for name in names:
            if self._detached and name not in self._actors and (found := self._existing(name)) is not None:
                self._actors[name] = found
        asked = {name: self._actors[name].stop.remote(timeout_s) for name in names if name in self._actors}
        late = [name for name, call in asked.items() if not _stopped(call, timeout_s)]
        for name in asked:
            self.kill(name)
        return late

    def kill(self, name: str) -> None:
        """End a process at once."""
        self._calls.pop(name, None)
        self._unreached.pop(name, None)
        self._again.pop(name, None)
        actor = self._actors.pop(name, None)
        if actor is not None:
            ray.kill(actor, no_restart=True)

    def _ask_again(self) -> None:
        now_s = time.monotonic()
        for name in [name for name, due_s in self._again.items() if now_s >= due_s]:
            del self._again[name]
            self._ask(name)

    def _ask(self, name: str) -> None:
        self._calls[name] = self._actors[name].await_end.remote(SIGN_OF_LIFE_S)

    def _heard(self, name: str, call: Any) -> Report | None:
        try:
            pid, end = ray.get(call)
        except ray.exceptions.ActorUnavailableError:
            return self._out_of_reach(name)
        except ray.exceptions.RayError as error:
            self.kill(name)
            return Ended(name=name, reason=_cause(error), final=False)
        if end is not None:
            self.kill(name)
            return Ended(name=name, reason=end.message, final=end.final)
        self._unreached.pop(name, None)
        self._ask(name)
        return Alive(name=name, pid=pid)

    def _out_of_reach(self, name: str) -> Report | None:
        """Handle a broken connection to an actor. It does not prove that the actor ended.

        Ray reports the end soon, unless its head was away at that time. After OUT_OF_REACH_S, kill the actor.
        """
        now_s = time.monotonic()
        since_s = self._unreached.setdefault(name, now_s)
        if now_s - since_s > OUT_OF_REACH_S:
            self.kill(name)
            return Ended(name=name, reason=f"out of reach for {now_s - since_s:.0f} s", final=False)
        del self._calls[name]
        self._again[name] = now_s + ASK_AGAIN_S
        return None

    def _existing(self, name: str) -> Any | None:
        with contextlib.suppress(ValueError):
            return ray.get_actor(self._full_name(name), namespace=NAMESPACE)
        return None

    def _full_name(self, name: str) -> str:
        return f"{self._cluster_name}-{name}"


def _settled(plan: ProcessPlan) -> Role:
    """Return the role of a plan, after preparing the interpreter of this process."""
    role = role_of(plan)
    settle_interpreter()
    return role


def role_of(plan: ProcessPlan) -> Role:
    """Return the role of a plan. It is imported only here: the process that starts actors needs no role's libraries."""
    match plan.role:
        case CoordinatorPlan(coordinator=coordinator):
            from shoal.coordinator.server import CoordinatorRole

            return CoordinatorRole(coordinator)
        case WorkerPlan(worker=worker):
            from shoal.shard_worker.server import WorkerRole

            return WorkerRole(worker, _runner_of(worker))
        case CombinedPlan(worker=worker, router=router):
            from shoal.deploy.ray.combined import CombinedRole

            return CombinedRole(worker=worker, router=router, runner=_runner_of(worker))


def _runner_of(worker: WorkerSettings) -> Runner | None:
    """Return the Runner of a worker whose indexes are built in Ray; None for other workers."""
    if worker.builds != "ray":
        return None
    from shoal.deploy.ray.builds import RayBuilds

    return RayBuilds(threads=worker.build_threads)


def _stopped(call: Any, timeout_s: float) -> bool:
    try:
        return bool(ray.get(call, timeout=timeout_s))
    except (ray.exceptions.RayError, TimeoutError):
        return False


def _cause(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    return lines[-1] if "creation task" in lines[0] else lines[0].lower().rstrip(".")
