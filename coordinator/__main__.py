"""`python -m shoal.coordinator`: one coordinator as a plain process."""

from __future__ import annotations

import os
import sys

from shoal.runtime.stop_signals import StopSignals
from shoal.runtime.streams import open_streams, tell


def main() -> int:
    """Host a coordinator until a signal ends it. Returns the exit code."""
    open_streams()
    stop = StopSignals()
    # What follows takes a second to import; signals are taken already.
    from shoal.coordinator.server import CoordinatorRole
    from shoal.coordinator.settings import CoordinatorSettings
    from shoal.core.errors import ShoalError
    from shoal.runtime.logs import configure_logs
    from shoal.runtime.role import run_role
    from shoal.runtime.settings import load_settings

    try:
        program = "python -m shoal.coordinator"
        settings = load_settings(CoordinatorSettings, program=program, arguments=sys.argv[1:], environment=os.environ)
    except ShoalError as error:
        tell(f"error: {error.message}")
        return 1
    configure_logs(settings.log_level, "coordinator")
    return run_role(lambda: CoordinatorRole(settings), stop)


if __name__ == "__main__":
    sys.exit(main())
