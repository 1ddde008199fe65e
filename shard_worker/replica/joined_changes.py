"""Joins the changes of records that are applied together, so that an index takes many rows at once.

A replica that catches up applies thousands of records with a row or two each. An index that takes them one record at a
time needs a multiple of the time: each step of numpy, and each table of words, costs the same for one row as for many.
Nothing in between is ever visible: a view is published after the last record of a group. So a row that is written and
dies within a group need not reach an index at all.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from shoal.core.points import PointColumns
from shoal.core.topk import concat_ids
from shoal.shard_worker.storage.store.mutation import Change, Rows

MOST_ROWS = 1_024
"""New rows of changes that are joined. A change with as many or more stays alone."""


def joined_changes(changes: Sequence[Change]) -> Iterator[Change]:
    """Yield changes that, applied in order, leave the same live rows. seq: of the last change that each stands for.

    changes: of consecutive records. Changes of nothing are left out.
    """
    group: list[Change] = []
    count = 0
    for change in changes:
        if group and count + len(change.rows) > MOST_ROWS:
            yield from _one_of(group)
            group, count = [], 0
        group.append(change)
        count += len(change.rows)
    yield from _one_of(group)


def _one_of(group: Sequence[Change]) -> Iterator[Change]:
    """Yield the change that a group stands for, unless it is one of nothing."""
    if not group:
        return
    if len(group) == 1:
        if len(group[0].killed_rows) or len(group[0].rows):
            yield group[0]
        return
    killed: Rows = np.sort(np.concatenate([each.killed_rows for each in group]))
    rows: Rows = np.concatenate([each.rows for each in group])
    # Row numbers ascend, so the first new row parts those that died within the group from those written before it.
    within = int(np.searchsorted(killed, rows[0])) if len(rows) else len(killed)
    kept = np.flatnonzero(~np.isin(rows, killed[within:], assume_unique=True))
    written = _all_of([each.written for each in group if each.written is not None])
    if len(kept) < len(rows):
        rows, written = rows[kept], None if written is None or not len(kept) else written.take(kept)
    if within or len(rows):
        affected = sum(each.affected for each in group)
        yield Change(seq=group[-1].seq, killed_rows=killed[:within], rows=rows, affected=affected, written=written)


def _all_of(written: Sequence[PointColumns]) -> PointColumns | None:
    if not written:
        return None
    has_payloads = any(each.payloads is not None for each in written)
    payloads = itertools.chain.from_iterable(each.payloads or (None,) * len(each) for each in written)
    return PointColumns(
        ids=concat_ids([each.ids for each in written]),
        vectors=np.concatenate([each.vectors for each in written]),
        payloads=tuple(payloads) if has_payloads else None,
    )
