from __future__ import annotations

import dataclasses

import pytest

from shoal.coordinator.logic.campaign import Lead, Look, Move, Run, StandBy, StepDown, next_move
from shoal.core.cluster_map import ClusterMap, LeaderEntry
from shoal.core.ids import Revision

NOBODY = ClusterMap(revision=Revision(100))


def led_by(address: str, created: int) -> ClusterMap:
    return dataclasses.replace(NOBODY, leader=LeaderEntry(address=address, created=Revision(created)))


@pytest.mark.parametrize(
    ("cluster", "leadership", "expected"),
    [
        (NOBODY, None, Run()),
        (led_by("other:1", 60), None, StandBy(leader="other:1")),
        (led_by("me:1", 60), None, Look()),
        (led_by("me:1", 60), 60, Lead()),
        (NOBODY, 101, Lead()),
        (led_by("other:1", 60), 101, Lead()),
        (NOBODY, 60, StepDown(reason="the key was deleted")),
        (led_by("other:1", 70), 60, StepDown(reason="other:1 leads")),
        (led_by("me:1", 70), 60, StepDown(reason="me:1 leads")),
    ],
)
def test_next_move(cluster: ClusterMap, leadership: int | None, expected: Move) -> None:
    assert next_move(cluster, address="me:1", leadership=None if leadership is None else Revision(leadership)) == expected
