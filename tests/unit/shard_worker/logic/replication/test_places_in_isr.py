"""Test for which members the isr has a place while a replica moves."""

from __future__ import annotations

import dataclasses

import pytest

from shoal.core.ids import ReplicaId
from shoal.core.shard_config import Move
from tests.unit.shard_worker.logic.replication.test_leadership import B, L, M, P, Play, config


def asked_for(play: Play, *joining: ReplicaId) -> list[ReplicaId]:
    """Let these learners get all records. Return which of them the primary asks to join the isr."""
    play.go()
    for member in joining:
        play.diverged(member, 4)
    play.matched(B)
    play.go()
    play.flush()
    for member in joining:
        play.matched(member)
    return [member for swap in play.swaps(play.go()) for member in joining if member in swap.config.isr]


@pytest.mark.parametrize(
    ("learners", "move", "rf", "min_isr", "joins"),
    [
        ((L, M), None, 2, 1, []),
        ((L, M), Move(source=B, target=M), 2, 1, [M]),
        ((L, M), Move(source=B, target=M), 3, 1, [L]),
        ((L, M), Move(source=B, target=L), 2, 2, [L]),
        ((M,), Move(source=B, target=M), 1, 1, [M]),
    ],
)
def test_while_a_replica_moves_the_isr_has_one_place_more_which_is_for_the_target(learners, move, rf, min_isr, joins):
    play = Play(config(learners=learners, rf=rf, min_isr=min_isr, move=move))
    assert asked_for(play, *learners) == joins


def test_once_the_target_is_in_sync_the_place_is_for_any_member_so_that_the_source_need_not_stay():
    whole = config(isr=(P, B), learners=(L,), rf=2, min_isr=1)
    assert asked_for(Play(dataclasses.replace(whole, move=Move(source=P, target=B))), L) == [L]
    assert asked_for(Play(dataclasses.replace(whole, isr=(P, B), move=Move(source=P, target=M))), L) == [], "the target is still to come"
    full = dataclasses.replace(config(isr=(P, B, M), learners=(L,), rf=2), move=Move(source=P, target=B))
    play = Play(full)
    play.go()
    play.matched(M)
    assert asked_for(play, L) == [], "never more than one beyond rf"
