"""`python -m shoal.shard_worker`: one shard worker as a plain process."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from shoal.runtime.role_main import run_main

if TYPE_CHECKING:
    from shoal.shard_worker.server import WorkerRole
    from shoal.shard_worker.settings import WorkerSettings


def _settings() -> type[WorkerSettings]:
    from shoal.runtime.fault_points import arm_from_environment
    from shoal.shard_worker.settings import WorkerSettings

    arm_from_environment(os.environ)
    return WorkerSettings


def _role(settings: WorkerSettings) -> Callable[[], WorkerRole]:
    # numpy's BLAS reads this at its first import. Otherwise it would start threads that compete with the search
    # threads.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from shoal.shard_worker.server import WorkerRole

    return lambda: WorkerRole(settings)


if __name__ == "__main__":
    sys.exit(run_main("shard_worker", log_name="worker", unusable_settings=2, settings=_settings, role=_role))
