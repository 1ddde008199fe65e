"""Writes the audit: what operators did, each entry in the transaction of the action itself.

A request that comes again, or whose outcome is unknown, is looked up here. So it is carried out once.
"""

from __future__ import annotations

from collections.abc import Callable

from shoal.coordinator.user_request import UserRequest
from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.core.recovery import AuditEntry
from shoal.store.codecs import decode_audit, encode_audit
from shoal.store.interface import Put
from shoal.store.keys import Keys

APPLY_PLAN, PAUSE_PLAN, RESUME_PLAN, CANCEL_PLAN = "apply-plan", "pause-plan", "resume-plan", "cancel-plan"
SET_BALANCE, DRAIN_WORKER, UNDRAIN_WORKER, FORGET_WORKER = "set-balance", "drain-worker", "undrain-worker", "forget-worker"
CREATE_KEY, REVOKE_KEY = "create-key", "revoke-key"
"""Actions of entries."""

MOST_ASKED_BY_CHARACTERS = 1_000


class AuditLog:
    """Makes entries for operators' actions. wall_ms: returns the time in ms since 1970. new_id: returns a new text."""

    def __init__(self, *, keys: Keys, wall_ms: Callable[[], int], new_id: Callable[[], str]) -> None:
        self._keys, self._wall_ms, self._new_id = keys, wall_ms, new_id

    def entry(self, action: str, *, subject: str, reason: str, asked_by: str, request_id: str = "") -> Put:
        """Return the operation that writes an entry. subject: the worker, plan or key; reason: what was done, in words.

        Raises InvalidArgument for an asked_by that is too long.
        """
        if len(asked_by) > MOST_ASKED_BY_CHARACTERS:
            message = f"asked_by has {len(asked_by)} characters, at most {MOST_ASKED_BY_CHARACTERS} are allowed"
            raise InvalidArgument(message, ErrorDetails(field="asked_by"))
        now_ms = self._wall_ms()
        entry = AuditEntry(
            time_ms=now_ms,
            action=action,
            collection="",
            recovery=None,
            reason=reason,
            asked_by=asked_by,
            request_id=request_id or self._new_id(),
            subject=subject,
        )
        return Put(key=self._keys.audit(now_ms, self._new_id()), value=encode_audit(entry))

    async def carried_out(self, asked: UserRequest, action: str, subject: str, request_id: str) -> bool:
        """Return whether this request has done this already. Raises Unavailable or DeadlineExceeded."""
        listing = await asked.list(self._keys.audits)
        entries = (decode_audit(each.key, each.value) for each in listing.entries)
        return any((each.action, each.subject, each.request_id) == (action, subject, request_id) for each in entries)
