"""Remembers which writes of which clients are applied, so that a retry is answered and never applied again.

It depends on the applied records alone, so every replica remembers the same. Bounded: the newest `per_client` numbers
of a client are kept; clients without a write for `expiry_ms` (by the records' own clock), or too many clients, are
forgotten, the longest silent first. A number below the kept range that is not remembered is refused: it is unknown
whether it was applied, and applying it late could bring a deleted point back.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from shoal.core.ids import RequestId, Seq

PER_CLIENT = 1_024
CLIENTS = 10_000
EXPIRY_MS = 3_600_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Remembered:
    """An applied write. seq: of its record; affected: points written or removed."""

    request_id: RequestId
    seq: Seq
    affected: int
    time_ms: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Unheard:
    """A write that was never applied."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TooOld:
    """It is unknown whether the write was applied: its number is too far below the client's newest (`newest`)."""

    newest: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Forgetting:
    """Requests to forget. through: (client, number), up to and including the number; clients: all requests of these."""

    through: tuple[tuple[str, int], ...] = ()
    clients: tuple[str, ...] = ()


@dataclass
class _Client:
    newest: int = 0
    time_ms: int = 0
    applied: dict[int, Remembered] = field(default_factory=dict)


class RequestMemory:
    """Applied writes by client. Used by one thread."""

    def __init__(
        self, applied: Iterable[Remembered] = (), *, per_client: int = PER_CLIENT, clients: int = CLIENTS, expiry_ms: int = EXPIRY_MS
    ) -> None:
        self._per_client, self._most_clients, self._expiry_ms = per_client, clients, expiry_ms
        self._clients: OrderedDict[str, _Client] = OrderedDict()
        for each in sorted(applied, key=lambda one: one.seq):
            self._note(each)

    @property
    def newest_ms(self) -> int:
        """Return the clock of the newest remembered record, 0 for none."""
        return next(reversed(self._clients.values())).time_ms if self._clients else 0

    def look_up(self, request_id: RequestId) -> Remembered | Unheard | TooOld:
        """Return whether a write was applied."""
        client = self._clients.get(request_id.client)
        if client is None:
            return Unheard()
        found = client.applied.get(request_id.number)
        if found is not None:
            return found
        return TooOld(newest=client.newest) if request_id.number <= client.newest - self._per_client else Unheard()

    def remember(self, applied: Sequence[Remembered]) -> Forgetting:
        """Add writes that were applied, in order of seq. Return what is forgotten in exchange."""
        for each in applied:
            self._note(each)
        through = []
        for name in sorted({each.request_id.client for each in applied}):
            dropped = self._trim(name)
            if dropped is not None:
                through.append((name, dropped))
        return Forgetting(through=tuple(through), clients=self._expire())

    def _note(self, each: Remembered) -> None:
        client = self._clients.setdefault(each.request_id.client, _Client())
        client.newest = max(client.newest, each.request_id.number)
        client.time_ms = each.time_ms
        client.applied[each.request_id.number] = each
        self._clients.move_to_end(each.request_id.client)

    def _trim(self, name: str) -> int | None:
        client = self._clients[name]
        through = client.newest - self._per_client
        stale = [number for number in client.applied if number <= through]
        for number in stale:
            del client.applied[number]
        return through if stale else None

    def _expire(self) -> tuple[str, ...]:
        gone = []
        newest_ms = self.newest_ms
        while self._clients:
            name, client = next(iter(self._clients.items()))
            if len(self._clients) <= self._most_clients and client.time_ms >= newest_ms - self._expiry_ms:
                break
            del self._clients[name]
            gone.append(name)
        return tuple(gone)
