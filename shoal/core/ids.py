"""Distinct types for distinct ids, so that one cannot be passed for another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NewType

ClusterId = NewType("ClusterId", str)
CollectionId = NewType("CollectionId", str)
WorkerId = NewType("WorkerId", str)
ReplicaId = NewType("ReplicaId", str)
"""A uuid in the replica's folder.

Never derived from the worker's name: a wiped disk must not pose as its predecessor.
"""

Term = NewType("Term", int)
"""Number of a term, in which one primary leads a shard; issued only by a compare-and-swap in etcd. 0 is before any."""

Seq = NewType("Seq", int)
"""Position of a record in the log of a shard; the first is 1, 0 is before any."""

Revision = NewType("Revision", int)
"""A modification revision of the store; 0 stands for 'absent'."""


@dataclass(frozen=True, order=True, slots=True)
class ShardId:
    """One shard of one collection."""

    collection: CollectionId
    number: int

    def __str__(self) -> str:
        return f"{self.collection}/{self.number}"


@dataclass(frozen=True, order=True, slots=True)
class RequestId:
    """Names one write of one client, so that a retry is recognised: client is unique, number grows by one."""

    client: str
    number: int

    def __str__(self) -> str:
        return f"{self.client}#{self.number}"
