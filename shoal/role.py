"""Where the programs of the servers are, and `python -P -m shoal.role NAME ...`, which runs one: router, shard_worker, coordinator.

In the wheel they are a folder of this package, `_roles`, that no path of Python knows: the names `router` or `deploy` are everybody's. Only
processes of ours have the folder in their path, in front of all others. In a checkout it is the root, where `shoal` itself is.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

NAMES = ("coordinator", "router", "shard_worker")


def folder() -> Path:
    """Holds the packages of the servers."""
    here = Path(__file__).resolve().parent
    return here / "_roles" if (here / "_roles").is_dir() else here.parent


def put_first() -> None:
    """Let this process find them before any other module of their names. Ray calls it in each process that it starts for us."""
    first = str(folder())
    sys.path[:] = [first, *(each for each in sys.path if each != first)]


def environment(given: Mapping[str, str]) -> dict[str, str]:
    """Variables for a process of ours, and for all that it starts: they find our packages first, and none in the current folder."""
    others = [each for each in given.get("PYTHONPATH", "").split(os.pathsep) if each and each != str(folder())]
    return {**given, "PYTHONPATH": os.pathsep.join([str(folder()), *others]), "PYTHONSAFEPATH": "1"}


def run(program: str, words: list[str]) -> NoReturn:
    """Replace this process by the module `program`; its exit code is then ours."""
    os.execve(sys.executable, [sys.executable, "-m", program, *words], environment(os.environ))


def main() -> int:
    """Become the role that is named. Returns the exit code when none is."""
    if len(sys.argv) < 2 or sys.argv[1] not in NAMES:
        print(f"error: usage: python -P -m shoal.role {'|'.join(NAMES)} [--help]", file=sys.stderr)
        return 2
    run(sys.argv[1], sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
