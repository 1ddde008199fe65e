"""`python -m shoal.deploy.processes.die_with_parent PARENT PROGRAM ...` becomes PROGRAM.

The kernel kills it as soon as its parent ends.

The kernel's PR_SET_PDEATHSIG outlives an exec, so no code has to run between fork and exec of a process with threads.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

DYING_WITH_US = (sys.executable, "-P", "-m", "shoal.deploy.processes.die_with_parent")
"""What goes before our own pid and a program's command line, to start it so."""

_PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int) -> None:
    """Let the kernel kill this process when its parent ends; end it now when its parent is not `parent` any more."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    die_with_parent(int(sys.argv[1]))
    os.execv(sys.argv[2], sys.argv[2:])
