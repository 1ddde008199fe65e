"""Mutations of the store and the changes they made: plain values between the log, the store and the indexes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shoal.core.ids import RequestId, Seq
from shoal.core.point_change import PointUpdate
from shoal.core.points import IdArray, PointColumns

Rows = npt.NDArray[np.int64]
"""Row numbers, (n,) int64."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RequestEntry:
    """A client's write to remember. time_ms: of its record."""

    request_id: RequestId
    time_ms: int


@dataclass(frozen=True, kw_only=True, slots=True)
class PutRows:
    """Write points; the ids in `columns` are unique."""

    seq: Seq
    columns: PointColumns
    request: RequestEntry | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class RemoveRows:
    """Remove points. Ids that do not exist are no error."""

    seq: Seq
    ids: IdArray
    request: RequestEntry | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class DeleteRows:
    """Remove the points that are still in the given rows. ids: (n,); rows: (n,) int64.

    A point that was written again since its row was read is in another row, and stays.
    """

    seq: Seq
    ids: IdArray
    rows: Rows
    request: RequestEntry | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ChangeRows:
    """Write those points of an update anew that exist and match, as they are after the mutations before it."""

    seq: Seq
    update: PointUpdate
    request: RequestEntry | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Noop:
    """Change nothing but the applied seq."""

    seq: Seq
    request: RequestEntry | None = None


Mutation = PutRows | RemoveRows | DeleteRows | ChangeRows | Noop


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """The effect of one mutation.

    killed_rows: removed rows, ascending; rows: new rows, contiguous, row i holds point i of `written`, None if none was
    written; affected: points written or removed.
    """

    seq: Seq
    killed_rows: Rows
    rows: Rows
    affected: int
    written: PointColumns | None = None
