"""How far a watch has come, and what each message of its stream means for it. Pure.

A stream is opened at the revision the watch has already seen, not at the one after it, and what is seen twice is
dropped. For etcd calls a start compacted only when it is *below* the compacted revision, while a deletion *at* the
compacted revision is already forgotten: starting one revision early turns that silent loss into an answer that says
"compacted".
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

from shoal.core.ids import Revision
from shoal.store.interface import Delta, Versioned


@dataclass(frozen=True, kw_only=True, slots=True)
class Deleted:
    """A key that went away at a revision."""

    key: str
    revision: Revision


Event = Versioned | Deleted


@dataclass(frozen=True, kw_only=True, slots=True)
class WatchCreated:
    """The server watches now. revision: of the store as this server knows it."""

    revision: Revision


@dataclass(frozen=True, kw_only=True, slots=True)
class Changes:
    """What changed, in order. more: the last revision may go on in the next message."""

    events: tuple[Event, ...]
    more: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class HistoryCompacted:
    """The server does not remember what the watch has not seen. revision: up to which it has forgotten."""

    revision: Revision


@dataclass(frozen=True, kw_only=True, slots=True)
class Canceled:
    """The server watches no more."""

    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class StillThere:
    """The server is alive and has nothing to say. Its revision is not trusted: old servers send it ahead of events."""


StreamMessage = WatchCreated | Changes | HistoryCompacted | Canceled | StillThere


@dataclass(frozen=True, kw_only=True, slots=True)
class Position:
    """All of the history up to `revision` was handed on; `held` belongs to one later revision that may not be
    complete.
    """

    revision: Revision
    held: tuple[Event, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Advance:
    """Go on from a new position; hand the deltas on."""

    position: Position
    deltas: tuple[Delta, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Relist:
    """The thread is lost: list everything again."""

    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Reopen:
    """The stream is of no more use: open another one."""

    reason: str


def absorb(position: Position, message: StreamMessage) -> Advance | Relist | Reopen:
    """What a message means for a watch at that position."""
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
