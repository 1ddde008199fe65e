"""Looks at what an update would make of its points, before its record is written: refuses what would be too much.

The record is applied to the points as they are then (ADR 33), so this look promises nothing. It keeps a caller from
payloads that no point may have, and the writer of the shard from records that would occupy it for long.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.core.point_change import PointUpdate, VectorChange, payload_changer, positions_matching
from shoal.core.points import IdArray, PointId, StoredColumns
from shoal.core.turns import Turn

UPDATE_BYTES = 128 * 1024 * 1024
"""Most bytes of points that one update of a shard may write: all are in memory when it is applied."""

UPDATE_S = 2.0
"""Most processor time that the look may take: to apply the record takes about as long, and other writes wait then."""

_AT_ONCE = 64
"""Points that are read in one piece."""

ReadPayloads = Callable[[IdArray], StoredColumns]


def foreseen_bytes(update: PointUpdate, dim: int, read: ReadPayloads, turn: Turn, clock: Callable[[], float] = time.thread_time) -> int:
    """Return the bytes of the points that an update would write now. read: returns the points of ids that exist, with
    payloads; clock: seconds of processor time.

    Raises InvalidArgument for a point whose payload would not be legal, naming its id, and for more than UPDATE_BYTES
    or UPDATE_S. Also raises what the turn and `read` raise.
    """
    look = _Foresight(update, dim, turn, clock)
    for start in range(0, len(update.ids), _AT_ONCE):
        turn.pause()
        look.take(read(update.ids[start : start + _AT_ONCE]))
    return look.written


class _Foresight:
    """written: bytes of the points that are changed, of those taken so far."""

    def __init__(self, update: PointUpdate, dim: int, turn: Turn, clock: Callable[[], float]) -> None:
        self._update, self._turn, self._clock = update, turn, clock
        self._point_bytes = 4 * dim
        self._began = clock()
        self._changed = None if isinstance(update.change, VectorChange) else payload_changer(update.change)
        self.written = 0

    def take(self, points: StoredColumns) -> None:
        """Look at points that exist."""
        assert points.payloads is not None, "an update needs payloads"
        ids = points.ids.tolist()
        for at in positions_matching(points, self._update.filter, self._go_on):
            self._go_on()
            payload = points.payloads[at]
            text = payload if self._changed is None else self._changed_text(payload, ids[at])
            self.written += self._point_bytes + len(text or b"")
            if self.written > UPDATE_BYTES:
                message = f"the update would write more than {UPDATE_BYTES} bytes of points to one shard; change fewer points in one call"
                raise InvalidArgument(message, ErrorDetails(field="ids", limit="update_bytes"))

    def _changed_text(self, payload: bytes | None, point_id: PointId) -> bytes:
        assert self._changed is not None
        try:
            return self._changed(payload)
        except InvalidArgument as error:
            message = f"point {point_id!r} would have a payload that is not allowed: {error.message}"
            raise InvalidArgument(message, ErrorDetails(field="change", limit=error.details.limit)) from None

    def _go_on(self) -> None:
        self._turn.check()
        if self._clock() - self._began > UPDATE_S:
            message = f"the update of {len(self._update.ids)} points would occupy their shard for more than {UPDATE_S:.0f} s"
            raise InvalidArgument(
                f"{message}; change fewer points in one call, or use a shorter filter", ErrorDetails(field="ids", limit="update_time")
            )
