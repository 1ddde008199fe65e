"""Tests that a move ends, with its target in place of its source or with its source, whatever dies or is lost at any of
its steps. The short form has each step, each harmed process and each mishap.
"""

from __future__ import annotations

import pytest

from tests.simulation.move_matrix import CELLS, HARMED, MISHAPS, STEPS, MoveFault, move_meets
from tests.support.scope import cells

SHORT = CELLS[::11]


@pytest.mark.parametrize("fault", cells(CELLS, SHORT), ids=str)
def test_a_move_survives(fault: MoveFault) -> None:
    stage = move_meets(fault)
    assert stage.world.history.acknowledged


def test_the_short_form_has_every_step_and_every_harm() -> None:
    assert {fault.step for fault in SHORT} == set(STEPS)
    assert {fault.harmed for fault in SHORT} == set(HARMED)
    assert {fault.mishap for fault in SHORT} == set(MISHAPS)
    assert {fault.of_primary for fault in SHORT} == {True, False} == {fault.frozen for fault in SHORT}
