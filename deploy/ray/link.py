"""Uses a given Ray through a child process, because Ray's library ends its own process when Ray fails.

It owns the child and the pauses before a lost child is replaced. It knows nothing of actors; the other end is
shoal.deploy.ray.link_process. The roles are detached actors: they go on while there is no child, and the next child
finds them again.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection, Pipe
from typing import Any

from shoal.core.errors import PreconditionFailed, Unavailable
from shoal.deploy.logic.supervision import pause_s
from shoal.deploy.plans import ProcessPlan
from shoal.deploy.processes.die_with_parent import DYING_WITH_US
from shoal.deploy.ray.link_messages import Answer, Failure, Joined, LinkRequest, Reply, Verb
from shoal.deploy.reports import Creation, Report

JOIN_TIMEOUT_S = 30.0
ASK_TIMEOUT_S = 15.0
_END_TIMEOUT_S = 5.0


class RayLink:
    """A Launcher (see shoal.deploy.supervise) on a Ray that runs already. Used by one thread.

    Every method raises Unavailable if Ray or the child fails or takes too long. The next `ready` begins again.
    """

    def __init__(
        self, *, address: str, cluster_name: str, child: tuple[str, ...] = (sys.executable, "-P", "-m", "shoal.deploy.ray.link_process")
    ) -> None:
        """address: host:port of Ray. child: the command of the child process; its arguments are added to it."""
        self._address, self._cluster_name, self._command = address, cluster_name, child
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: Connection[LinkRequest, Reply] | None = None
        self._joined = self._joined_before = False
        self._since_s = 0.0
        self._failures = 0
        self._due_s = 0.0

    @property
    def pid(self) -> int | None:
        """Process id of the child, None if there is none."""
        return self._process.pid if self._process else None

    def join(self, stopped: Callable[[], bool]) -> None:
        """Wait until Ray is joined, or until `stopped()`.

        Raises Unavailable if it cannot be joined, PreconditionFailed if it must not be joined (see given_ray).
        """
        while not stopped() and not self.ready(0.2):
            pass

    def ready(self, timeout_s: float) -> bool:
        """Return whether Ray can be used, after at most timeout_s seconds. Begins to join it when that is due."""
        if self._joined:
            return True
        if self._pipe is None and not self._begin(timeout_s):
            return False
        try:
            reply = self._received(timeout_s, f"cannot join the Ray cluster at {self._address}")
        except PreconditionFailed as error:
            # A Ray that was joined once may be repaired, and its roles go on in the meantime.
            raise (self._lost(error.message) if self._joined_before else error) from None
        if reply is not None:
            self._joined, self._joined_before, self._failures = True, True, 0
        elif time.monotonic() - self._since_s > JOIN_TIMEOUT_S:
            raise self._lost(f"cannot join the Ray cluster at {self._address}: no answer within {JOIN_TIMEOUT_S:.0f} s")
        return self._joined

    def check_labels(self, plans: tuple[ProcessPlan, ...], host: str) -> Mapping[str, str]:
        """See shoal.deploy.ray.cluster.check_labels. Also raises PreconditionFailed."""
        homes: Mapping[str, str] = self._ask("check_labels", (plans, host, self._address), ASK_TIMEOUT_S)
        return homes

    def create(self, plan: ProcessPlan) -> Creation:
        """See Launcher."""
        creation: Creation = self._ask("create", (plan,), ASK_TIMEOUT_S)
        return creation

    def poll(self, timeout_s: float) -> list[Report]:
        """See Launcher."""
        reports: list[Report] = self._ask("poll", (timeout_s,), timeout_s + ASK_TIMEOUT_S)
        return reports

    def stop(self, names: list[str], timeout_s: float) -> list[str]:
        """See Launcher."""
        late: list[str] = self._ask("stop", (names, timeout_s), (len(names) + 1) * timeout_s)
        return late

    def kill(self, name: str) -> None:
        """See Launcher."""
        self._ask("kill", (name,), ASK_TIMEOUT_S)

    def close(self) -> None:
        """End the child. The roles go on."""
        process, self._process, self._joined = self._process, None, False
        if self._pipe is not None:
            self._pipe.close()
            self._pipe = None
        if process is None:
            return
        try:
            process.wait(_END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _begin(self, timeout_s: float) -> bool:
        wait_s = self._due_s - time.monotonic()
        if wait_s > 0:
            time.sleep(min(wait_s, timeout_s))
            return False
        ours, theirs = Pipe()
        with theirs:
            self._process = subprocess.Popen(
                [*DYING_WITH_US, str(os.getpid()), *self._command, str(theirs.fileno()), self._address, self._cluster_name],
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                # So Ctrl-C does not reach the child, which is still needed to end the roles.
                start_new_session=True,
            )
        self._pipe, self._since_s = ours, time.monotonic()
        return True

    def _ask(self, verb: Verb, arguments: tuple[Any, ...], timeout_s: float) -> Any:
        if self._pipe is None or not self._joined:
            raise Unavailable(f"the Ray cluster at {self._address} is not joined")
        with contextlib.suppress(OSError):
            self._pipe.send(LinkRequest(verb=verb, arguments=arguments))
        match self._received(timeout_s, f"the Ray cluster at {self._address} failed"):
            case None:
                raise self._lost(f"the Ray cluster at {self._address} did not answer '{verb}' within {timeout_s:.0f} s")
            case Answer(value=value):
                return value
            case Joined():
                raise self._lost("the process that speaks to Ray sent an unexpected message")

    def _received(self, timeout_s: float, what: str) -> Joined | Answer | None:
        """Return the next reply, None if none came in time. Raises Unavailable if no reply can come any more."""
        assert self._pipe is not None
        try:
            reply = self._pipe.recv() if self._pipe.poll(timeout_s) else None
        except (EOFError, OSError):
            raise self._lost(f"{what}: Ray ended the process that speaks to it") from None
        match reply:
            case Failure(message=message, refused=True):
                raise PreconditionFailed(message)
            case Failure(message=message):
                raise self._lost(f"{what}: {message}")
            case _:
                return reply

    def _lost(self, reason: str) -> Unavailable:
        if self._process is not None:
            self._process.kill()
        self.close()
        self._failures += 1
        self._due_s = time.monotonic() + pause_s(self._failures)
        return Unavailable(reason)
