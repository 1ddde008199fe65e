"""Turns to work: what long work asks while it goes on, and whose work is next where more is wanted than can be done at
once.

Owns the rule of fairness: the collection that was served least is next, and within it the caller that was. Performs
nothing; times are told.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Protocol


class Turn(Protocol):
    """The right to work, as long as somebody waits for the outcome. Work calls it between two bounded pieces, some 50
    ms at most.

    rested_s: seconds that it let others go first.
    """

    rested_s: float

    def check(self) -> None:
        """Raise DeadlineExceeded when nobody waits any more: the deadline is over, or the caller has left."""
        ...

    def pause(self) -> None:
        """As check; and let others go first, where it has worked for long.

        Not while it holds what others need: a lock, a connection.
        """
        ...


class _Free:
    rested_s = 0.0

    def check(self) -> None:
        """Go on."""

    def pause(self) -> None:
        """Go on."""


FREE: Turn = _Free()
"""For short work, and for work that nobody can leave."""


@dataclass(frozen=True, slots=True)
class Asker:
    """On whose behalf work is done. collection: its id, "" for none; caller: "" where that is not known."""

    collection: str = ""
    caller: str = ""


@dataclass(slots=True)
class _Served:
    """What one collection, or one caller, was given. floor_s: what those below it had when they were last given a
    turn.
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
    """Taken for used up when the turn was given; 0.0 while it waits."""


class Turns:
    """At most `at_once` works have a turn. One that has begun may be put off, and keeps its thread; where
    `most_put_off` are, only collections without any begun work begin more, up to `most_begun` in all.

    slice_s: how long a turn lasts while others wait; most: works before callers with many are refused more. Every work
    is a number that its owner chooses.
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
        """Whether one more work may wait: always below `most`, then for callers with less than their share, and never
        above twice that.
        """
        if len(self._works) < self._most:
            return True
        callers = len(self._callers) + (asker not in self._callers)
        mine = self._callers.get(asker)
        return len(self._works) < 2 * self._most and (0 if mine is None else mine.works) < self._most // callers

    def ask(self, work: int, asker: Asker) -> None:
        """It wants a turn, behind the other works of its caller."""
        self._works[work] = _WaitingWork(asker)
        collection = self._collections.get(asker.collection)
        if collection is None:
            # As much as those that are served now, so that nobody is paid for having been away.
            collection = self._collections[asker.collection] = _Served(self._floor_s)
        caller = self._callers.get(asker)
        if caller is None:
            caller = self._callers[asker] = _Served(collection.floor_s)
        collection.works += 1
        caller.works += 1
        caller.waiting.append(work)

    def next(self) -> int | None:
        """The work that gets a turn now; None when there is no turn, or nobody waits.

        It begins, or goes on where it was put off.
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
        """Whether a work that has had its turn for `held_s` goes on.

        If not it is put off: it waits again, before its caller's others.
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
        """It has ended; nothing when it was given up before."""
        ended = self._works.pop(work, None)
        if ended is None:
            return
        self._settle(ended, held_s)
        self._working -= 1
        self._leave(ended)

    def give_up(self, work: int) -> bool:
        """It does not want a turn any more.

        Returns whether it waited for one; it is then forgotten, and takes no turn to end.
        """
        waited = self._works.get(work)
        if waited is None or work not in self._callers[waited.asker].waiting:
            return False
        self._callers[waited.asker].waiting.remove(work)
        del self._works[work]
        self._leave(waited)
        return True

    def waiting(self) -> list[int]:
        """Works that wait for a turn."""
        return [work for caller in self._callers.values() for work in caller.waiting]

    def _first(self) -> Asker | None:
        """Whose work is next."""
        wanted = [asker for asker, caller in self._callers.items() if caller.waiting and self._may_go(self._works[caller.waiting[0]])]
        return min(wanted, key=self._standing, default=None)

    def _may_go(self, work: _WaitingWork) -> bool:
        """Whether it has begun, or may begin."""
        if work.begun or self._begun < self._usually_begun:
            return True
        return self._begun < self.most_begun and not self._collections[work.asker.collection].begun

    def _standing(self, asker: Asker) -> tuple[float, float]:
        return self._collections[asker.collection].served_s, self._callers[asker].served_s

    def _give_slice(self, work: _WaitingWork) -> None:
        """It counts when it is given, so that the next one is another's.

        Newcomers are where those are that are served now.
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
        """What lasted so long counts as that, not as what was given."""
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
