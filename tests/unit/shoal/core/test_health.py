from __future__ import annotations

from enum import StrEnum

import pytest

from shoal.core.health import MemberRole, ReplicaRole, ReplicationCondition, ShardCondition, WorkerCondition

KINDS = (MemberRole, ReplicaRole, ReplicationCondition, ShardCondition, WorkerCondition)


@pytest.mark.parametrize("kind", KINDS)
def test_each_text_on_the_wire_becomes_its_value_again(kind: type[StrEnum]) -> None:
    for each in kind:
        assert kind(str(each)) is each


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_of_a_later_version_becomes_unknown(kind: type[StrEnum]) -> None:
    assert kind("a state of version 9") is kind["UNKNOWN"]


def test_the_texts_that_people_and_programs_read() -> None:
    assert list(ShardCondition) == ["ok", "creating", "opening", "no primary", "failed", "unknown"]
    assert list(ReplicationCondition) == ["ok", "creating", "under-replicated", "read only", "unavailable", "unknown"]
    assert list(WorkerCondition) == ["up", "unreachable", "down", "unknown"]
    assert list(MemberRole) == ["primary", "isr", "elr", "learner", "leaving", "unknown"]
    assert list(ReplicaRole) == ["primary", "starting", "waiting", "backup", "learner", "failed", "", "unknown"]
