"""Tests that every directed schedule holds, with several seeds."""

from __future__ import annotations

import pytest

from tests.simulation.scripts import SCRIPTS


@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.parametrize("seed", range(6))
def test_directed_schedules_hold(name: str, seed: int) -> None:
    stage = SCRIPTS[name](seed)
    assert stage.world.history.acknowledged
    assert stage.world.history.reads["primary"] > 0
