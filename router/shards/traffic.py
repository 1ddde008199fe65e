"""Statistics of the workers that this router reads from: reads under way, speed, time of the last answer, breakers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from shoal.core.cluster_map import ClusterMap
from shoal.core.deadline import Clock
from shoal.core.errors import ShoalError
from shoal.core.ids import Revision, ShardId, WorkerId
from shoal.router.logic.breaker import CLOSED, Blame, Breaker, Gate, after_failure, blamed, gate, with_probe
from shoal.router.logic.hedge import HedgeBudget, RecentTimes, Smoothed
from shoal.router.logic.replica_choice import ReplicaChoice, ReplicaLoad
from shoal.router.shards.metrics import UNMETERED, ShardCallMeter


@dataclass(slots=True, eq=False)
class WorkerTraffic:
    """One worker. in_flight: reads under way. latency: None before the first answer. heard_at: of the last answer."""

    in_flight: int = 0
    latency: Smoothed | None = None
    heard_at: float = 0.0
    breaker: Breaker = CLOSED


@dataclass(frozen=True, slots=True, eq=False)
class Sent:
    """A read that was sent to a replica."""

    shard: ShardId
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
        self._registrations: Mapping[WorkerId, Revision] = {}
        self.hedges = HedgeBudget()

    def loads(self, shard: ShardId, workers: Iterable[WorkerId], here: frozenset[WorkerId]) -> dict[WorkerId, ReplicaLoad]:
        """Return the load of these workers, for a read of that shard. here: workers of this process."""
        now = self._clock()
        return {worker: self._load(worker, shard, now, worker in here) for worker in workers}

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

    def sent(self, shard: ShardId, choice: ReplicaChoice) -> Sent:
        """Record that a read is sent. One of `answered`, `failed` and `withdrawn` must be called at its end."""
        now, place = self._clock(), (choice.worker, shard)
        known = self._of(choice.worker)
        known.in_flight += 1
        if choice.probe:
            if gate(known.breaker, now) is Gate.PROBES:
                known.breaker = with_probe(known.breaker, now)
            replica = self._replicas.get(place, CLOSED)
            if gate(replica, now) is Gate.PROBES:
                self._replicas[place] = with_probe(replica, now)
        return Sent(shard, choice.worker, choice.probe, now, known)

    def answered(self, sent: Sent, kind: str) -> None:
        """Record that a read was answered."""
        now = self._end(sent)
        seconds = now - sent.at
        # The latency from before a probe belongs to a worker that did not work.
        sent.traffic.latency = _with(None if sent.probe else sent.traffic.latency, seconds, now)
        self.times(kind).add(seconds)
        self._works(sent, now)

    def failed(self, sent: Sent, error: ShoalError) -> None:
        """Record that a read failed with this error."""
        now = self._end(sent)
        match blamed(error):
            case Blame.WORKER:
                self.silent(sent)
            case Blame.REPLICA:
                sent.traffic.heard_at, sent.traffic.breaker = now, CLOSED
                self._replica_failed(sent, now)
            case Blame.NOBODY:
                self._works(sent, now)
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
            self._replica_failed(sent, now)

    def silent(self, sent: Sent) -> None:
        """Record that the worker of a read could not be reached, or has answered nothing for long."""
        sent.traffic.breaker = self._after_failure(sent.traffic.breaker, self._clock())

    async def keep(self, cluster: ClusterMap) -> None:
        """Forget shards that are gone, and workers that left the map or registered again as new processes."""
        before, self._registrations = self._registrations, {each.id: each.registration for each in cluster.workers.values()}
        kept = {worker for worker, registration in self._registrations.items() if before.get(worker, registration) == registration}
        self._workers = {worker: known for worker, known in self._workers.items() if worker in kept}
        self._replicas = {place: each for place, each in self._replicas.items() if place[0] in kept and place[1] in cluster.shards}

    def _of(self, worker: WorkerId) -> WorkerTraffic:
        found = self._workers.get(worker)
        if found is None:
            found = self._workers[worker] = WorkerTraffic()
        return found

    def _end(self, sent: Sent) -> float:
        sent.traffic.in_flight -= 1
        return self._clock()

    def _works(self, sent: Sent, now: float) -> None:
        sent.traffic.heard_at, sent.traffic.breaker = now, CLOSED
        self._replicas.pop((sent.worker, sent.shard), None)

    def _replica_failed(self, sent: Sent, now: float) -> None:
        place = (sent.worker, sent.shard)
        self._replicas[place] = self._after_failure(self._replicas.get(place, CLOSED), now)

    def _after_failure(self, before: Breaker, now: float) -> Breaker:
        after = after_failure(before, now)
        if after.openings > before.openings:
            self._meter.breaker_opened()
        return after

    def _load(self, worker: WorkerId, shard: ShardId, now: float, here: bool) -> ReplicaLoad:
        replica = gate(self._replicas.get((worker, shard), CLOSED), now)
        known = self._workers.get(worker)
        if known is None:
            return ReplicaLoad(here=here, gate=replica)
        return ReplicaLoad(
            in_flight=known.in_flight,
            latency_s=None if known.latency is None else known.latency.now(now),
            here=here,
            gate=max(replica, gate(known.breaker, now)),
        )


def _with(latency: Smoothed | None, seconds: float, now: float) -> Smoothed:
    return Smoothed(seconds, now) if latency is None else latency.after(seconds, now)
