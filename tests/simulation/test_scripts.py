"""Tests that every directed schedule holds, with several seeds: in the short form with two of six, which have most
mishaps and both roles of the scripts.
"""

from __future__ import annotations

import pytest

from tests.simulation.scripts import SCRIPTS
from tests.support.scope import cells


@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.parametrize("seed", cells(range(6), (1,)))
def test_directed_schedules_hold(name: str, seed: int) -> None:
    stage = SCRIPTS[name](seed)
    assert stage.world.history.acknowledged
    assert stage.world.history.reads["primary"] > 0
