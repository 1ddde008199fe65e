"""Turns for long work: when running work stops for other work, and which work runs next.

Owns the rule of fairness: the next turn goes to the collection that has used the least time, and within it to the
caller that has. It performs no I/O and reads no clock; times are arguments.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Protocol


class Turn(Protocol):
    """The right to work, as long as somebody waits for the outcome.

    Work calls it between two bounded pieces of at most about 50 ms. rested_s: seconds for which it let other work go
    first.
    """

    rested_s: float

    def check(self) -> None:
        """Raise DeadlineExceeded if nobody waits any more: the deadline has passed, or the caller has left."""
        ...

    def pause(self) -> None:
        """Check as above; and if the work has run for long, let other work go first.

        Do not call it while holding what others need: a lock, a connection.
        """
        ...


class _Free:
    rested_s = 0.0

    def check(self) -> None:
        """Go on."""

    def pause(self) -> None:
        """Go on."""


FREE: Turn = _Free()
"""For short work, and for work that cannot be abandoned."""


@dataclass(frozen=True, slots=True)
class Asker:
    """For whom work is done. collection: its id, "" for none; caller: the client, "" if unknown."""

    collection: str = ""
    caller: str = ""


@dataclass(slots=True)
class _Served:
    """The time that one collection, or one caller, has used.

    floor_s: of a collection: the time of its caller that was last given a turn; new callers start there.
    """

    served_s: float
    floor_s: float = 0.0
    works: int = 0
    begun: int = 0
    waiting: deque[int] = field(default_factory=deque)


@dataclass(slots=True)
class _WaitingWork:
    asker: Asker
    begun: bool = False
    charged_s: float = 0.0
    """Seconds charged in advance when the turn was given; 0.0 while it waits."""


class Turns:
    """Gives turns to works, to at most `at_once` at a time.

    A work that has begun may be put off; it then keeps its thread. If `most_put_off` works are put off, more may begin
    only for collections without any begun work, up to `most_begun` in all. slice_s: length of a turn while others wait;
    most: number of works from which callers with many works are refused more. A work is a number that its owner
    chooses.
    """

    def __init__(self, *, at_once: int, most_put_off: int, slice_s: float, most: int) -> None:
        self._at_once, self._usually_begun, self._slice_s, self._most = at_once, at_once + most_put_off, slice_s, most
        self.most_begun = 2 * self._usually_begun
        self._works: dict[int, _WaitingWork] = {}
        self._collections: dict[str, _Served] = {}
        self._callers: dict[Asker, _Served] = {}
        self._floor_s = 0.0
        self._working = self._begun = 0

    def __len__(self) -> int:
        return len(self._works)

    def has_room(self, asker: Asker) -> bool:
        """Return whether one more work may wait.

        Yes below `most`. From there on, only for callers with less than their share, and never above twice `most`.
        """
        if len(self._works) < self._most:
            return True
        callers = len(self._callers) + (asker not in self._callers)
        mine = self._callers.get(asker)
        return len(self._works) < 2 * self._most and (0 if mine is None else mine.works) < self._most // callers

    def ask(self, work: int, asker: Asker) -> None:
        """Queue a work behind the other works of its caller."""
        self._works[work] = _WaitingWork(asker)
        collection = self._collections.get(asker.collection)
        if collection is None:
            # It starts with the time of those that are served now, so that it gains nothing from its absence.
            collection = self._collections[asker.collection] = _Served(self._floor_s)
        caller = self._callers.get(asker)
        if caller is None:
            caller = self._callers[asker] = _Served(collection.floor_s)
        collection.works += 1
        caller.works += 1
        caller.waiting.append(work)

    def next(self) -> int | None:
        """Give a turn to the next work and return it; None if no turn is free or no work waits.

        The work begins, or goes on where it was put off.
        """
        if self._working >= self._at_once:
            return None
        asker = self._first()
        if asker is None:
            return None
        number = self._callers[asker].waiting.popleft()
        work = self._works[number]
        self._working += 1
        if not work.begun:
            work.begun = True
            self._begun += 1
            self._collections[asker.collection].begun += 1
        self._give_slice(work)
        return number

    def goes_on(self, work: int, held_s: float) -> bool:
        """Return whether a work that has had its turn for `held_s` seconds goes on.

        If not, it is put off: it waits again, before the other works of its caller.
        """
        mine = self._works[work]
        self._settle(mine, held_s)
        first = self._first()
        if first is None or first == mine.asker or self._standing(first) >= self._standing(mine.asker):
            self._give_slice(mine)
            return True
        self._working -= 1
        self._callers[mine.asker].waiting.appendleft(work)
        return False

    def end(self, work: int, held_s: float) -> None:
        """End a work and its turn; do nothing if it was given up before."""
        ended = self._works.pop(work, None)
        if ended is None:
            return
        self._settle(ended, held_s)
        self._working -= 1
        self._leave(ended)

    def give_up(self, work: int) -> bool:
        """Remove a work that waits for a turn, and return True; return False if it does not wait.

        A removed work must not use a turn.
        """
        waited = self._works.get(work)
        if waited is None or work not in self._callers[waited.asker].waiting:
            return False
        self._callers[waited.asker].waiting.remove(work)
        del self._works[work]
        self._leave(waited)
        return True

    def waiting(self) -> list[int]:
        """Return the works that wait for a turn."""
        return [work for caller in self._callers.values() for work in caller.waiting]

    def _first(self) -> Asker | None:
        """Return the asker whose work is next."""
        wanted = [asker for asker, caller in self._callers.items() if caller.waiting and self._may_go(self._works[caller.waiting[0]])]
        return min(wanted, key=self._standing, default=None)

    def _may_go(self, work: _WaitingWork) -> bool:
        """Return whether the work has begun, or may begin."""
        if work.begun or self._begun < self._usually_begun:
            return True
        return self._begun < self.most_begun and not self._collections[work.asker.collection].begun

    def _standing(self, asker: Asker) -> tuple[float, float]:
        return self._collections[asker.collection].served_s, self._callers[asker].served_s

    def _give_slice(self, work: _WaitingWork) -> None:
        """Charge a slice in advance, so that the next turn goes to another asker.

        Also raise the floors at which new collections and callers start.
        """
        collection, caller = self._collections[work.asker.collection], self._callers[work.asker]
        self._floor_s = max(self._floor_s, collection.served_s)
        collection.floor_s = max(collection.floor_s, caller.served_s)
        self._charge(work, self._slice_s)

    def _charge(self, work: _WaitingWork, seconds: float) -> None:
        work.charged_s += seconds
        self._collections[work.asker.collection].served_s += seconds
        self._callers[work.asker].served_s += seconds

    def _settle(self, work: _WaitingWork, held_s: float) -> None:
        """Replace the time charged in advance by the time that was used."""
        self._charge(work, held_s - work.charged_s)
        work.charged_s = 0.0

    def _leave(self, work: _WaitingWork) -> None:
        asker = work.asker
        collection, caller = self._collections[asker.collection], self._callers[asker]
        self._begun -= work.begun
        collection.begun -= work.begun
        collection.works -= 1
        caller.works -= 1
        if not caller.works:
            del self._callers[asker]
        if not collection.works:
            del self._collections[asker.collection]
