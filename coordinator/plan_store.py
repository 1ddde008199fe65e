"""Reads and writes applied plans: the newest in `ops/rebalance`, those that ended in the history.

At most one plan runs. Each change of the newest is one compare-and-swap of its key.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from shoal.coordinator.user_request import UserRequest
from shoal.core.errors import AnyShoalError, ErrorDetails, InvalidArgument, NotFound
from shoal.core.ids import Revision
from shoal.core.rebalance import PlanState, RebalanceEntry, RebalancePlan
from shoal.core.shown import shown
from shoal.store.interface import Absent, Compare, DeleteKey, Listing, Put, Transaction, Unchanged, Versioned
from shoal.store.keys import Keys
from shoal.store.rebalance_codecs import decode_rebalance, encode_rebalance

MOST_KEPT_PLANS = 20
"""Most plans of the history."""

MOST_NOTES = 100
"""Most shards and remarks that an applied plan keeps about what it leaves as it is."""

MOST_PLAN_BYTES = 512 * 1024
"""Most bytes of a plan when it begins. Its end puts it twice in one transaction, with what became of each item."""

_REMOVED_AT_ONCE = 64


class PlanStore:
    """The applied plans of a cluster. wall_ms: returns the time in ms since 1970.

    Each call raises Unavailable (not the leader, no store) or DeadlineExceeded.
    """

    def __init__(self, *, keys: Keys, wall_ms: Callable[[], int]) -> None:
        self._keys, self._wall_ms = keys, wall_ms

    async def newest(self, asked: UserRequest) -> RebalanceEntry | None:
        """Return the newest applied plan, as the store holds it now, once the map shows it; None if there was none."""
        found = await asked.get(self._keys.rebalance)
        if found is None:
            return None
        await asked.shows(found.mod_revision)
        return _decoded(found)

    async def applied(self, asked: UserRequest, newest: RebalanceEntry | None) -> list[RebalanceEntry]:
        """Return the newest applied plan and those of the history that are kept, newest first."""
        ended = _kept(await asked.list(self._keys.plans))
        if newest is not None:
            ended.pop(self._ended_key(newest), None)
        older = [ended[key] for key in sorted(ended, reverse=True)]
        return older if newest is None else [newest, *older]

    async def found(self, asked: UserRequest, plan_id: str, newest: RebalanceEntry | None) -> RebalanceEntry:
        """Return an applied plan by its id, "" for the newest one. Raises NotFound, too."""
        if newest is not None and plan_id in ("", newest.plan.id):
            return newest
        entries = await self.applied(asked, newest)
        entry = next((entry for entry in entries if plan_id in ("", entry.plan.id)), None)
        if entry is None:
            missing = f"no plan with the id {shown(plan_id)} was applied" if plan_id else "no plan was applied yet"
            raise about_plan(NotFound, f"{missing}; `shoal rebalance history` lists those that were")
        return entry

    async def begin(
        self,
        asked: UserRequest,
        plan: RebalancePlan,
        newest: RebalanceEntry | None,
        asked_by: str,
        *,
        compares: tuple[Compare, ...] = (),
        audit: tuple[Put, ...] = (),
    ) -> RebalanceEntry | None:
        """Put a plan as the one that runs, in the place of one that has ended. Returns None if this is not surely done.

        newest: what the key holds. compares: must hold besides. audit: entries of the audit. Raises InvalidArgument for
        a plan that is too large, too.
        """
        if newest is not None and not await self._is_kept(asked, newest):
            return None
        short = dataclasses.replace(plan, pinned=plan.pinned[:MOST_NOTES], left=plan.left[:MOST_NOTES])
        entry = RebalanceEntry(plan=short, state=PlanState.RUNS, asked_by=asked_by, started_ms=self._wall_ms())
        return await self._swapped(asked, newest, entry, compares, audit)

    async def set_state(
        self, asked: UserRequest, newest: RebalanceEntry, state: PlanState, audit: tuple[Put, ...]
    ) -> RebalanceEntry | None:
        """Give the newest plan another state. Returns None if this is not surely done."""
        return await self._swapped(asked, newest, dataclasses.replace(newest, state=state), (), audit)

    async def trim(self, asked: UserRequest) -> None:
        """Remove the oldest plans from the history that are too many."""
        keys = sorted(entry.key for entry in (await asked.list(self._keys.plans)).entries)
        removed = keys[: max(0, len(keys) - MOST_KEPT_PLANS)][:_REMOVED_AT_ONCE]
        if removed:
            await asked.committed(Transaction(compares=(asked.leads(),), then=tuple(DeleteKey(key=key) for key in removed)))

    async def _swapped(
        self,
        asked: UserRequest,
        before: RebalanceEntry | None,
        after: RebalanceEntry,
        compares: tuple[Compare, ...],
        audit: tuple[Put, ...],
    ) -> RebalanceEntry | None:
        value = encode_rebalance(after)
        if before is None or before.ended:
            _check_size(plan=after.plan.id, size=len(value))
        put = Put(key=self._keys.rebalance, value=value)
        transaction = Transaction(compares=(asked.leads(), self._as_read(before), *compares), then=(put, *audit))
        revision = await asked.committed(transaction)
        return None if revision is None else dataclasses.replace(after, revision=revision)

    async def _is_kept(self, asked: UserRequest, ended: RebalanceEntry) -> bool:
        """Put a plan that ended into the history, unless it is there. Returns whether it surely is."""
        key = self._ended_key(ended)
        if await asked.get(key) is not None:
            return True
        compares = (asked.leads(), self._as_read(ended), Absent(key=key))
        put = Put(key=key, value=encode_rebalance(ended))
        return await asked.committed(Transaction(compares=compares, then=(put,))) is not None

    def _ended_key(self, entry: RebalanceEntry) -> str:
        return self._keys.ended_plan(entry.started_ms, entry.plan.id)

    def _as_read(self, entry: RebalanceEntry | None) -> Compare:
        key = self._keys.rebalance
        return Absent(key=key) if entry is None else Unchanged(key=key, mod_revision=entry.revision)


def about_plan(kind: type[AnyShoalError], message: str, field: str = "plan") -> AnyShoalError:
    """Return an error about a plan. field: see ErrorDetails."""
    return kind(message, ErrorDetails(field=field))


def _check_size(*, plan: str, size: int) -> None:
    if size > MOST_PLAN_BYTES:
        raise about_plan(InvalidArgument, f"plan {shown(plan)} takes {size:,} bytes, at most {MOST_PLAN_BYTES:,} are allowed")


def _kept(listing: Listing) -> dict[str, RebalanceEntry]:
    entries = sorted(listing.entries, key=lambda entry: entry.key)[-MOST_KEPT_PLANS:]
    return {entry.key: dataclasses.replace(_decoded(entry), revision=Revision(0)) for entry in entries}


def _decoded(found: Versioned) -> RebalanceEntry:
    return decode_rebalance(found.key, found.value, found.mod_revision)
