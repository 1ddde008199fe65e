"""Whether the end of a log is whole, a torn tail that may be cut, or damage.

Owns the decision only. A tail is torn when a crash interrupted a write that nobody was ever told about. It refuses to
guess: whatever a witness says was durable, or has valid records behind it, is damage.
"""

from __future__ import annotations

from dataclasses import dataclass

from shoal.core.ids import Seq


@dataclass(frozen=True, kw_only=True, slots=True)
class TailFacts:
    """What was found where the good part of a log ends.

    last_seq: last record of the unbroken chain (the one before the log's first record when there is none); broken:
    bytes follow it that are not the next record; valid_behind: a valid record or a later file lies behind these bytes;
    watermark_seq: the log was certainly durable so far; applied_seq: the store has applied, hence the replica had
    committed, so far.
    """

    last_seq: Seq
    broken: bool
    valid_behind: bool
    watermark_seq: Seq
    applied_seq: Seq


@dataclass(frozen=True, slots=True)
class Whole:
    """The log ends with its last record."""


@dataclass(frozen=True, slots=True)
class Torn:
    """What follows the last record was never durable: cut it."""


@dataclass(frozen=True, slots=True)
class Damaged:
    """Records that were durable are unreadable or gone: cut nothing. reason: lower-case, for the error."""

    reason: str


TailVerdict = Whole | Torn | Damaged


def judge_tail(facts: TailFacts) -> TailVerdict:
    """What the end of the log is."""
    if facts.last_seq < facts.watermark_seq:
        return Damaged(f"the log was durable up to seq {facts.watermark_seq} and is readable only up to {facts.last_seq}")
    if facts.last_seq < facts.applied_seq:
        return Damaged(f"the store has applied seq {facts.applied_seq} and the log is readable only up to {facts.last_seq}")
    if not facts.broken:
        return Whole()
    if facts.valid_behind:
        return Damaged(f"valid records lie behind the unreadable one after seq {facts.last_seq}")
    return Torn()
