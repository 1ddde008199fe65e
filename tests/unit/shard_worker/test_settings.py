from __future__ import annotations

import pytest

from shoal.core.errors import InvalidArgument
from shoal.runtime.role_settings import ANY_PORT
from shoal.shard_worker.settings import WorkerSettings


@pytest.mark.parametrize("settings", [{"memory_budget_bytes": -1}, {"memory_percent": 0.0}, {"memory_percent": 100.1}])
def test_impossible_budgets_are_refused_by_name(settings: dict[str, float]) -> None:
    (name,) = settings
    with pytest.raises(InvalidArgument, match=name) as caught:
        WorkerSettings(**settings)  # type: ignore[arg-type]
    assert caught.value.details.field == name


@pytest.mark.parametrize("values", [{"http_port": -2}, {"http_port": 65_536}, {"http_port": 70, "port": 70}])
def test_an_impossible_http_port_is_refused_by_name(values: dict[str, int]) -> None:
    with pytest.raises(InvalidArgument, match="http_port") as caught:
        WorkerSettings(**values)  # type: ignore[arg-type]
    assert caught.value.details.field == "http_port"


def test_a_worker_serves_http_on_any_free_port_unless_told_otherwise() -> None:
    assert (WorkerSettings().http_port, WorkerSettings(http_port=0).http_port) == (ANY_PORT, 0)


def test_possible_budgets_are_taken() -> None:
    assert WorkerSettings(memory_budget_bytes=5, memory_percent=100.0).memory_budget_bytes == 5
