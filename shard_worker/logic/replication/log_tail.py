"""Decides whether the end of a log is whole, a torn tail that may be cut, or damage.

A tail is torn if a crash interrupted a write that was never acknowledged. Refuses to guess: bytes are damage if the
watermark or the store shows that they were durable, or if valid records follow them.
"""

from __future__ import annotations

from dataclasses import dataclass

from shoal.core.ids import Seq


@dataclass(frozen=True, kw_only=True, slots=True)
class TailFacts:
    """The state of a log at the end of its good part.

    last_seq: last record of the unbroken chain (without records: the record before the log's first); broken: bytes
    follow that are not the next record; valid_behind: a valid record or a later file follows these bytes;
    watermark_seq: the log was certainly durable up to here; applied_seq: the store has applied up to here, so the
    replica knew these records as committed.
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
    """The bytes after the last record were never durable: cut them."""


@dataclass(frozen=True, slots=True)
class Damaged:
    """Durable records are unreadable or gone: cut nothing. reason: lower-case text for the error."""

    reason: str


TailVerdict = Whole | Torn | Damaged


def judge_tail(facts: TailFacts) -> TailVerdict:
    """Decide what the end of the log is."""
    if facts.last_seq < facts.watermark_seq:
        return Damaged(f"the log was durable up to seq {facts.watermark_seq} but is readable only up to {facts.last_seq}")
    if facts.last_seq < facts.applied_seq:
        return Damaged(f"the store has applied seq {facts.applied_seq} but the log is readable only up to {facts.last_seq}")
    if not facts.broken:
        return Whole()
    if facts.valid_behind:
        return Damaged(f"valid records follow the unreadable one after seq {facts.last_seq}")
    return Torn()
