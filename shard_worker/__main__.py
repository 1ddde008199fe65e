"""`python -m shoal.shard_worker`: a shard worker as a plain process."""

from __future__ import annotations

import os
import sys

from shoal.runtime.stop_signals import StopSignals
from shoal.runtime.streams import open_streams, tell


def main() -> int:
    """Run until a signal. Returns the exit code."""
    open_streams()
    stop = StopSignals()
    # What follows takes a second to import; signals are taken already.
    from shoal.core.errors import ShoalError
    from shoal.runtime.fault_points import arm_from_environment
    from shoal.runtime.logs import configure_logs
    from shoal.runtime.role import run_role
    from shoal.runtime.settings import load_settings
    from shoal.shard_worker.settings import WorkerSettings

    try:
        program = "python -m shoal.shard_worker"
        settings = load_settings(WorkerSettings, program=program, arguments=sys.argv[1:], environment=os.environ)
        arm_from_environment(os.environ)
    except ShoalError as error:
        tell(f"error: {error.message}")
        return 2
    configure_logs(settings.log_level, "worker")
    # numpy's BLAS reads it when it is first imported, and would start threads that fight with the search threads.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from shoal.shard_worker.server import WorkerRole

    return run_role(lambda: WorkerRole(settings), stop)


if __name__ == "__main__":
    sys.exit(main())
