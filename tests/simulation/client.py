"""A client behind a router of its own: writes its keys, reads any key, and retries as the product's router does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shoal.core.cluster_map import ClusterMap
from shoal.core.errors import Applied, ShoalError, Unavailable
from shoal.core.filter import Exists, Not
from shoal.core.ids import RequestId, Seq, WorkerId
from shoal.core.point_change import DeletePayload, PointUpdate, ReplacePayload, SetPayload
from shoal.core.points import id_array
from shoal.core.shard_calls import Consistency, ReadTerms, WriteAck
from shoal.core.shard_config import ShardEntry
from shoal.router.logic.outcomes import applied_after
from shoal.router.logic.read_plan import is_still_led, primary_worker
from shoal.router.logic.replica_choice import UNKNOWN, ReplicaLoad, homes_of, replicas_to_ask
from shoal.router.logic.retry import RetryPatience, may_pass, patience_of, wait_before_retry
from shoal.shard_worker.logic.replication.record import RecordKind
from shoal.wire.records import update_body
from tests.simulation.etcd import Follower
from tests.simulation.replica import Found
from tests.simulation.scheduler import Resume, Steps, Wait

if TYPE_CHECKING:
    from tests.simulation.worker import Worker
    from tests.simulation.world import World

KEYS_EACH = 4
TIMEOUT_S = (3.0, 12.0)
READ_PATIENCE_S = 2.0
KINDS = (Consistency.ANY, Consistency.SESSION, Consistency.PRIMARY, Consistency.PRIMARY)
WRITES, DELETES, UPDATES = 0.65, 0.15, 0.35
HAS_U, WITHOUT_U = Exists(("u",)), DeletePayload((("u",),))


class Client(Follower):
    """Makes one call after the other: a write or a read, then a pause of up to think_s."""

    def __init__(self, world: World, name: str, think_s: float) -> None:
        super().__init__(world.scheduler, name, rate=1.0 + world.scheduler.random.uniform(-0.024, 0.024))
        self._world, self._think_s = world, think_s
        self._number = 0
        self._session = 0
        self.writes = WRITES
        self.stopping = self.stopped = False
        self.succeeded_at = -1.0
        self._changes: list[Resume] = []

    def boot(self) -> None:
        """Start the process."""
        self.start()
        self.observer = self._world.etcd.observe(self, self._see)
        self.spawn(self._work())

    def _see(self, _: ClusterMap) -> None:
        waiting, self._changes = self._changes, []
        for resume in waiting:
            resume(None)

    def _work(self) -> Steps:
        random = self.scheduler.random
        while not self.stopping:
            yield self.sleep(self._think_s * random.random())
            if random.random() < self.writes:
                yield from self._write()
            else:
                yield from self._read()
        self.stopped = True

    def _write(self) -> Steps:
        random = self.scheduler.random
        self._number += 1
        request = RequestId(self.name, self._number)
        kind, body = self._drawn(request)
        patience = patience_of(clock=self.clock, timeout_s=random.uniform(*TIMEOUT_S))

        def ask(entry: ShardEntry, worker: WorkerId, left_s: float, answer: Resume) -> None:
            target = self._world.workers[worker]
            target.write(entry.config.shard, entry.epoch, request, kind, body, left_s, answer)

        applied: Applied = "no"
        attempt = 0
        while True:
            reached, entry = False, self.observer.map.shards.get(self._world.shard)
            left_s = patience.deadline.left_s
            try:
                if entry is None:
                    raise Unavailable("not placed")
                worker = primary_worker(entry, "sim/0")
                reached = True
                ack: WriteAck = yield self._call(entry, worker, ask, left_s)
            except ShoalError as error:
                applied = applied_after(applied, reached, error)
                curable = may_pass(error, None if entry is None else entry.config, at_primary=True)
                wait_s = wait_before_retry(attempt, patience.attempts.left_s) if curable else None
                if wait_s is None:
                    self._world.history.not_acked(request, applied)
                    return
                yield self._change_or(wait_s)
            else:
                self._world.history.acked(request, ack)
                self._session = max(self._session, ack.seq)
                self.succeeded_at = self.scheduler.now
                return
            attempt += 1

    def _drawn(self, request: RequestId) -> tuple[RecordKind, bytes]:
        """Return kind and body of a write of one key, or of an update of up to two, with or without a filter."""
        random = self.scheduler.random
        keys, drawn = [f"{self.name}.{random.randrange(KEYS_EACH)}" for _ in range(2)], random.random()
        if drawn < DELETES:
            return RecordKind.DELETE, keys[0].encode()
        if drawn >= DELETES + UPDATES:
            return RecordKind.UPSERT, f'{keys[0]}={{"v":"{request}"}}'.encode()
        changes = (SetPayload(b'{"u":"%s"}' % str(request).encode()), ReplacePayload(b'{"v":"%s"}' % str(request).encode()), WITHOUT_U)
        ids = id_array(sorted(set(keys)))
        update = PointUpdate(ids=ids, change=random.choice(changes), filter=random.choice((None, HAS_U, Not(HAS_U))))
        return RecordKind.UPDATE, update_body(update)

    def _read(self) -> Steps:
        random = self.scheduler.random
        consistency = random.choice(KINDS)
        key = f"c{random.randrange(len(self._world.clients))}.{random.randrange(KEYS_EACH)}"
        history = self._world.history
        floor = {Consistency.ANY: 0, Consistency.SESSION: self._session, Consistency.PRIMARY: history.primary_floor}[consistency]
        terms = ReadTerms(consistency=consistency, min_seq=Seq(self._session if consistency is Consistency.SESSION else 0))
        patience = patience_of(clock=self.clock, timeout_s=random.uniform(*TIMEOUT_S), patience_s=READ_PATIENCE_S)
        found = yield from self._read_until(patience, terms, key)
        if found is not None:
            history.read_ended(consistency.value, key, found, floor)
            if consistency is not Consistency.ANY:
                self._session = max(self._session, found.applied)

    def read_at(self, worker: Worker, key: str) -> None:
        """Ask a worker for a primary read at once, regardless of the map. A refusal is not retried."""
        terms = ReadTerms(consistency=Consistency.PRIMARY)
        history, floor = self._world.history, self._world.history.primary_floor

        def ended(found: Any) -> None:
            if isinstance(found, Found):
                history.read_ended(Consistency.PRIMARY.value, key, found, floor)

        worker.read(self._world.shard, key, terms, READ_PATIENCE_S, ended)

    def _read_until(self, patience: RetryPatience, terms: ReadTerms, key: str) -> Steps:
        def ask(entry: ShardEntry, worker: WorkerId, left_s: float, answer: Resume) -> None:
            self._world.workers[worker].read(entry.config.shard, key, terms, left_s, answer)

        attempt = 0
        while True:
            entry = self.observer.map.shards.get(self._world.shard)
            for worker in self._workers_to_ask(entry, terms):
                assert entry is not None
                left_s = patience.deadline.left_s
                if left_s <= 0:
                    return None
                try:
                    found: Found = yield self._call(entry, worker, ask, min(left_s, 1.0))
                except ShoalError:
                    continue
                return found
            wait_s = wait_before_retry(attempt, patience.attempts.left_s)
            if wait_s is None:
                return None
            yield self._change_or(wait_s)
            attempt += 1

    def _workers_to_ask(self, entry: ShardEntry | None, terms: ReadTerms) -> list[WorkerId]:
        if entry is None:
            return []
        random = self.scheduler.random
        live = self.observer.map.workers
        loads = {worker: ReplicaLoad(in_flight=random.randrange(4)) if random.random() < 0.5 else UNKNOWN for worker in sorted(live)}
        return [each.worker for each in replicas_to_ask(homes_of(entry.config, terms.consistency, live), loads)]

    def _call(self, entry: ShardEntry, worker: WorkerId, ask: Any, left_s: float) -> Wait:
        """Ask a worker. Give up if the map says that the asked primary no longer leads.

        Raises ShoalErrors only.
        """
        shard, target = entry.config.shard, self._world.workers[worker]
        call = self._world.network.call(self, target, lambda answer: ask(entry, worker, left_s, answer), left_s)

        def begin(resume: Resume) -> None:
            done = False

            def once(value: Any) -> None:
                nonlocal done
                if not done:
                    done = True
                    lost = isinstance(value, Exception) and not isinstance(value, ShoalError)
                    resume(Unavailable(str(value)) if lost else value)

            def look(_: Any) -> None:
                newest = self.observer.map.shards.get(shard)
                if is_still_led(entry.config, None if newest is None else newest.config):
                    if not done:
                        self._changes.append(look)
                else:
                    once(Unavailable("another leads"))

            call(once)
            if worker == entry.config.primary_worker:
                self._changes.append(look)

        return begin

    def _change_or(self, seconds: float) -> Wait:
        def begin(resume: Resume) -> None:
            done = False

            def once(_: Any) -> None:
                nonlocal done
                if not done:
                    done = True
                    resume(None)

            self._changes.append(once)
            self.after(seconds, lambda: once(None))

        return begin
