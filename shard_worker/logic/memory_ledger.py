"""The memory account of a worker: what its replicas hold, what is reserved, and whether there is room for more. Pure.

It counts three things: what replicas hold; admitted writes until they are applied, at the most they can need; and one
build. One build runs at a time, and memory for the largest next build of any replica is kept free of writes. So a merge
can always begin and release deleted rows, however full the worker is. All sizes are in bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from shoal.core.sizing import FIRST_ROWS, MIB, REPLICA_BASE_BYTES, growing_row_bytes, open_store_bytes, text_build_bytes

MESSAGE_COPIES = 3
"""Copies of the bytes of a write in memory until it is applied: as received, as logged, as decoded."""

LINK_BYTES = 320
"""Links and columns of two copies of a row in a graph of the usual size."""

TEXT_COPIES = 4
"""Memory of payloads and ids as a multiple of their size in a message: texts of ids, the payload index and its
sources."""


INDEXED_TEXT_COPIES = 8
"""Memory of the index of text fields as a multiple of the payloads' size: 1.6 to 2.7 for texts of some ten words, 4.3
where no word comes twice. More (up to 12) where no pair of Chinese characters does, which no real text is like."""

CUT_TEXT_COPIES = 30
MOST_CUT_TEXT_BYTES = 16 * MIB
"""Memory of words as they are cut from payloads, as a multiple of their size, and at most."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GrowingSize:
    """Size of the arrays of a growing segment.

    rows: that it holds; reserved: rows its arrays have room for; capacity: most rows that it takes; row_bytes: of one
    row in all arrays; vector_bytes: the vector's part of row_bytes; has_texts: whether it indexes text fields.
    """

    rows: int
    reserved: int
    capacity: int
    row_bytes: int
    vector_bytes: int
    has_texts: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class ReplicaCost:
    """Memory of a replica.

    held: everything it holds; growing: the growing segment of its points; next_build: the most that its next build may
    take in addition; waking: what its store takes in addition when its files are opened for a write, 0 while they are
    open; named: the growing segment of each named vector; passing: the part of held that is gone when its rows are
    sealed.
    """

    held: int
    growing: GrowingSize
    next_build: int = 0
    waking: int = 0
    named: tuple[GrowingSize, ...] = ()
    passing: int = 0

    @property
    def lasting(self) -> int:
        """Return what it holds while its files are open, without what passes. Another replica with the same points
        takes about as much, in whatever way the points came to it.
        """
        return self.held + self.waking - self.passing

    @property
    def all_growing(self) -> tuple[GrowingSize, ...]:
        """Return all growing segments. Each takes at most one row for a point."""
        return (self.growing, *self.named)


def joined_cost(indexes: Sequence[ReplicaCost]) -> ReplicaCost:
    """Return the memory of a replica with these indexes: of its points, then of named vectors. It has one build at a
    time."""
    points = indexes[0]
    return replace(
        points,
        held=sum(each.held for each in indexes),
        next_build=max(each.next_build for each in indexes),
        passing=sum(each.passing for each in indexes),
        named=tuple(each.growing for each in indexes[1:]),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Pending:
    """Writes of one replica that were admitted and are not applied. points, message_bytes: of all these writes."""

    points: int = 0
    message_bytes: int = 0

    def plus(self, points: int, message_bytes: int) -> Pending:
        """Return it with more, or with less where the arguments are negative."""
        return Pending(points=self.points + points, message_bytes=self.message_bytes + message_bytes)


@dataclass(frozen=True, kw_only=True, slots=True)
class MemoryLedger:
    """The sums of the account.

    held: by replicas; writes: reserved for writes; building: reserved for the running build, 0 for none; kept: the
    largest next build of a replica.
    """

    budget: int
    held: int = 0
    writes: int = 0
    building: int = 0
    kept: int = 0

    @property
    def used(self) -> int:
        """Return how much of the budget is used, reserved memory included."""
        return self.held + self.writes + max(self.building, self.kept)

    @property
    def room(self) -> int:
        """Return what is left."""
        return max(0, self.budget - self.used)

    def with_write(self, more: int) -> MemoryLedger:
        """Return it with `more` reserved for writes, or less where it is negative."""
        return replace(self, writes=self.writes + more)


def empty_growing(dim: int, capacity: int) -> GrowingSize:
    """Return the size of the growing segment of a replica that has not taken a row yet."""
    return GrowingSize(rows=0, reserved=0, capacity=capacity, row_bytes=growing_row_bytes(dim), vector_bytes=4 * dim)


def opening_cost(*, dim: int, capacity: int, stored_bytes: int, file_bytes: int) -> ReplicaCost:
    """Estimate from its folder what a replica costs once it is open.

    file_bytes: of the segment files that are read into memory.
    """
    held = REPLICA_BASE_BYTES + open_store_bytes(stored_bytes) + file_bytes
    return ReplicaCost(held=held, growing=empty_growing(dim, capacity))


def write_need(cost: ReplicaCost, pending: Pending) -> int:
    """Return the most memory that writes in flight can need in addition to what the replica holds; 0 when there are
    none. The first of them opens the files of a replica at rest.

    Arrays that must grow are copied, so the old and the new array exist at the same time. A full segment is frozen, and
    a new one begun.
    """
    if pending.points <= 0 and pending.message_bytes <= 0:
        return 0
    arrays = sum(growth_rows(growing, pending.points) * growing.row_bytes for growing in cost.all_growing)
    texts = _texts(cost, pending)
    indexed = INDEXED_TEXT_COPIES * texts + min(MOST_CUT_TEXT_BYTES, CUT_TEXT_COPIES * texts) if cost.growing.has_texts else 0
    payloads = TEXT_COPIES * texts * len(cost.all_growing)
    return cost.waking + arrays + MESSAGE_COPIES * pending.message_bytes + payloads + indexed


def growth_rows(growing: GrowingSize, points: int) -> int:
    """Return by how many rows the arrays may grow at most, while `points` more rows are appended in any number of
    writes.

    Arrays that are too short are replaced by arrays twice as long, the first ones have FIRST_ROWS; old and new arrays
    exist until the rows are copied. A full segment is frozen, and the next one begun.
    """
    after, capacity = growing.rows + points, growing.capacity
    if after < capacity:
        return 0 if after <= growing.reserved else min(capacity, max(2 * after, FIRST_ROWS)) + after - growing.reserved
    full, rest = divmod(after - capacity, capacity)
    last = min(capacity, max(2 * rest, FIRST_ROWS))
    copied = capacity if full or growing.reserved < capacity else last
    return (1 + full) * capacity - growing.reserved + last + copied


def write_refusal(ledger: MemoryLedger, cost: ReplicaCost, before: Pending, points: int, message_bytes: int) -> str | None:
    """Return why a write of this many points and bytes may not be admitted; None when it may.

    There must be room for what it needs itself, and for the build that will take its rows.
    """
    pending = before.plus(points, message_bytes)
    more = write_need(cost, pending) - write_need(cost, before)
    kept = max(ledger.kept, cost.next_build + _build_growth(cost, pending))
    after = replace(ledger, writes=ledger.writes + more, kept=kept)
    if after.used <= after.budget:
        return None
    need = after.used - ledger.used
    return (
        f"no memory for {points:,} points: they need {in_mib(need)}, {in_mib(ledger.room)} of {in_mib(ledger.budget)} are left "
        f"({_parts(ledger)}); delete points, choose a smaller index, add a worker, or give this one a larger memory budget"
    )


def _build_growth(cost: ReplicaCost, pending: Pending) -> int:
    """Return by how much these writes enlarge the next build of a replica: each row is copied twice, with links."""
    texts = _texts(cost, pending)
    merged = text_build_bytes(INDEXED_TEXT_COPIES * texts) if cost.growing.has_texts else 0
    row_bytes = max(growing.row_bytes for growing in cost.all_growing)
    return pending.points * (2 * row_bytes + LINK_BYTES) + TEXT_COPIES * texts + merged


def _texts(cost: ReplicaCost, pending: Pending) -> int:
    """Return the bytes of payloads and ids in these writes."""
    return max(0, pending.message_bytes - pending.points * sum(growing.vector_bytes for growing in cost.all_growing))


def replica_refusal(ledger: MemoryLedger, need: int) -> str | None:
    """Return why a new replica that needs this much may not be created; None when it may."""
    if ledger.used + need <= ledger.budget:
        return None
    return (
        f"no memory for another replica: it needs {in_mib(need)}, {in_mib(ledger.room)} of {in_mib(ledger.budget)} are left "
        f"({_parts(ledger)}); drop collections, add a worker, or give this one a larger memory budget"
    )


def opening_refusal(ledger: MemoryLedger, need: int) -> str | None:
    """Return why an existing replica of this size may not be opened; None when it may.

    Serving it matters more than builds: no memory is kept free for a build that does not run.
    """
    return replica_refusal(replace(ledger, kept=0), need)


def build_refusal(ledger: MemoryLedger, need: int) -> str | None:
    """Return why a build that needs this much may not begin now; None when it may."""
    if ledger.building:
        return "another build is running on this worker"
    free = ledger.budget - ledger.held - ledger.writes
    if need <= free:
        return None
    return f"a build needs {in_mib(need)} of memory, {in_mib(max(0, free))} of {in_mib(ledger.budget)} are left on this worker"


def in_mib(size: int) -> str:
    """Return a size as a text, in MiB."""
    return f"{size / MIB:,.1f} MiB"


def _parts(ledger: MemoryLedger) -> str:
    builds = max(ledger.building, ledger.kept)
    return f"replicas hold {in_mib(ledger.held)}, writes under way {in_mib(ledger.writes)}, builds need {in_mib(builds)}"
