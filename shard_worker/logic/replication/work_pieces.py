"""Cuts the work of a writer, so that what is to be appended does not wait while much is applied. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from shoal.shard_worker.logic.replication.events import ApplyRecords, ForgetRequests, ReplicaEffect

MOST_APPLIED = 512
"""Records that are applied in one piece of work. That takes some tenths of a second."""


def cut_work(work: Sequence[ReplicaEffect], most: int = MOST_APPLIED) -> tuple[list[ReplicaEffect], list[ReplicaEffect]]:
    """Return the effects to carry out now, and those that wait until then.

    Now: all that is appended to or cut from the log, terms, and at most `most` records to apply. A primary measures how
    soon a member has its records; a replica that catches up may have thousands to apply. What waits keeps its order;
    records that are applied are committed, so no record is cut from the log that waits to be applied.
    """
    now: list[ReplicaEffect] = []
    later: list[ReplicaEffect] = []
    left = most
    for effect in work:
        match effect:
            case ApplyRecords(records=records) if not later and len(records) > left:
                if left:
                    now.append(ApplyRecords(records=records[:left]))
                later.append(ApplyRecords(records=records[left:]))
            case ApplyRecords(records=records) if not later:
                left -= len(records)
                now.append(effect)
            case ApplyRecords() | ForgetRequests() if later:
                later.append(effect)
            case _:
                now.append(effect)
    return now, later
