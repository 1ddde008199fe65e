"""Recovers shards that have lost every replica that may lead, at an operator's request, and keeps an audit.

One transaction writes the new configuration and the audit entry, so neither exists without the other. A request that
comes again, or whose outcome is unknown, is looked up in the audit. So it is carried out once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from shoal.coordinator.act import epoch_of, put_shard
from shoal.coordinator.log_ends import ReplicaReports
from shoal.coordinator.logic.recovery import RecoveryPlan, Reports, plan_recovery
from shoal.coordinator.user_request import UserRequest, UserRequests
from shoal.core.cluster_map import ClusterMap
from shoal.core.errors import ErrorDetails, InvalidArgument, NotFound, Unavailable
from shoal.core.ids import ShardId
from shoal.core.recovery import ACCEPT_DATA_LOSS, AuditEntry, Recovery, RecoveryRequest
from shoal.core.shard_config import ShardEntry
from shoal.runtime.logs import event
from shoal.store.codecs import decode_audit, encode_audit
from shoal.store.interface import Absent, Put, Transaction, Unchanged
from shoal.store.keys import Keys

log = logging.getLogger("shoal.coordinator.recover")

REPORTS_S = 1.0
"""Longest time in seconds for workers to report about their replicas."""

MOST_REASON_CHARACTERS = 1_000
MOST_ENTRIES = 1_000
"""The most entries of one page of the audit."""


class Recoverer:
    """Plans and carries out recoveries. wall_ms: returns the time in ms since 1970. new_id: returns a new text."""

    def __init__(
        self, *, requests: UserRequests, keys: Keys, reports: ReplicaReports, wall_ms: Callable[[], int], new_id: Callable[[], str]
    ) -> None:
        self._requests, self._keys, self._reports, self._wall_ms, self._new_id = requests, keys, reports, wall_ms, new_id

    async def recover(self, request: RecoveryRequest, timeout_s: float) -> tuple[Recovery, bool]:
        """Return the recovery, and whether it was carried out. Without accept_data_loss it is only planned.

        Raises NotFound, InvalidArgument, PreconditionFailed (see logic.recovery), Unavailable (not the leader, no
        store, still being created) or DeadlineExceeded.
        """
        if len(request.reason) > MOST_REASON_CHARACTERS:
            message = f"reason has {len(request.reason)} characters, at most {MOST_REASON_CHARACTERS} are allowed"
            raise InvalidArgument(message, ErrorDetails(field="reason"))
        late = "no time was left for the recovery; it may have been carried out, `shoal audit` tells"
        asked, named = self._requests.begin(timeout_s, late), request.request_id or self._new_id()

        async def attempt() -> tuple[Recovery, bool] | None:
            earlier = await self._earlier(asked, named)
            if earlier is not None:
                return earlier, True
            plan, before = await self._plan(asked.cluster, request)
            if not request.accept_data_loss:
                return plan.recovery, False
            if await asked.committed(self._transaction(asked, plan, before, request, named)) is None:
                return None
            log.warning(event("data_loss_accepted", shard=plan.recovery.shard, term=plan.recovery.term, asked_by=request.asked_by))
            return plan.recovery, True

        failed = f"shard {_named(request)} could not be recovered: the store's state kept changing"
        return await asked.attempts(attempt, Unavailable(failed))

    async def audit(self, limit: int, before: str, timeout_s: float) -> tuple[tuple[AuditEntry, ...], str]:
        """Return entries, newest first, and the `before` of the next page, "" if there is none.

        Raises Unavailable or DeadlineExceeded.
        """
        asked = self._requests.begin(timeout_s, "no time was left to list the audit")
        asked.leads()
        listing = await asked.list(self._keys.audits)
        names = {entry.key.removeprefix(self._keys.audits): entry for entry in listing.entries}
        wanted = sorted((name for name in names if not before or name < before), reverse=True)
        page = wanted[: min(limit, MOST_ENTRIES)]
        entries = tuple(decode_audit(names[name].key, names[name].value) for name in page)
        return entries, page[-1] if len(page) < len(wanted) else ""

    async def _earlier(self, asked: UserRequest, request_id: str) -> Recovery | None:
        """Return the recovery that this request has carried out already; None if there is none."""
        asked.leads()
        listing = await asked.list(self._keys.audits)
        entries = (decode_audit(entry.key, entry.value) for entry in listing.entries)
        return next((entry.recovery for entry in entries if entry.request_id == request_id and entry.recovery is not None), None)

    async def _plan(self, cluster: ClusterMap, request: RecoveryRequest) -> tuple[RecoveryPlan, ShardEntry]:
        entry = _shard_of(cluster, request)
        homes = set(entry.config.worker_of.values()) & set(cluster.workers)
        logs = await self._reports.log_ends(dict.fromkeys(homes, (entry.config.shard,)), cluster.workers, REPORTS_S)
        told = await self._reports.failures((cluster.workers[worker] for worker in sorted(homes)), REPORTS_S)
        failed = {worker for worker, shards in told.items() if str(entry.config.shard) in shards}
        reports = Reports(ends=logs.ends, failed=failed)
        return plan_recovery(entry.config, _named(request), cluster.workers, reports, request.worker), entry

    def _transaction(
        self, asked: UserRequest, plan: RecoveryPlan, before: ShardEntry, request: RecoveryRequest, request_id: str
    ) -> Transaction:
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
            compares=(asked.leads(), epoch_of(before, self._keys), *live, *gone),
            then=(put_shard(plan.config, self._keys), Put(key=self._keys.audit(now_ms, self._new_id()), value=encode_audit(entry))),
        )


def _named(request: RecoveryRequest) -> str:
    return f"{request.name}/{request.number}"


def _shard_of(cluster: ClusterMap, request: RecoveryRequest) -> ShardEntry:
    entry = cluster.shards.get(ShardId(cluster.collection(request.name).id, request.number))
    if entry is None:
        raise NotFound(f"shard {_named(request)} does not exist", ErrorDetails(shard=_named(request)))
    return entry
