"""The patience of the coordinator with moves and plans, in the measure of a simulated history, which lasts for minutes.

Coordinator.REPLACE_AFTER_S is shortened in the same way, but is a setting of the product.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

from shoal.coordinator.logic import moves, plan_run

TARGET_GONE_S, NO_PROGRESS_S, WARM_S, SUCCESSOR_S, NOTHING_BEGUN_S = 8.0, 12.0, 12.0, 6.0, 12.0


@contextmanager
def short_patience() -> Iterator[None]:
    """Let moves and items of plans be given up within a history."""
    with ExitStack() as stack:
        for module, name, seconds in (
            (moves, "TARGET_GONE_S", TARGET_GONE_S),
            (moves, "NO_PROGRESS_S", NO_PROGRESS_S),
            (moves, "WARM_S", WARM_S),
            (moves, "SUCCESSOR_S", SUCCESSOR_S),
            (plan_run, "TARGET_GONE_S", TARGET_GONE_S),
            (plan_run, "SUCCESSOR_S", SUCCESSOR_S),
            (plan_run, "NOTHING_BEGUN_S", NOTHING_BEGUN_S),
        ):
            stack.enter_context(patch.object(module, name, seconds))
        yield
