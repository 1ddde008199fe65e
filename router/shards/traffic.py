"""Statistics of the workers that this router reads from: reads under way, speed, time of the last answer, breakers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from shoal.core.cluster_map import ClusterMap, WorkerEntry
from shoal.core.deadline import Clock
from shoal.core.errors import ShoalError
from shoal.core.ids import ShardId, WorkerId
from shoal.router.logic.breaker import CLOSED, Blame, Breaker, Gate, after_failure, blamed, gate, with_probe
from shoal.router.logic.hedge import HedgeBudget, RecentTimes, Smoothed
from shoal.router.logic.replica_choice import ReplicaLoad
from shoal.router.shards.metrics import UNMETERED, ShardCallMeter

_NOTHING: Mapping[ShardId, ShoalError] = MappingProxyType({})


@dataclass(slots=True, eq=False)
class WorkerTraffic:
    """One worker. in_flight: reads under way. latency: None before the first answer. heard_at: of the last answer."""

    in_flight: int = 0
    latency: Smoothed | None = None
    heard_at: float = 0.0
    breaker: Breaker = CLOSED


@dataclass(frozen=True, slots=True, eq=False)
class Sent:
    """A read that was sent to a worker, of one shard or of several. Each shard counts as a read under way there."""

    shards: tuple[ShardId, ...]
    worker: WorkerId
    probe: bool
    at: float
    traffic: WorkerTraffic


class Traffic:
    """The statistics of all workers of the map, in memory only. Used from one event loop."""

    def __init__(self, *, clock: Clock, meter: ShardCallMeter = UNMETERED) -> None:
        self._clock, self._meter = clock, meter
        self._workers: dict[WorkerId, WorkerTraffic] = {}
        self._replicas: dict[tuple[WorkerId, ShardId], Breaker] = {}
        self._times: dict[str, RecentTimes] = {}
        self._registered: Mapping[WorkerId, WorkerEntry] = {}
        self.hedges = HedgeBudget()

    def loads(self, shard: ShardId, workers: Iterable[WorkerId], here: frozenset[WorkerId]) -> dict[WorkerId, ReplicaLoad]:
        """Return the load of these workers, for a read of that shard. here: workers of this process."""
        now = self._clock()
        return {worker: self._load(worker, shard, now, worker in here) for worker in workers}

    def worker_loads(self, workers: Iterable[WorkerId], here: frozenset[WorkerId]) -> dict[WorkerId, ReplicaLoad]:
        """Return the load of these workers, for reads of any shards: without the breakers of replicas, see gates."""
        now = self._clock()
        return {worker: self._worker_load(worker, now, worker in here) for worker in workers}

    def gates(self) -> dict[tuple[WorkerId, ShardId], Gate]:
        """Return the gates of the replicas that failed of late."""
        now = self._clock()
        return {place: gate(breaker, now) for place, breaker in self._replicas.items()}

    def times(self, kind: str) -> RecentTimes:
        """Return the recent times of reads of one kind."""
        found = self._times.get(kind)
        if found is None:
            found = self._times[kind] = RecentTimes()
        return found

    def heard(self, worker: WorkerId) -> None:
        """Record that a worker answered a call which is not counted here."""
        known = self._workers.get(worker)
        if known is not None:
            known.heard_at = self._clock()

    def works(self, worker: WorkerId, shards: Iterable[ShardId]) -> None:
        """Record that a worker answered for these shards in one call which is not counted here: its breakers close."""
        known = self._workers.get(worker)
        if known is not None:
            known.heard_at, known.breaker = self._clock(), CLOSED
        if self._replicas:
            for shard in shards:
                self._replicas.pop((worker, shard), None)

    def gate(self, worker: WorkerId, shard: ShardId) -> Gate:
        """Return how the breakers of a worker, and of its replica of a shard, let calls through."""
        known, replica = self._workers.get(worker), self._replicas.get((worker, shard))
        found = Gate.PASSES if replica is None else gate(replica, self._clock())
        return found if known is None else max(found, gate(known.breaker, self._clock()))

    def sent(self, shards: tuple[ShardId, ...], worker: WorkerId, *, probe: bool) -> Sent:
        """Record that a read is sent. One of `answered`, `failed` and `withdrawn` must be called at its end."""
        now, known = self._clock(), self._of(worker)
        known.in_flight += len(shards)
        if probe:
            if gate(known.breaker, now) is Gate.PROBES:
                known.breaker = with_probe(known.breaker, now)
            for place in [(worker, shard) for shard in shards]:
                replica = self._replicas.get(place, CLOSED)
                if gate(replica, now) is Gate.PROBES:
                    self._replicas[place] = with_probe(replica, now)
        return Sent(shards, worker, probe, now, known)

    def answered(self, sent: Sent, kind: str, failed: Mapping[ShardId, ShoalError] = _NOTHING) -> None:
        """Record that a read was answered. failed: errors of shards that the worker could not read."""
        now = self._end(sent)
        seconds = now - sent.at
        if len(failed) < len(sent.shards):
            # The latency from before a probe belongs to a worker that did not work.
            sent.traffic.latency = _with(None if sent.probe else sent.traffic.latency, seconds, now)
            self.times(kind).add(seconds)
        sent.traffic.heard_at, sent.traffic.breaker = now, CLOSED
        if self._replicas or failed:
            for shard in sent.shards:
                self._replica_ended(sent.worker, shard, failed.get(shard), now)

    def failed(self, sent: Sent, error: ShoalError) -> None:
        """Record that a read failed with this error."""
        now = self._end(sent)
        match blamed(error):
            case Blame.WORKER:
                self.silent(sent)
            case Blame.REPLICA:
                sent.traffic.heard_at, sent.traffic.breaker = now, CLOSED
                self._replicas_failed(sent, now)
            case Blame.NOBODY:
                sent.traffic.heard_at, sent.traffic.breaker = now, CLOSED
                for shard in sent.shards:
                    self._replicas.pop((sent.worker, shard), None)
            case Blame.UNKNOWN:
                pass

    def withdrawn(self, sent: Sent, kind: str) -> None:
        """Record that a read was cancelled before its answer. The time so far is a lower bound of its time. A probe
        counts as failed.
        """
        now, known = self._end(sent), sent.traffic
        seconds = now - sent.at
        self.times(kind).add(seconds)
        if known.latency is None or seconds > known.latency.now(now):
            known.latency = _with(known.latency, seconds, now)
        if sent.probe:
            self.silent(sent)
            self._replicas_failed(sent, now)

    def given_up(self, sent: Sent) -> None:
        """Record that a read was cancelled for a reason that says nothing about its worker."""
        self._end(sent)

    def silent(self, sent: Sent) -> None:
        """Record that the worker of a read could not be reached, or has answered nothing for long."""
        sent.traffic.breaker = self._after_failure(sent.traffic.breaker, self._clock())

    async def keep(self, cluster: ClusterMap) -> None:
        """Forget shards that are gone, and workers that left the map or registered again as new processes."""
        if cluster.workers is not self._registered:
            before, self._registered = self._registered, cluster.workers
            kept = {worker for worker, entry in cluster.workers.items() if before.get(worker, entry).registration == entry.registration}
            self._workers = {worker: known for worker, known in self._workers.items() if worker in kept}
            self._replicas = {place: each for place, each in self._replicas.items() if place[0] in kept}
        self._replicas = {place: each for place, each in self._replicas.items() if place[1] in cluster.shards}

    def _of(self, worker: WorkerId) -> WorkerTraffic:
        found = self._workers.get(worker)
        if found is None:
            found = self._workers[worker] = WorkerTraffic()
        return found

    def _end(self, sent: Sent) -> float:
        sent.traffic.in_flight -= len(sent.shards)
        return self._clock()

    def _replica_ended(self, worker: WorkerId, shard: ShardId, error: ShoalError | None, now: float) -> None:
        """Record how the read of one shard ended at a worker that answered."""
        match Blame.NOBODY if error is None else blamed(error):
            case Blame.NOBODY:
                self._replicas.pop((worker, shard), None)
            case Blame.REPLICA | Blame.WORKER:
                self._replica_failed(worker, shard, now)
            case Blame.UNKNOWN:
                pass

    def _replicas_failed(self, sent: Sent, now: float) -> None:
        for shard in sent.shards:
            self._replica_failed(sent.worker, shard, now)

    def _replica_failed(self, worker: WorkerId, shard: ShardId, now: float) -> None:
        place = (worker, shard)
        self._replicas[place] = self._after_failure(self._replicas.get(place, CLOSED), now)

    def _after_failure(self, before: Breaker, now: float) -> Breaker:
        after = after_failure(before, now)
        if after.openings > before.openings:
            self._meter.breaker_opened()
        return after

    def _load(self, worker: WorkerId, shard: ShardId, now: float, here: bool) -> ReplicaLoad:
        load = self._worker_load(worker, now, here)
        replica = self._replicas.get((worker, shard))
        return load if replica is None else replace(load, gate=max(load.gate, gate(replica, now)))

    def _worker_load(self, worker: WorkerId, now: float, here: bool) -> ReplicaLoad:
        known = self._workers.get(worker)
        if known is None:
            return ReplicaLoad(here=here)
        latency_s = None if known.latency is None else known.latency.now(now)
        return ReplicaLoad(in_flight=known.in_flight, latency_s=latency_s, here=here, gate=gate(known.breaker, now))


def _with(latency: Smoothed | None, seconds: float, now: float) -> Smoothed:
    return Smoothed(seconds, now) if latency is None else latency.after(seconds, now)
