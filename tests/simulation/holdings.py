"""The true content of the disks: which folders exist, which ones a fault took, and which ones were deleted, rightly or
not.
"""

from __future__ import annotations

from shoal.core.cluster_map import ClusterMap
from shoal.core.collection import CollectionState
from shoal.core.ids import ReplicaId
from shoal.core.shard_config import is_gone
from tests.simulation.committed import CommittedLog
from tests.simulation.disk import ReplicaDisk
from tests.simulation.violation import Violation, hold


class Holdings:
    """Folders by replica id. lost: ids whose folder a fault took; they are not checked."""

    def __init__(self) -> None:
        self.disks: dict[ReplicaId, ReplicaDisk] = {}
        self.lost: set[ReplicaId] = set()
        self._ever: set[ReplicaId] = set()

    def made(self, disk: ReplicaDisk) -> None:
        """Note that a worker made an empty folder."""
        if disk.replica in self._ever:
            raise Violation("a replica id names one folder", f"a second folder was made for {disk.replica}")
        self._ever.add(disk.replica)
        self.disks[disk.replica] = disk

    def dropped(self, disk: ReplicaDisk, now: ClusterMap, committed: CommittedLog) -> None:
        """Check the deletion of a folder by a worker."""
        entry, collection = now.shards.get(disk.shard), now.collections.get(disk.shard.collection)
        if collection is not None and collection.state is CollectionState.DROPPING:
            self.disks.pop(disk.replica, None)
            return
        if entry is not None and disk.replica in entry.config.worker_of and not is_gone(entry.config, disk.replica):
            raise Violation("data is deleted on a tombstone only", f"{disk.replica} was deleted, it is a member of {entry.config}")
        had_all = self.has_everything(disk.replica, committed)
        self.disks.pop(disk.replica, None)
        if had_all and entry is not None:
            eligible = (*entry.config.isr, *entry.config.elr)
            kept = any(self.has_everything(member, committed) for member in eligible)
            hold(kept, "the last whole replica is never deleted", f"{disk.replica} was deleted, nobody has everything: {entry.config}")

    def wiped(self, replica: ReplicaId) -> None:
        """Note that a fault took a folder."""
        self.lost.add(replica)
        self.disks.pop(replica, None)

    def has_everything(self, member: ReplicaId, committed: CommittedLog) -> bool:
        """Return whether no fault has harmed the member and everything committed is on its disk."""
        disk = self.disks.get(member)
        if disk is None or member in self.lost:
            return False
        return committed.last_seq == 0 or disk.holds(committed.last_term, committed.last_seq)

    def check_holds(self, member: ReplicaId, committed: CommittedLog, seq: int, why: str) -> None:
        """Raise Violation unless a member has everything committed up to `seq` on its disk."""
        if seq == 0 or member in self.lost:
            return
        disk = self.disks.get(member)
        term = committed.records[seq - 1].term
        if disk is None or not disk.holds(term, seq):
            has = "no folder" if disk is None else f"its log ends at ({disk.last_term}, {disk.last_seq})"
            raise Violation("inv 1, 2: who may lead holds every committed record", f"{member} lacks ({term}, {seq}), {has}: {why}")
