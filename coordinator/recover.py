"""Carries out what operators ask of shards that lost every replica that may lead, and keeps the audit of it.

The new configuration and the audit entry are one transaction: neither is ever without the other. A request whose
outcome is unknown, or that comes again, is looked up in the audit, so that it happens once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from shoal.coordinator.act import epoch_of, put_shard
from shoal.coordinator.election import proof_of_leadership
from shoal.coordinator.log_ends import ReplicaReports
from shoal.coordinator.logic.recovery import RecoveryPlan, Reports, plan_recovery
from shoal.core.cluster_map import ClusterMap
from shoal.core.errors import DeadlineExceeded, ErrorDetails, InvalidArgument, NotFound, Unavailable
from shoal.core.ids import Revision, ShardId
from shoal.core.recovery import ACCEPT_DATA_LOSS, AuditEntry, Recovery, RecoveryRequest
from shoal.core.shard_config import ShardEntry
from shoal.runtime.change_signal import ChangeSignal
from shoal.runtime.logs import event
from shoal.store.audit_codec import decode_audit, encode_audit
from shoal.store.interface import Absent, Committed, Created, OutcomeUnknown, Put, Store, Transaction, Unchanged
from shoal.store.keys import Keys
from shoal.store.observe import MapObserver

log = logging.getLogger("shoal.coordinator.recover")

ATTEMPTS = 8
"""How often a request is made anew when the store's answer was lost or somebody else's change came first."""

REPORTS_S = 1.0
"""How long workers may take to tell about their replicas."""

MOST_REASON_CHARACTERS = 1_000
MOST_ENTRIES = 1_000
"""Of one page of the audit."""

_PAUSE_S = 0.1


class Recoverer:
    """leadership: as of Election; clock: seconds; wall_ms: time of day; new_id: text that never comes twice; timeout_s:
    of one store call.
    """

    def __init__(
        self,
        *,
        store: Store,
        keys: Keys,
        observer: MapObserver,
        changes: ChangeSignal,
        reports: ReplicaReports,
        leadership: Callable[[], Revision | None],
        clock: Callable[[], float],
        wall_ms: Callable[[], int],
        new_id: Callable[[], str],
        timeout_s: float,
    ) -> None:
        self._store, self._keys, self._observer, self._changes, self._reports = store, keys, observer, changes, reports
        self._leadership, self._clock, self._wall_ms, self._new_id, self._timeout_s = leadership, clock, wall_ms, new_id, timeout_s

    async def recover(self, request: RecoveryRequest, timeout_s: float) -> tuple[Recovery, bool]:
        """What is done, or would be, and whether it is done.

        Raises NotFound, InvalidArgument, PreconditionFailed (see logic.recovery), Unavailable (not the leader, no
        store, still being created) or DeadlineExceeded.
        """
        if len(request.reason) > MOST_REASON_CHARACTERS:
            message = f"reason has {len(request.reason)} characters, at most {MOST_REASON_CHARACTERS} are allowed"
            raise InvalidArgument(message, ErrorDetails(field="reason"))
        ends_at, named = self._clock() + timeout_s, request.request_id or self._new_id()
        for _ in range(ATTEMPTS):
            earlier = await self._earlier(named, ends_at)
            if earlier is not None:
                return earlier, True
            plan, before = await self._plan(request)
            if not request.accept_data_loss:
                return plan.recovery, False
            if await self._committed(self._transaction(plan, before, request, named), ends_at):
                log.warning(event("data_loss_accepted", shard=plan.recovery.shard, term=plan.recovery.term, asked_by=request.asked_by))
                return plan.recovery, True
            await self._changes.wait(self._changes.count, min(_PAUSE_S, self._left(ends_at)))
        raise Unavailable(f"shard {_named(request)} could not be recovered: the store's state kept changing")

    async def audit(self, limit: int, before: str, timeout_s: float) -> tuple[tuple[AuditEntry, ...], str]:
        """Entries, newest first, and what to give as `before` for the next page, "" when there is none.

        Raises Unavailable.
        """
        proof_of_leadership(self._leadership(), self._observer.map)
        listing = await self._store.list(self._keys.audits, min(self._timeout_s, timeout_s))
        names = {entry.key.removeprefix(self._keys.audits): entry for entry in listing.entries}
        wanted = sorted((name for name in names if not before or name < before), reverse=True)
        page = wanted[: min(limit, MOST_ENTRIES)]
        entries = tuple(decode_audit(names[name].key, names[name].value) for name in page)
        return entries, page[-1] if len(page) < len(wanted) else ""

    async def _earlier(self, request_id: str, ends_at: float) -> Recovery | None:
        """What this very request has done already."""
        proof_of_leadership(self._leadership(), self._observer.map)
        listing = await self._store.list(self._keys.audits, min(self._timeout_s, self._left(ends_at)))
        entries = (decode_audit(entry.key, entry.value) for entry in listing.entries)
        return next((entry.recovery for entry in entries if entry.request_id == request_id), None)

    async def _plan(self, request: RecoveryRequest) -> tuple[RecoveryPlan, ShardEntry]:
        cluster = self._observer.map
        entry = _shard_of(cluster, request)
        homes = set(entry.config.worker_of.values()) & set(cluster.workers)
        logs = await self._reports.log_ends(dict.fromkeys(homes, (entry.config.shard,)), cluster.workers, REPORTS_S)
        told = await self._reports.failures((cluster.workers[worker] for worker in sorted(homes)), REPORTS_S)
        failed = {worker for worker, shards in told.items() if str(entry.config.shard) in shards}
        reports = Reports(ends=logs.ends, failed=failed)
        return plan_recovery(entry.config, _named(request), cluster.workers, reports, request.worker), entry

    def _transaction(self, plan: RecoveryPlan, before: ShardEntry, request: RecoveryRequest, request_id: str) -> Transaction:
        leadership = proof_of_leadership(self._leadership(), self._observer.map)
        now_ms = self._wall_ms()
        entry = AuditEntry(
            time_ms=now_ms,
            action=ACCEPT_DATA_LOSS,
            collection=request.name,
            recovery=plan.recovery,
            reason=request.reason,
            asked_by=request.asked_by,
            request_id=request_id,
        )
        live = (Unchanged(key=self._keys.worker(worker), mod_revision=at) for worker, at in plan.registrations.items())
        gone = (Absent(key=self._keys.worker(worker)) for worker in plan.absent)
        return Transaction(
            compares=(Created(key=self._keys.leader, create_revision=leadership), epoch_of(before, self._keys), *live, *gone),
            then=(put_shard(plan.config, self._keys), Put(key=self._keys.audit(now_ms, self._new_id()), value=encode_audit(entry))),
        )

    async def _committed(self, transaction: Transaction, ends_at: float) -> bool:
        """Whether it is surely committed; when it is not, one has to look."""
        try:
            return isinstance(await self._store.commit(transaction, min(self._timeout_s, self._left(ends_at))), Committed)
        except OutcomeUnknown:
            return False

    def _left(self, ends_at: float) -> float:
        left = ends_at - self._clock()
        if left <= 0:
            raise DeadlineExceeded("no time was left for the recovery; it may have been carried out, `shoal audit` tells")
        return left


def _named(request: RecoveryRequest) -> str:
    return f"{request.name}/{request.number}"


def _shard_of(cluster: ClusterMap, request: RecoveryRequest) -> ShardEntry:
    entry = cluster.shards.get(ShardId(cluster.collection(request.name).id, request.number))
    if entry is None:
        raise NotFound(f"shard {_named(request)} does not exist", ErrorDetails(shard=_named(request)))
    return entry
