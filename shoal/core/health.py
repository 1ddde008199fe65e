"""The conditions of workers, shards and replicas, as enums.

Only the router determines them; the wire, the SDK, the CLI and the metrics pass them on. Each value is also the text
that is shown and sent, so `state == "ok"` holds for `ShardCondition.OK`. A text that this version does not know, sent
by a newer server, becomes UNKNOWN.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Self


class _Judgement(StrEnum):
    @classmethod
    def _missing_(cls, value: object) -> Self:
        return cls["UNKNOWN"]


class WorkerCondition(_Judgement):
    """Whether a worker can answer.

    UNREACHABLE: it is registered, but does not answer. DOWN: it holds replicas, but is not registered.
    """

    UP = "up"
    UNREACHABLE = "unreachable"
    DOWN = "down"
    UNKNOWN = "unknown"


class ShardCondition(_Judgement):
    """Whether a shard answers.

    OK: its primary answers. CREATING: its first replica does not exist yet. OPENING: its primary reads its data.
    FAILED: its only data is damaged, or cannot be opened.
    """

    OK = "ok"
    CREATING = "creating"
    OPENING = "opening"
    NO_PRIMARY = "no primary"
    FAILED = "failed"
    UNKNOWN = "unknown"


class ReplicationCondition(_Judgement):
    """Whether enough replicas of a shard are in sync.

    OK: the wanted number. UNDER_REPLICATED: fewer, but it accepts writes. READ_ONLY: fewer than a write needs.
    UNAVAILABLE: no replica that may lead is on a live worker.
    """

    OK = "ok"
    CREATING = "creating"
    UNDER_REPLICATED = "under-replicated"
    READ_ONLY = "read only"
    UNAVAILABLE = "unavailable"
    UNKNOWN = "unknown"


class MemberRole(_Judgement):
    """The role of a replica in the configuration of its shard.

    ISR: in sync. ELR: eligible to lead. LEARNER: it catches up. LEAVING: it will be deleted.
    """

    PRIMARY = "primary"
    ISR = "isr"
    ELR = "elr"
    LEARNER = "learner"
    LEAVING = "leaving"
    UNKNOWN = "unknown"


class ReplicaRole(_Judgement):
    """What an open replica does, as its worker reports.

    STARTING: it is elected and does not serve yet. WAITING: it does not know yet up to which record the log is
    committed. BACKUP, LEARNER: it follows the primary, as a member or in order to become one. UNTOLD: its worker does
    not report it.
    """

    PRIMARY = "primary"
    STARTING = "starting"
    WAITING = "waiting"
    BACKUP = "backup"
    LEARNER = "learner"
    FAILED = "failed"
    UNTOLD = ""
    UNKNOWN = "unknown"
