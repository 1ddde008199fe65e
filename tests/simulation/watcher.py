"""Watches every replica from outside of the product: what it commits, applies, cuts and acknowledges (invariants 1, 3,
4, 5, 6).
"""

from __future__ import annotations

from collections.abc import Callable

from shoal.core.ids import ReplicaId, Term
from shoal.shard_worker.logic.replication.append import Append
from shoal.shard_worker.logic.replication.record import Record
from shoal.shard_worker.logic.replication.roles import Leading
from tests.simulation.committed import CommittedLog
from tests.simulation.configurations import Configurations
from tests.simulation.disk import ReplicaDisk
from tests.simulation.holdings import Holdings
from tests.simulation.replica import Replica
from tests.simulation.violation import Violation, hold

AFTER = "a primary that has stepped down serves nothing more in its term"


class ReplicaWatcher:
    """Called by every replica after each step."""

    def __init__(self, committed: CommittedLog, holdings: Holdings, configurations: Configurations) -> None:
        self._committed, self._holdings, self._configurations = committed, holdings, configurations
        self._leader_of: dict[int, ReplicaId] = {}
        self.on_commit: Callable[[Replica, int], None] | None = None

    def stepped(self, replica: Replica) -> None:
        """Check a replica whose machine has handled an event."""
        role, reached = replica.machine.role, replica.machine.commit_seq
        if reached == replica.told_commit:
            return
        before, replica.told_commit = replica.told_commit, reached
        if isinstance(role, Leading):
            self._commit(replica, role, before, reached)
        elif reached > self._committed.last_seq:
            raise Violation("inv 6: only committed records are applied", f"{replica.id} follows to {reached}, committed is less")

    def applying(self, disk: ReplicaDisk, record: Record) -> None:
        """Check a record that a replica applies."""
        self._committed.check_committed(record, disk.replica)

    def cut(self, disk: ReplicaDisk, records: list[Record]) -> None:
        """Check records that were cut from a log."""
        for record in records:
            if record.seq <= self._committed.last_seq and self._committed.records[record.seq - 1].term == record.term:
                raise Violation("inv 5: nothing committed is cut", f"{disk.replica} cuts ({record.term}, {record.seq})")

    def matched(self, disk: ReplicaDisk, append: Append) -> None:
        """Check an append that a replica acknowledges to a primary."""
        stored, replica = disk.known_term, disk.replica
        if stored > append.term:
            raise Violation("inv 3: lower terms are refused", f"{replica} knows {stored} and takes an append of {append.term}")
        if stored < append.term:
            raise Violation("inv 3: a term is durable before the answer", f"{replica} has stored {stored}, answers {append.term}")
        if disk.last_seq < append.through:
            raise Violation("inv 1: what is promised is durable", f"{replica} promises {append.through}, its log ends at {disk.last_seq}")

    def steps_down(self, replica: ReplicaId, term: Term) -> None:
        """Note that a primary is told to hand over: it has led this term."""
        self._configurations.moves.stepped_down.add((replica, term))

    def answered(self, replica: ReplicaId, term: Term | None) -> None:
        """Check a primary read that a replica answers. term: in which it leads."""
        hold(
            term is None or (replica, term) not in self._configurations.moves.stepped_down,
            AFTER,
            f"{replica} answers a primary read in term {term}",
        )

    def _commit(self, replica: Replica, role: Leading, before: int, reached: int) -> None:
        config = role.config
        hold(
            (replica.id, config.term) not in self._configurations.moves.stepped_down,
            AFTER,
            f"{replica.id} commits {reached} in term {config.term}",
        )
        leader = self._leader_of.setdefault(config.term, replica.id)
        hold(leader == replica.id, "inv 4: one replica commits in a term", f"{leader} and {replica.id} in term {config.term}")
        under = self._configurations.by_epoch.get(role.leadership.epoch)
        if under is None or len(under.isr) < under.min_isr:
            raise Violation("inv 1: |isr| >= min_isr", f"{replica.id} commits {reached} under {under}")
        hold(not under.elr, "inv 10: nothing is committed beside who is eligible", f"{replica.id} commits {reached} under {under}")
        for seq in range(before + 1, reached + 1):
            record = replica.disk.record(seq)
            if record is None:
                raise Violation("inv 1: committed is durable", f"{replica.id} commits {seq}, its log ends at {replica.disk.last_seq}")
            self._committed.commit(record, replica.id)
        newest = self._configurations.newest
        assert newest is not None
        for member in (*newest.config.isr, *newest.config.elr):
            self._holdings.check_holds(member, self._committed, reached, f"{replica.id} commits it under epoch {role.leadership.epoch}")
        if self.on_commit is not None:
            self.on_commit(replica, reached)
