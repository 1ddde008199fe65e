"""`python -m shoal.router`: one router as a process of its own."""

from __future__ import annotations

import os
import sys

from shoal.runtime.stop_signals import StopSignals
from shoal.runtime.streams import open_streams, tell


def main() -> int:
    """Run a router until a signal ends it. Returns the exit code: 2 for settings that are no use."""
    open_streams()
    stop = StopSignals()
    # What follows takes a second to import; signals are taken already.
    from shoal.core.errors import ShoalError
    from shoal.router.server import RouterRole
    from shoal.router.settings import RouterSettings
    from shoal.runtime.logs import configure_logs
    from shoal.runtime.role import run_role
    from shoal.runtime.settings import load_settings

    try:
        settings = load_settings(RouterSettings, program="python -m shoal.router", arguments=sys.argv[1:], environment=os.environ)
    except ShoalError as error:
        tell(f"error: {error.message}")
        return 2
    configure_logs(settings.log_level, "router")
    return run_role(lambda: RouterRole(settings), stop)


if __name__ == "__main__":
    sys.exit(main())
