from __future__ import annotations

import pytest

from shoal.core.errors import InvalidArgument
from shoal.shard_worker.settings import WorkerSettings


@pytest.mark.parametrize("settings", [{"memory_budget_bytes": -1}, {"memory_percent": 0.0}, {"memory_percent": 100.1}])
def test_impossible_budgets_are_refused_by_name(settings: dict[str, float]) -> None:
    (name,) = settings
    with pytest.raises(InvalidArgument, match=name) as caught:
        WorkerSettings(**settings)  # type: ignore[arg-type]
    assert caught.value.details.field == name


def test_possible_budgets_are_taken() -> None:
    assert WorkerSettings(memory_budget_bytes=5, memory_percent=100.0).memory_budget_bytes == 5
