"""`python -m shoal.role coordinator`: one coordinator as a plain process."""

from __future__ import annotations

import os
import sys

from coordinator.server import CoordinatorRole
from coordinator.settings import CoordinatorSettings
from shoal.core.errors import ShoalError
from shoal.runtime.logs import configure_logs
from shoal.runtime.role import run_role
from shoal.runtime.settings import load_settings


def main() -> int:
    """Host a coordinator until a signal ends it. Returns the exit code."""
    try:
        program = "python -m shoal.role coordinator"
        settings = load_settings(CoordinatorSettings, program=program, arguments=sys.argv[1:], environment=os.environ)
    except ShoalError as error:
        print(f"error: {error.message}", file=sys.stderr)
        return 1
    configure_logs(settings.log_level, "coordinator")
    return run_role(lambda: CoordinatorRole(settings))


if __name__ == "__main__":
    sys.exit(main())
