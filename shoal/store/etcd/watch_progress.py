"""The position of a watch in the store's history, and the effect of each message of its stream. Pure.

A stream is opened at the revision that the watch has already seen, not at the next one; events that come twice are
dropped. Reason: etcd reports "compacted" only for a start *below* the compacted revision, but a deletion *at* the
compacted revision is already forgotten. With a start one revision earlier, etcd reports this loss instead of hiding it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

from shoal.core.ids import Revision
from shoal.store.interface import Delta, Versioned


@dataclass(frozen=True, kw_only=True, slots=True)
class Deleted:
    """A key that was deleted at a revision."""

    key: str
    revision: Revision


Event = Versioned | Deleted


@dataclass(frozen=True, kw_only=True, slots=True)
class WatchCreated:
    """The server has created the watch. revision: of the store, as this server knows it."""

    revision: Revision


@dataclass(frozen=True, kw_only=True, slots=True)
class Changes:
    """Changes, in order. more: the next message may hold more changes of the last revision."""

    events: tuple[Event, ...]
    more: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class HistoryCompacted:
    """The server has dropped history that the watch has not seen. revision: it has dropped all up to here."""

    revision: Revision


@dataclass(frozen=True, kw_only=True, slots=True)
class Canceled:
    """The server has ended the watch."""

    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class StillThere:
    """The server is alive and reports no change. Its revision is not used: old servers send it before its events."""


StreamMessage = WatchCreated | Changes | HistoryCompacted | Canceled | StillThere


@dataclass(frozen=True, kw_only=True, slots=True)
class Position:
    """The history up to `revision` was handed on. held: events of one later revision, perhaps not all of them."""

    revision: Revision
    held: tuple[Event, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Advance:
    """Hand on the deltas and go on from the new position."""

    position: Position
    deltas: tuple[Delta, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Relist:
    """Changes may have been missed: list everything again."""

    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Reopen:
    """The stream cannot be used any more: open another one."""

    reason: str


def absorb(position: Position, message: StreamMessage) -> Advance | Relist | Reopen:
    """Return what a watch at that position has to do after a message."""
    match message:
        case WatchCreated(revision=revision) if revision < position.revision:
            return Relist(reason=f"the store is at revision {revision}, the watch was at {position.revision}: history was lost")
        case WatchCreated() | StillThere():
            return Advance(position=position, deltas=())
        case Changes(events=events, more=more):
            return _advanced(position, events, more)
        case HistoryCompacted(revision=revision):
            return Relist(reason=f"history up to revision {revision} is compacted, the watch was at {position.revision}")
        case Canceled(reason=reason):
            return Reopen(reason=f"the server ended the watch: {reason}")


def _advanced(position: Position, events: tuple[Event, ...], more: bool) -> Advance:
    unseen = [event for event in (*position.held, *events) if _revision(event) > position.revision]
    groups = [tuple(group) for _, group in itertools.groupby(unseen, key=_revision)]
    held = groups.pop() if more and groups else ()
    deltas = tuple(_delta(group) for group in groups)
    seen = deltas[-1].revision if deltas else position.revision
    return Advance(position=Position(revision=seen, held=held), deltas=deltas)


def _delta(events: Iterable[Event]) -> Delta:
    group = tuple(events)
    return Delta(
        revision=_revision(group[0]),
        changed=tuple(event for event in group if isinstance(event, Versioned)),
        deleted=tuple(event.key for event in group if isinstance(event, Deleted)),
    )


def _revision(event: Event) -> Revision:
    return event.mod_revision if isinstance(event, Versioned) else event.revision
