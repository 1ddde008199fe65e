"""`python -m shoal.router`: one router as a plain process."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from shoal.runtime.role_main import run_main

if TYPE_CHECKING:
    from shoal.router.server import RouterRole
    from shoal.router.settings import RouterSettings


def _settings() -> type[RouterSettings]:
    from shoal.router.settings import RouterSettings

    return RouterSettings


def _role(settings: RouterSettings) -> Callable[[], RouterRole]:
    from shoal.router.server import RouterRole

    return lambda: RouterRole(settings)


if __name__ == "__main__":
    sys.exit(run_main("router", log_name="router", unusable_settings=2, settings=_settings, role=_role))
