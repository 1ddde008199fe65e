"""Tests that its directed script notices each rule that is broken on purpose: in the short form every second one. The
long form is `make simulate-mutations`.
"""

from __future__ import annotations

import pytest

from tests.simulation.mutate import catch_by_scripts
from tests.simulation.mutation import Mutation
from tests.simulation.mutations import MUTATIONS
from tests.support.scope import cells


@pytest.mark.parametrize("mutation", cells(MUTATIONS, MUTATIONS[::3]), ids=lambda mutation: mutation.rule)
def test_a_broken_rule_is_noticed(mutation: Mutation) -> None:
    assert mutation.caught_by
    with mutation.breaking():
        assert catch_by_scripts(mutation) is not None
