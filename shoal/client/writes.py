"""A write of any size: its messages, the flow of each message, and the joint meaning of their outcomes.

Messages may be sent at the same time. After the first failure no further message is sent; the error then says what was
applied.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shoal.client.cutting import MESSAGE_BYTES, cut, id_sizes, last_of_each, point_sizes
from shoal.client.flow import Flow, answered
from shoal.client.identity import RequestIds, Session
from shoal.client.named_columns import check_fits, within
from shoal.client.routers import Routers
from shoal.core.collection import CollectionState
from shoal.core.errors import Applied, DeadlineExceeded, ErrorDetails, InvalidArgument, ShoalError, is_passing
from shoal.core.filter import Filter, HasId, Not, Or
from shoal.core.limits import DEFAULT_LIMITS
from shoal.core.points import IdArray, PointColumns
from shoal.core.replies import CollectionSummary, Written
from shoal.core.requests import Delete, DeleteMatching, ListCollections, Update, Upsert

Outcome = Written | ShoalError | None
"""Of one message: written, failed, or never sent."""

MESSAGES_AT_ONCE = 4

MESSAGE_LIMIT = "message_bytes"
"""What a router names when the rows of a write are larger than a message."""

EVERY_POINT: Filter = Or((HasId((0,)), Not(HasId((0,)))))
"""Matches every point, and says so by ids, which cost less than payloads.

A filter that matches every point by its form alone is refused as an oversight, also by servers of older versions.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sender:
    """Sends the messages of writes of one client. timeout_s: for each message."""

    timeout_s: float
    routers: Routers
    request_ids: RequestIds
    session: Session

    def sent(self, collection: str, request: Upsert | Delete | DeleteMatching | Update) -> Flow[Written]:
        """Return the flow of one message. Later reads of this client see what it wrote."""
        written: Written = yield from answered(request, timeout_s=self.timeout_s, routers=self.routers)
        self.session.acknowledge(collection, written.tokens)
        return written


@dataclass(frozen=True, kw_only=True)
class Write:
    """One write of a user.

    pieces: [start, end) of each message; positions: of the points in the user's input, None if none was left out; make:
    returns the flow of the piece [start, end).
    """

    collection: str
    pieces: tuple[tuple[int, int], ...]
    positions: npt.NDArray[np.intp] | None
    make: Callable[[int, int], Flow[Written]]

    def flows(self) -> Iterator[Flow[Written]]:
        """Return an iterator over the flows of the messages; each is created when it is needed."""
        return (self.make(start, end) for start, end in self.pieces)

    def counting(self, progress: Callable[[int, int], None] | None, *, before: int = 0, total: int | None = None) -> Callable[[int], None]:
        """Return a function that takes the position of an acknowledged message and calls `progress` with the points so
        far.

        before: points acknowledged earlier; total: points in all, if more than those of this write.
        """
        acknowledged = before
        of = self.pieces[-1][1] if total is None else total

        def done(position: int) -> None:
            nonlocal acknowledged
            start, end = self.pieces[position]
            acknowledged += end - start
            if progress is not None:
                progress(acknowledged, of)

        return done

    def settled(self, outcomes: Sequence[Outcome]) -> int:
        """Return the number of points written or removed. Raises the error of the write when a message failed."""
        failed = [at for at, outcome in enumerate(outcomes) if isinstance(outcome, ShoalError)]
        if not failed:
            return sum(outcome.affected for outcome in outcomes if isinstance(outcome, Written))
        raise self._error(min(failed, key=lambda at: (_rank(outcomes[at]), at)), outcomes)

    def _error(self, failed: int, outcomes: Sequence[Outcome]) -> ShoalError:
        error = outcomes[failed]
        assert isinstance(error, ShoalError)
        message, details = self._renumbered(error, self.pieces[failed][0])
        if len(self.pieces) > 1:
            done = [end - start for (start, end), outcome in zip(self.pieces, outcomes, strict=True) if isinstance(outcome, Written)]
            message = f"{message}; {sum(done)} of {self.pieces[-1][1]} points were acknowledged before"
        return type(error)(message, dataclasses.replace(details, applied=applied_of(self.collection, outcomes)))

    def _renumbered(self, error: ShoalError, start: int) -> tuple[str, ErrorDetails]:
        index = error.details.index
        if index is None:
            return error.message, error.details
        given = start + index if self.positions is None else int(self.positions[start + index])
        return error.message.replace(f"[{index}]", f"[{given}]", 1), dataclasses.replace(error.details, index=given)


def upsert(collection: str, points: PointColumns, sender: Sender) -> Write:
    """Return the write of checked points. Of points with the same id, the last one counts.

    Integer vectors are converted to float32 for each message, while the messages before are on their way.
    """
    positions = last_of_each(points.ids)
    kept = points if positions is None else points.take(positions)

    def send(start: int, end: int) -> Flow[Written]:
        part = Upsert(collection=collection, points=slice_of(kept, start, end), request_id=sender.request_ids.next())
        written = yield from sender.sent(collection, part)
        return Written(tokens=written.tokens, affected=end - start)

    def make(start: int, end: int) -> Flow[Written]:
        return in_parts(collection, send, start, end)

    pieces = cut(point_sizes(kept), max_bytes=MESSAGE_BYTES, max_count=DEFAULT_LIMITS.upsert_points)
    return Write(collection=collection, pieces=tuple(pieces), positions=positions, make=make)


def in_parts(collection: str, send: Callable[[int, int], Flow[Written]], start: int, end: int) -> Flow[Written]:
    """Send the points [start, end) of a write in one message, or in halves if its rows are larger than a message.

    A point has room for all named vectors of its collection in shards, of which a write may name a few (ADR 36). A
    router then refuses the message as a whole. Raises the error of a half as if it came from one message.
    """
    try:
        return (yield from send(start, end))
    except InvalidArgument as error:
        if error.details.limit != MESSAGE_LIMIT or end - start < 2:
            raise
    middle = (start + end) // 2
    first = yield from in_parts(collection, send, start, middle)
    try:
        second = yield from in_parts(collection, send, middle, end)
    except ShoalError as error:
        applied, index, message = applied_of(collection, (first, error)), error.details.index, error.message
        if index is not None:
            message = message.replace(f"[{index}]", f"[{index + middle - start}]", 1)
            index += middle - start
        raise type(error)(message, dataclasses.replace(error.details, applied=applied, index=index)) from None
    return Written(tokens=first.tokens + second.tokens, affected=first.affected + second.affected)


def delete(collection: str, ids: IdArray, sender: Sender) -> Write:
    """Return the write that deletes ids. An id that is given twice is deleted once."""
    positions = last_of_each(ids)
    kept = ids if positions is None else ids[positions]

    def make(start: int, end: int) -> Flow[Written]:
        return sender.sent(collection, Delete(collection=collection, ids=kept[start:end], request_id=sender.request_ids.next()))

    pieces = cut(id_sizes(kept), max_bytes=MESSAGE_BYTES, max_count=DEFAULT_LIMITS.upsert_points)
    return Write(collection=collection, pieces=tuple(pieces), positions=positions, make=make)


def delete_matching(collection: str, filter: Filter, sender: Sender) -> Write:
    """Return the write that deletes the points that match, in one message."""

    def make(start: int, end: int) -> Flow[Written]:
        return sender.sent(collection, DeleteMatching(collection=collection, filter=filter, request_id=sender.request_ids.next()))

    return Write(collection=collection, pieces=((0, 1),), positions=None, make=make)


def checked_against_collection(collection: str, points: PointColumns, *, timeout_s: float, routers: Routers) -> Flow[None]:
    """Check names and dimensions, and for cosine that no vector is zero, before a write of several messages.

    Thus the whole write is refused if one of its messages would be. If the router does not list the collection yet,
    only the servers check.
    """
    listed: tuple[CollectionSummary, ...] = yield from answered(ListCollections(), timeout_s=timeout_s, routers=routers)
    for each in listed:
        if each.name == collection and each.state == CollectionState.ACTIVE:
            check_fits(points, each.spec)


def slice_of(points: PointColumns, start: int, end: int) -> PointColumns:
    """Return the points [start, end). Vectors of float32 are not copied, integers are converted."""
    payloads = None if points.payloads is None else points.payloads[start:end]
    vectors = points.vectors[start:end].astype(np.float32, copy=False)
    named = None if points.named is None else within(points.named, start, end)
    return PointColumns(ids=points.ids[start:end], vectors=vectors, payloads=payloads, named=named)


def applied_of(collection: str, outcomes: Sequence[Outcome]) -> dict[str, Applied]:
    """Return for each shard ("name/number") whether the write was applied there.

    It is yes or no if that holds for all points of the shard, else maybe.
    """
    told: dict[str, set[Applied]] = {}
    elsewhere: set[Applied] = set()
    for outcome in outcomes:
        match outcome:
            case Written(tokens=tokens):
                for token in tokens:
                    told.setdefault(f"{collection}/{token.shard}", set()).add("yes")
            case ShoalError(details=details):
                for shard, applied in details.applied.items():
                    told.setdefault(shard, set()).add(applied)
                if not details.applied:
                    elsewhere.add("no" if isinstance(outcome, InvalidArgument) else "maybe")
            case None:
                elsewhere.add("no")
    return {shard: _together(answers | elsewhere) for shard, answers in sorted(told.items())}


def _together(answers: set[Applied]) -> Applied:
    return next(iter(answers)) if len(answers) == 1 else "maybe"


def _rank(outcome: Outcome) -> int:
    """Return the rank of a failure: errors of the input come before errors that a later retry may not meet."""
    return 1 if isinstance(outcome, ShoalError) and (is_passing(outcome) or isinstance(outcome, DeadlineExceeded)) else 0
