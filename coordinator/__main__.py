"""`python -m shoal.coordinator`: one coordinator as a plain process."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from shoal.runtime.role_main import run_main

if TYPE_CHECKING:
    from shoal.coordinator.server import CoordinatorRole
    from shoal.coordinator.settings import CoordinatorSettings


def _settings() -> type[CoordinatorSettings]:
    from shoal.coordinator.settings import CoordinatorSettings

    return CoordinatorSettings


def _role(settings: CoordinatorSettings) -> Callable[[], CoordinatorRole]:
    from shoal.coordinator.server import CoordinatorRole

    return lambda: CoordinatorRole(settings)


if __name__ == "__main__":
    sys.exit(run_main("coordinator", log_name="coordinator", unusable_settings=1, settings=_settings, role=_role))
