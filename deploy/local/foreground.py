"""`shoal up` as a child process, for programs that start a cluster, use it and end it: the demo, tests, benchmarks."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from shoal.core.deadline import Deadline
from shoal.core.errors import DeadlineExceeded, Unavailable
from shoal.deploy.processes.die_with_parent import DYING_WITH_US
from shoal.deploy.processes.ports import free_port

START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 60.0


class ForegroundCluster:
    """A cluster in a child process. As a context, it starts on entering and stops on leaving.

    flags: more flags of `shoal up`. heard: called with each printed line. `address` and `lines` may be read any time.
    """

    def __init__(
        self,
        *,
        data: Path,
        port: int | None = None,
        workers: int = 1,
        flags: tuple[str, ...] = (),
        heard: Callable[[str], None] = lambda _: None,
    ) -> None:
        """port: of the router; None for any free port."""
        self.data, self.port = data, port or free_port()
        self.lines: list[str] = []
        self._flags = (f"--data={data}", f"--port={self.port}", "--http-port=-1", f"--workers={workers}", *flags)
        self._heard = heard
        self._process: subprocess.Popen[str] | None = None
        self._new_lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def address(self) -> str:
        """host:port of the router."""
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Process id of the command."""
        assert self._process is not None, "not started"
        return self._process.pid

    def start(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Start it and wait for `ready`.

        Raises Unavailable, with its last lines, if it ends before that or takes too long.
        """
        self.launch()
        try:
            self.await_line("ready", timeout_s)
        except BaseException:
            self.stop()
            raise

    def launch(self) -> None:
        """Start it without waiting."""
        command = [*DYING_WITH_US, str(os.getpid()), sys.executable, "-P", "-u", "-m", "shoal.deploy.local.up", *self._flags]
        self.lines, self._new_lines = [], queue.SimpleQueue()
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )
        threading.Thread(target=self._read, args=(self._process, self._new_lines), name="shoal-up", daemon=True).start()

    def await_line(self, start: str, timeout_s: float) -> str:
        """Return the next printed line that begins with `start`.

        Raises Unavailable if the command ends before that, or after timeout_s seconds.
        """
        deadline = Deadline.after(timeout_s, time.monotonic)
        while True:
            try:
                line = self._new_lines.get(timeout=deadline.left_s)
            except queue.Empty:
                raise Unavailable(f"'shoal up' did not say {start!r} within {timeout_s:.0f} s; it said: {self._said()}") from None
            if line is None:
                raise Unavailable(f"'shoal up' ended before it said {start!r}; it said: {self._said()}")
            if line.startswith(start):
                return line

    def signal(self, number: int) -> None:
        """Send a signal to the command itself."""
        os.kill(self.pid, number)

    def wait(self, timeout_s: float = STOP_TIMEOUT_S) -> int:
        """Wait for its end and return the exit code. Raises DeadlineExceeded if it still runs after timeout_s."""
        assert self._process is not None, "not started"
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise DeadlineExceeded(f"'shoal up' (pid {self.pid}) still runs after {timeout_s:.0f} s; it said: {self._said()}") from None

    def stop(self) -> int:
        """End it cleanly and return its exit code. After STOP_TIMEOUT_S, kill it and raise DeadlineExceeded."""
        assert self._process is not None, "not started"
        if self._process.poll() is None:
            self.signal(signal.SIGTERM)
        try:
            return self.wait()
        except DeadlineExceeded:
            self._process.kill()
            self._process.wait()
            raise

    def _read(self, process: subprocess.Popen[str], new_lines: queue.SimpleQueue[str | None]) -> None:
        assert process.stdout is not None
        with process.stdout as output:
            for raw in output:
                line = raw.rstrip("\n")
                self.lines.append(line)
                self._heard(line)
                new_lines.put(line)
        new_lines.put(None)

    def _said(self) -> str:
        return " | ".join(self.lines[-8:]) or "nothing"
