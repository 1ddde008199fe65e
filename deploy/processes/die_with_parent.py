"""`python -m shoal.deploy.processes.die_with_parent PARENT PROGRAM ...` becomes PROGRAM by exec.

The kernel kills the program as soon as its parent ends. PR_SET_PDEATHSIG stays set after an exec, so no code has to run
between fork and exec of a process with threads.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

DYING_WITH_US = (sys.executable, "-P", "-m", "shoal.deploy.processes.die_with_parent")
"""Start of the command: our own pid and the program's command line follow."""

_PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int) -> None:
    """Let the kernel kill this process when its parent ends. End it now if `parent` is not its parent any more."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    die_with_parent(int(sys.argv[1]))
    os.execv(sys.argv[2], sys.argv[2:])
