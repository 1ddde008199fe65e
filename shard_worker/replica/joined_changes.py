"""Joins the changes of records that are applied together, so that an index takes many rows at once.

A replica that catches up applies thousands of records with a row or two each. An index that takes them one record at a
time needs a multiple of the time: each step of numpy, and each table of words, costs the same for one row as for many.
Nothing in between is ever visible: a view is published after the last record of a group.
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
    """Yield changes that, applied in order, have the same effect, with the seq of the last one that each stands for.

    changes: of consecutive records. A row that dies in one of them was written before the change that it becomes part
    of. Changes of nothing are left out.
    """
    group: list[Change] = []
    count = 0
    for change in changes:
        if not len(change.killed_rows) and not len(change.rows):
            continue
        if group and (count + len(change.rows) > MOST_ROWS or _kills_one_of(group, change)):
            yield _one_of(group)
            group, count = [], 0
        group.append(change)
        count += len(change.rows)
    if group:
        yield _one_of(group)


def _kills_one_of(group: Sequence[Change], change: Change) -> bool:
    """Return whether a change kills a row that was written in the group. Row numbers ascend."""
    first = next((int(each.rows[0]) for each in group if len(each.rows)), None)
    return first is not None and len(change.killed_rows) > 0 and int(change.killed_rows[-1]) >= first


def _one_of(group: Sequence[Change]) -> Change:
    if len(group) == 1:
        return group[0]
    killed: Rows = np.sort(np.concatenate([each.killed_rows for each in group]))
    rows: Rows = np.concatenate([each.rows for each in group])
    return Change(
        seq=group[-1].seq,
        killed_rows=killed,
        rows=rows,
        affected=sum(each.affected for each in group),
        written=_all_of([each.written for each in group if each.written is not None]),
    )


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
