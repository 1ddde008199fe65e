"""`python -m shoal.deploy.ray.guard FOLDER`: waits until its parent closes the pipe or dies, then ends the Ray session
in FOLDER.
"""

from __future__ import annotations

import sys
from pathlib import Path

from shoal.deploy.ray.session import end_session


def main() -> int:
    """Wait for the end of standard input, then end the session. Returns the exit code."""
    while sys.stdin.buffer.read(1):
        pass
    end_session(Path(sys.argv[1]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
