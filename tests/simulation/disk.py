"""The content of disks: a replica's log, known term and applied state, and what a crash leaves of them.

The log and the known term are durable once written here (the replica writes them when their flush ends). The applied
state is not flushed: a loss of power takes it back to the last checkpoint, and the log replays it from there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from shoal.core import point_change
from shoal.core.ids import ReplicaId, RequestId, Seq, ShardId, Term
from shoal.core.points import StoredColumns, id_array
from shoal.shard_worker.logic.replication.leadership import REPLAY_BYTES
from shoal.shard_worker.logic.replication.log_sizes import HEAD_BYTES
from shoal.shard_worker.logic.replication.record import Record, RecordKind
from shoal.shard_worker.logic.replication.request_memory import Forgetting, Remembered, RequestMemory
from shoal.shard_worker.logic.replication.roles import ReplicaAtOpening
from shoal.wire.records import update_of_body

PER_CLIENT = 48
"""Small, so that requests are forgotten in a short history; a client has one write at a time under way."""


@dataclass
class Store:
    """The applied state. points: seq and value (a JSON object) by key, of existing points; requests: by client."""

    applied: int = 0
    term: int = 0
    time_ms: int = 0
    points: dict[str, tuple[int, str]] = field(default_factory=dict)
    requests: dict[str, dict[RequestId, Remembered]] = field(default_factory=dict)

    def copy(self) -> Store:
        """Return an independent copy."""
        requests = {client: dict(each) for client, each in self.requests.items()}
        return Store(applied=self.applied, term=self.term, time_ms=self.time_ms, points=dict(self.points), requests=requests)

    def apply(self, record: Record) -> int:
        """Apply the next record. Return the number of affected points."""
        assert record.seq == self.applied + 1, f"record {record.seq} applied after {self.applied}"
        affected = 0
        if record.kind is RecordKind.UPDATE:
            affected = self._update(record)
        elif record.kind is not RecordKind.NOOP:
            key, _, value = record.body.decode().partition("=")
            if record.kind is RecordKind.UPSERT:
                affected, self.points[key] = 1, (record.seq, value)
            else:
                affected = int(self.points.pop(key, None) is not None)
        if record.request_id is not None:
            self.requests.setdefault(record.request_id.client, {})[record.request_id] = Remembered(
                request_id=record.request_id, seq=record.seq, affected=affected, time_ms=record.time_ms
            )
        self.applied, self.term, self.time_ms = record.seq, record.term, max(self.time_ms, record.time_ms)
        return affected

    def _update(self, record: Record) -> int:
        """Change points as the product's rule says."""
        update = update_of_body(record.body)
        keys = [key for key in update.ids.tolist() if key in self.points]
        payloads = tuple(self.points[key][1].encode() for key in keys)
        current = StoredColumns(ids=id_array(keys), vectors=np.zeros((len(keys), 1), dtype=np.float32), payloads=payloads)
        changed = point_change.changed_points(current, update)
        for key, payload in zip(changed.ids.tolist(), changed.payloads or (), strict=True):
            self.points[key] = (record.seq, (payload or b"").decode())
        return len(changed)

    def forget(self, forgetting: Forgetting) -> None:
        """Forget requests."""
        for client in forgetting.clients:
            self.requests.pop(client, None)
        for client, through in forgetting.through:
            mine = self.requests.get(client, {})
            for each in [each for each in mine if each.number <= through]:
                del mine[each]


class ReplicaDisk:
    """The folder of one replica. damaged: opening it finds damage; replay_bytes: see ReplicaAtOpening."""

    def __init__(self, shard: ShardId, replica: ReplicaId, replay_bytes: int = REPLAY_BYTES) -> None:
        self.shard, self.replica, self._replay_bytes = shard, replica, replay_bytes
        self.damaged = False
        self.known_term = 0
        self.base: tuple[int, int] = (0, 0)
        self.log: list[Record] = []
        self.store = Store()
        self.checkpoint = Store()

    @property
    def last_seq(self) -> int:
        """Return the seq of the last durable record."""
        return self.base[1] + len(self.log)

    @property
    def last_term(self) -> int:
        """Return the term of the last durable record."""
        return self.log[-1].term if self.log else self.base[0]

    def record(self, seq: int) -> Record | None:
        """Return a durable record, None if it is missing or trimmed."""
        at = seq - self.base[1] - 1
        return self.log[at] if 0 <= at < len(self.log) else None

    def term_at(self, seq: int) -> int | None:
        """Return the term of a durable record, None if it is not known here."""
        record = self.record(seq)
        if record is not None:
            return record.term
        return self.base[0] if seq == self.base[1] else None

    def holds(self, term: int, seq: int) -> bool:
        """Return whether the record of that term and seq, and all before it, are durable here, in the log or before its
        beginning.
        """
        return seq < self.base[1] or self.term_at(seq) == term

    def append(self, records: Sequence[Record]) -> None:
        """Append the records; they are durable at once."""
        assert records[0].seq == self.last_seq + 1, f"record {records[0].seq} appended after {self.last_seq}"
        self.log.extend(records)

    def truncate_after(self, seq: int) -> list[Record]:
        """Cut every record with a higher seq. Return these records."""
        keep = max(0, seq - self.base[1])
        cut = self.log[keep:]
        del self.log[keep:]
        return cut

    def read(self, from_seq: int, max_records: int) -> tuple[Record, ...]:
        """Return records from from_seq on; none if they are trimmed."""
        at = from_seq - self.base[1] - 1
        return () if at < 0 else tuple(self.log[at : at + max_records])

    def make_checkpoint(self) -> None:
        """Make the applied state durable."""
        self.checkpoint = self.store.copy()

    def trim(self, through: int) -> bool:
        """Drop records up to `through` that a checkpoint holds. Return whether the log begins later now."""
        through = min(through, self.checkpoint.applied)
        if through <= self.base[1]:
            return False
        term = self.term_at(through)
        assert term is not None
        del self.log[: through - self.base[1]]
        self.base = (term, through)
        return True

    def lose_power(self) -> None:
        """Take the applied state back to the checkpoint."""
        self.store = self.checkpoint.copy()

    def install(self, store: Store, known_term: int) -> None:
        """Take the state of a snapshot."""
        self.store, self.log, self.base = store.copy(), [], (store.term, store.applied)
        self.known_term = max(self.known_term, known_term)
        self.make_checkpoint()

    def opened(self) -> ReplicaAtOpening:
        """Return the initial values of a state machine."""
        runs: list[tuple[Term, Seq]] = []
        for record in self.log:
            if not runs or runs[-1][0] != record.term:
                runs.append((record.term, record.seq))
        tail = tuple(self.log[self.store.applied - self.base[1] :])
        return ReplicaAtOpening(
            shard=self.shard,
            replica=self.replica,
            known_term=Term(max(self.known_term, self.last_term)),
            base=(Term(self.base[0]), Seq(self.base[1])),
            runs=tuple(runs),
            last_seq=Seq(self.last_seq),
            applied_seq=Seq(self.store.applied),
            last_time_ms=max([self.store.time_ms, *(record.time_ms for record in tail)]),
            tail=tail,
            stretches=((Seq(self.base[1] + 1), sum(HEAD_BYTES + len(record.body) for record in self.log)),),
            replay_bytes=self._replay_bytes,
        )

    def request_memory(self) -> RequestMemory:
        """Return the remembered writes."""
        remembered = [each for mine in self.store.requests.values() for each in mine.values()]
        return RequestMemory(sorted(remembered, key=lambda each: each.seq), per_client=PER_CLIENT)


@dataclass
class WorkerDisk:
    """The replica folders of one worker, and the state of its disk.

    slow: factor of every flush; full: there is no room for upserts; opens: whether there is room to open a replica;
    breaks: the next flush fails; replay_bytes: of replicas that are made here.
    """

    folders: dict[tuple[ShardId, ReplicaId], ReplicaDisk] = field(default_factory=dict)
    aside: dict[tuple[ShardId, ReplicaId], ReplicaDisk] = field(default_factory=dict)
    slow: float = 1.0
    full: bool = False
    opens: bool = True
    breaks: bool = False
    replay_bytes: int = REPLAY_BYTES
