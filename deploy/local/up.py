"""`python -m shoal.deploy.local.up`, which is `shoal up`.

It first opens the streams and takes over the signals, then makes the slow imports and runs the cluster.
"""

from __future__ import annotations

import os
import sys

from shoal.runtime.stop_signals import StopSignals
from shoal.runtime.streams import open_streams, tell


def main() -> int:
    """Run a cluster until a signal ends it. Returns the exit code: 1 after an error, which is printed as one line."""
    open_streams()
    stop = StopSignals()
    from shoal.core.errors import ShoalError
    from shoal.deploy.local.cluster import run
    from shoal.deploy.settings import LocalSettings
    from shoal.runtime.settings import load_settings

    try:
        run(load_settings(LocalSettings, program="shoal up", arguments=sys.argv[1:], environment=os.environ), stop)
    except ShoalError as error:
        tell(f"error: {error.message}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
