"""A distinct type for each kind of id, so that one cannot be passed for another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, NewType

ClusterId = NewType("ClusterId", str)
CollectionId = NewType("CollectionId", str)
WorkerId = NewType("WorkerId", str)
ReplicaId = NewType("ReplicaId", str)
"""A uuid in the replica's folder.

It is never derived from the worker's name: after its disk was wiped, a worker must not be taken for the old one.
"""

Term = NewType("Term", int)
"""Number of a term, in which one primary leads a shard. Only a compare-and-swap in etcd issues it. 0 is before the
first.
"""

Seq = NewType("Seq", int)
"""Position of a record in the log of a shard. The first is 1; 0 is before the first."""

Revision = NewType("Revision", int)
"""A modification revision of the store; 0 means 'absent'."""


class ShardId(NamedTuple):
    """One shard of one collection. A tuple, since it is the key of many tables: its hash costs a quarter of a
    dataclass's.
    """

    collection: CollectionId
    number: int

    def __str__(self) -> str:
        return f"{self.collection}/{self.number}"


@dataclass(frozen=True, order=True, slots=True)
class RequestId:
    """Names one write of one client, so that a retry is recognised. client: unique; number: grows by one with each
    write.
    """

    client: str
    number: int

    def __str__(self) -> str:
        return f"{self.client}#{self.number}"
