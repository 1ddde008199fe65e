"""Cuts the work of a writer, so that what is to be appended does not wait while much is applied. Pure.

A member that comes back has a long log to apply, and is in the isr before it has. Each write waits until the member's
log has it, and so for the records that are being applied at that moment.
"""

from __future__ import annotations

from collections.abc import Sequence

from shoal.shard_worker.logic.replication.events import ApplyRecords, ForgetRequests, ReplicaEffect
from shoal.shard_worker.logic.replication.record import Record

MOST_APPLIED, MOST_BYTES = 64, 256 * 1024
"""Records, and bytes of their bodies, that are applied in one piece of work, which takes some hundredths of a second. A
larger record is a piece of its own. Not measured by a clock, so that the simulation plays each seed alike."""


def cut_work(
    work: Sequence[ReplicaEffect], most: int = MOST_APPLIED, most_bytes: int = MOST_BYTES
) -> tuple[list[ReplicaEffect], list[ReplicaEffect]]:
    """Return the effects to carry out now, and those that wait until then.

    Now: all that is appended to or cut from the log, terms, and at least one record to apply, if there is one. What
    waits keeps its order. Records to apply are committed, so none of those that wait is cut from the log.
    """
    now: list[ReplicaEffect] = []
    later: list[ReplicaEffect] = []
    count = size = 0
    for effect in work:
        if later and isinstance(effect, ApplyRecords | ForgetRequests):
            later.append(effect)
        elif isinstance(effect, ApplyRecords):
            fitting, count, size = _fitting(effect.records, count, size, most, most_bytes)
            if fitting == len(effect.records):
                now.append(effect)
                continue
            if fitting:
                now.append(ApplyRecords(records=effect.records[:fitting]))
            later.append(ApplyRecords(records=effect.records[fitting:]))
        else:
            now.append(effect)
    return now, later


def _fitting(records: Sequence[Record], count: int, size: int, most: int, most_bytes: int) -> tuple[int, int, int]:
    """Return how many of these records are applied now, and the number and bytes of all that are.

    count, size: those of the records before.
    """
    for at, record in enumerate(records):
        if count and (count == most or size + len(record.body) > most_bytes):
            return at, count, size
        count, size = count + 1, size + len(record.body)
    return len(records), count, size
