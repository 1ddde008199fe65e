"""Drains workers, takes them back, and forgets those that will not return. Each request is one compare-and-swap.

All changes of drains and forgotten workers compare and write one key (`ops/drains`). So two of them that are allowed
alone and not together are decided one after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from shoal.coordinator.audit_log import DRAIN_WORKER, FORGET_WORKER, UNDRAIN_WORKER, AuditLog
from shoal.coordinator.logic.standings import standing_of, standings
from shoal.coordinator.logic.worker_checks import check_drain, check_forget, known_workers, named_worker
from shoal.coordinator.user_request import UserRequest, UserRequests
from shoal.coordinator.worker_reports import WorkerReports
from shoal.core.cluster_map import ClusterMap
from shoal.core.errors import ErrorDetails, Unavailable
from shoal.core.ids import Revision, WorkerId
from shoal.core.operations import DrainWorker, ForgetWorker, ListWorkers, UndrainWorker, WorkerForgotten, WorkerStanding, WorkerStandings
from shoal.core.rebalance import Drain
from shoal.core.shown import shown
from shoal.store.interface import Absent, Compare, DeleteKey, Operation, Put, Transaction, Unchanged, Versioned
from shoal.store.keys import Keys
from shoal.store.rebalance_codecs import encode_drain, encode_forgotten

MOST_FORGOTTEN = 1_000
"""Most workers that are kept as forgotten. The oldest that no configuration names are removed first."""

_MOST_REMOVED = 64

_REASONS = {True: "it leads nothing and keeps its replicas", False: "nothing is placed on it, and its replicas move away"}
"""What an entry of the audit says, by whether only the primaries leave the worker."""


class Draining:
    """The requests of operators about workers.

    absent_s: returns for how long each worker has been missing, in seconds. replace_after_s: when the replicas of a
    missing worker are replaced. wall_ms: returns the time in ms since 1970.
    """

    def __init__(
        self,
        *,
        requests: UserRequests,
        keys: Keys,
        reports: WorkerReports,
        audit: AuditLog,
        absent_s: Callable[[], Mapping[WorkerId, float]],
        replace_after_s: float,
        wall_ms: Callable[[], int],
    ) -> None:
        self._requests, self._keys, self._reports, self._audit = requests, keys, reports, audit
        self._absent_s, self._replace_after_s, self._wall_ms = absent_s, replace_after_s, wall_ms

    async def workers(self, request: ListWorkers, timeout_s: float) -> WorkerStandings:
        """Return the workers, live or not. Raises Unavailable or DeadlineExceeded."""
        asked = self._requests.begin(timeout_s, "no time was left to list the workers")
        asked.leads()
        statuses = self._reports.newest() or await self._reports.fresh()
        return standings(asked.cluster, statuses, self._absent_s(), self._replace_after_s)

    async def drain(self, request: DrainWorker, timeout_s: float) -> WorkerStanding:
        """Drain a worker. Returns when this is committed, or at once if it is drained in this way already.

        Raises NotFound, InvalidArgument (not one worker), PreconditionFailed (the others cannot take what it holds, or
        it is down), Unavailable (not the leader, no store) or DeadlineExceeded.
        """
        asked = self._begin(request.worker, timeout_s)
        asked.leads()
        statuses = await self._reports.fresh()

        async def attempt() -> WorkerStanding | None:
            turn = await self._turn(asked)
            worker = named_worker(request.worker, known_workers(asked.cluster))
            before = asked.cluster.drains.get(worker)
            if before is not None and before.primaries_only == request.primaries_only:
                return self._standing(asked, worker)
            check_drain(asked.cluster, statuses, worker, primaries_only=request.primaries_only)
            drain = Drain(primaries_only=request.primaries_only, asked_by=request.asked_by, since_ms=self._wall_ms())
            entry = self._audit.entry(DRAIN_WORKER, subject=worker, reason=_REASONS[request.primaries_only], asked_by=request.asked_by)
            live = Unchanged(key=self._keys.worker(worker), mod_revision=asked.cluster.workers[worker].registration)
            put = Put(key=self._keys.drain(worker), value=encode_drain(drain))
            return await self._changed(asked, worker, turn, (live,), (put, entry))

        return await asked.attempts(attempt, _unsettled(request.worker, "drained"))

    async def undrain(self, request: UndrainWorker, timeout_s: float) -> WorkerStanding:
        """End the drain of a worker. Returns when this is committed, or at once if it is not drained.

        Raises NotFound, InvalidArgument (not one worker), Unavailable (not the leader, no store) or DeadlineExceeded.
        """
        asked = self._begin(request.worker, timeout_s)

        async def attempt() -> WorkerStanding | None:
            turn = await self._turn(asked)
            worker = named_worker(request.worker, known_workers(asked.cluster))
            if worker not in asked.cluster.drains:
                return self._standing(asked, worker)
            entry = self._audit.entry(UNDRAIN_WORKER, subject=worker, reason="it may hold and lead again", asked_by=request.asked_by)
            return await self._changed(asked, worker, turn, (), (DeleteKey(key=self._keys.drain(worker)), entry))

        return await asked.attempts(attempt, _unsettled(request.worker, "undrained"))

    async def forget(self, request: ForgetWorker, timeout_s: float) -> WorkerForgotten:
        """Forget a worker that is down. Without `confirmed` only return what would be.

        Raises NotFound, InvalidArgument (not one worker), PreconditionFailed (it is up, or has the only replica of a
        shard that may lead), Unavailable (not the leader, no store) or DeadlineExceeded.
        """
        asked = self._begin(request.worker, timeout_s)

        async def attempt() -> WorkerForgotten | None:
            turn = await self._turn(asked)
            cluster = asked.cluster
            worker = named_worker(request.worker, _to_forget(request.worker, cluster))
            down_s = self._absent_s().get(worker, 0.0)
            found = WorkerForgotten(
                done=worker in cluster.forgotten, worker=worker, down_s=down_s, copies=len(cluster.shards.of_worker(worker))
            )
            if found.done:
                return found
            check_forget(cluster, worker)
            if not request.confirmed:
                return found
            entry = self._audit.entry(FORGET_WORKER, subject=worker, reason="its replicas are replaced now", asked_by=request.asked_by)
            key = self._keys.forgotten(worker)
            put = Put(key=key, value=encode_forgotten(request.asked_by, self._wall_ms()))
            gone = Absent(key=self._keys.worker(worker))
            then: tuple[Operation, ...] = (put, DeleteKey(key=self._keys.drain(worker)), entry, *self._too_old(asked))
            committed = await self._committed(asked, turn, (gone,), then)
            return None if committed is None else WorkerForgotten(done=True, worker=worker, down_s=down_s, copies=found.copies)

        return await asked.attempts(attempt, _unsettled(request.worker, "forgotten"))

    def _begin(self, named: str, timeout_s: float) -> UserRequest:
        return self._requests.begin(timeout_s, f"no time was left for worker {shown(named)}; the request may have been carried out")

    async def _turn(self, asked: UserRequest) -> Versioned | None:
        """Return the key that every change of drains writes, and wait until the map is as new as this answer."""
        asked.leads()
        listing = await asked.list(self._keys.drain_turn)
        await asked.shows(listing.revision)
        return next((entry for entry in listing.entries if entry.key == self._keys.drain_turn), None)

    async def _changed(
        self, asked: UserRequest, worker: WorkerId, turn: Versioned | None, compares: tuple[Compare, ...], then: tuple[Operation, ...]
    ) -> WorkerStanding | None:
        revision = await self._committed(asked, turn, compares, then)
        return None if revision is None else self._standing(asked, worker)

    async def _committed(
        self, asked: UserRequest, turn: Versioned | None, compares: tuple[Compare, ...], then: tuple[Operation, ...]
    ) -> Revision | None:
        """Commit a change unless another one came first, and wait until the map shows it."""
        key = self._keys.drain_turn
        as_read = Absent(key=key) if turn is None else Unchanged(key=key, mod_revision=turn.mod_revision)
        transaction = Transaction(compares=(asked.leads(), as_read, *compares), then=(*then, Put(key=key, value=b"{}")))
        revision = await asked.committed(transaction)
        if revision is not None:
            await asked.shows(revision)
        return revision

    def _too_old(self, asked: UserRequest) -> tuple[DeleteKey, ...]:
        """Return the removals of the oldest forgotten workers that are one too many with another one."""
        cluster = asked.cluster
        unnamed = (each for each in cluster.forgotten if not cluster.shards.of_worker(each))
        oldest = sorted(unnamed, key=lambda each: (cluster.forgotten[each], each))
        surplus = min(_MOST_REMOVED, max(0, len(cluster.forgotten) + 1 - MOST_FORGOTTEN))
        return tuple(DeleteKey(key=self._keys.forgotten(each)) for each in oldest[:surplus])

    def _standing(self, asked: UserRequest, worker: WorkerId) -> WorkerStanding:
        return standing_of(asked.cluster, self._reports.newest(), self._absent_s(), self._replace_after_s, worker)


def _to_forget(named: str, cluster: ClusterMap) -> frozenset[WorkerId]:
    """Return the workers of which one may be meant: those that are forgotten already, too, if no other one is."""
    known = known_workers(cluster)
    return known if any(each.startswith(named) for each in known) else known | cluster.forgotten.keys()


def _unsettled(named: str, done: str) -> Unavailable:
    return Unavailable(f"worker {shown(named)} could not be {done}: the store's state kept changing", ErrorDetails(field="worker"))
