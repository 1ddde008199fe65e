"""Fork processes that run a replica's history with one fault armed: `python -m tests.integration.kill_child`.

All modules are imported once, before the forks, and no thread runs at that time. A line of JSON on stdin asks for one
run. A line on stdout gives its exit code.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

from shoal.runtime.fault_points import VARIABLE, arm_from_environment, counted
from tests.integration.replica_history import BASES, history, live


def main() -> None:
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        child = os.fork()
        if child == 0:
            _live_and_exit(job)
        _, status = os.waitpid(child, 0)
        print(json.dumps(os.waitstatus_to_exitcode(status)), flush=True)


def _live_and_exit(job: dict[str, Any]) -> None:
    code = 1
    try:
        _live(Path(job["folder"]), Path(job["said"]), job["base"], job.get("fault", ""))
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        # not sys.exit: this fork must not run the exit handlers of its parent
        os._exit(code)


def _live(folder: Path, said: Path, base: str, fault: str) -> None:
    """Run the history of a replica of BASES. Each acknowledged step becomes a line of the file `said`. After a run
    without a fault, a last line says how often each fault point was reached.
    """
    with said.open("ab", buffering=0) as stream:

        def acknowledge(number: int) -> None:
            stream.write(f"{number}\n".encode())

        if arm_from_environment({VARIABLE: fault}) is not None:
            asyncio.run(live(folder, history(), BASES[base], first_term=1, acknowledge=acknowledge))
            return
        with counted() as counts:
            asyncio.run(live(folder, history(), BASES[base], first_term=1, acknowledge=acknowledge))
            stream.write(json.dumps(dict(counts)).encode() + b"\n")


if __name__ == "__main__":
    main()
