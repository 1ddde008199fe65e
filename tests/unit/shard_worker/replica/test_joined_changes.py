"""Test that records applied together leave what they leave one by one, in an index that takes many of their rows at
once.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.core.collection import CollectionSpec
from shoal.core.ids import ClusterId, Seq, Term
from shoal.core.metric import Metric
from shoal.core.points import PointColumns, id_array
from shoal.core.shard_calls import QueryGroup
from shoal.core.text_calls import TextSearchCall
from shoal.core.text_fields import text_fields_from_input
from shoal.core.text_query import TextAsk
from shoal.shard_worker.index.search.ask import SearchContext
from shoal.shard_worker.index.search.hot_filters import HotFilters
from shoal.shard_worker.index.search.text_search import TextView, count_words, search_texts
from shoal.shard_worker.logic.replication.record import Record, RecordKind
from shoal.shard_worker.replica.engine import Engine, EngineSettings
from shoal.shard_worker.replica.joined_changes import MOST_ROWS, joined_changes
from shoal.shard_worker.storage.folders.replica_folder import ReplicaRef
from shoal.shard_worker.storage.folders.worker_folder import WorkerFolder
from shoal.shard_worker.storage.store.mutation import Change
from shoal.wire.point_bytes import points_to_bytes
from shoal.wire.records import delete_body
from tests.support.worker.replica_bench import DIM, REPLICA, SHARD

TEXTS = CollectionSpec(name="c", dim=DIM, metric=Metric.L2, text=text_fields_from_input({"body": "auto"}))
WORDS = ("red", "green", "blue", "数据库", "RocksDB")


def change(seq: int, killed: Sequence[int], first: int, count: int, *, payloads: bool) -> Change:
    rows = np.arange(first, first + count, dtype=np.int64)
    ids = id_array([f"id{row}" if row % 3 else int(row) for row in rows.tolist()])
    columns = PointColumns(
        ids=ids,
        vectors=np.repeat(rows[:, None], DIM, axis=1).astype(np.float32),
        payloads=tuple(f'{{"n":{row}}}'.encode() for row in rows.tolist()) if payloads else None,
    )
    return Change(
        seq=Seq(seq),
        killed_rows=np.array(sorted(killed), dtype=np.int64),
        rows=rows,
        affected=len(killed) + count,
        written=columns if count else None,
    )


@st.composite
def histories(draw: st.DrawFn) -> list[Change]:
    """Changes of an index that holds rows 0 to 9 at first: each kills rows that live, and writes some."""
    random, live, following, made = Random(draw(st.integers(0, 2**32))), set(range(10)), 10, list[Change]()
    for seq in range(1, draw(st.integers(1, 60)) + 1):
        killed = random.sample(sorted(live), min(len(live), random.choice((0, 0, 1, 3, 9))))
        count = random.choice((0, 1, 1, 2, 30, MOST_ROWS // 2, MOST_ROWS + 5))
        made.append(change(seq, killed, following, count, payloads=random.random() < 0.5))
        live = (live - set(killed)) | set(range(following, following + count))
        following += count
    return made


Held = dict[int, tuple[int | str, float, bytes | None]]


def after(changes: Sequence[Change]) -> Held:
    """Return what an index holds after these changes: a row that dies must live before its change."""
    held: Held = {row: (row, 0.0, None) for row in range(10)}
    seq, last = 0, 9
    for each in changes:
        assert each.seq > seq
        assert each.killed_rows.tolist() == sorted(set(each.killed_rows.tolist()))
        for row in each.killed_rows.tolist():
            del held[row]
        for at, row in enumerate(each.rows.tolist()):
            assert row > last
            assert each.written is not None
            payload = None if each.written.payloads is None else each.written.payloads[at]
            held[row] = (each.written.ids[at], float(each.written.vectors[at, 0]), payload)
            last = row
        seq = each.seq
    return held


@given(histories())
def test_joined_changes_leave_the_same_rows(changes: list[Change]) -> None:
    joined = list(joined_changes(changes))
    assert after(joined) == after(changes)
    assert all(len(each.rows) <= MOST_ROWS or any(each is one for one in changes) for each in joined)
    assert not joined or joined[-1].seq <= changes[-1].seq


def test_changes_of_a_row_each_become_one_without_the_rows_that_die_within_it() -> None:
    changes = [change(seq, [], 9 + seq, 1, payloads=False) for seq in range(1, 6)]
    changes += [change(6, [], 15, 0, payloads=False), change(7, [3], 15, 1, payloads=True), change(8, [12], 16, 1, payloads=True)]
    (joined,) = joined_changes(changes)
    assert (joined.seq, joined.killed_rows.tolist(), joined.rows.tolist()) == (8, [3], [10, 11, 13, 14, 15, 16])
    assert list(joined_changes([change(1, [], 10, 0, payloads=False)])) == []
    assert list(joined_changes([change(1, [], 10, 1, payloads=True), change(2, [10], 11, 0, payloads=True)])) == []
    assert list(joined_changes([])) == []


class _Store:
    """A replica's engine in a folder of its own."""

    def __init__(self, folder: Path, growing_rows: int) -> None:
        self._worker = WorkerFolder.open(folder, ClusterId("cluster"))
        self.engine = Engine.open(
            self._worker.create(ReplicaRef(SHARD, REPLICA), dim=DIM), TEXTS, EngineSettings(growing_rows=growing_rows)
        )

    def apply(self, records: Sequence[Record]) -> tuple[int, ...]:
        self.engine.append(records)
        return self.engine.apply(records)

    def held(self) -> dict[int | str, tuple[list[float], int]]:
        """Return the vector and the row of each live point of the view, by id."""
        found = {}
        for part in self.engine.points.index.view().parts:
            for at in np.flatnonzero(part.deaths > self.engine.points.index.view().seq).tolist():
                found[part.ids[at]] = (part.vectors[at].tolist(), int(part.rows[at]))
        return found

    def hits(self, ask: TextAsk) -> list[tuple[int | str, float]]:
        context = SearchContext(hot=HotFilters(), read_payloads=lambda rows: None, clock=lambda: 0.0)
        view = TextView(SHARD, self.engine.points.index.view(), context)
        call = TextSearchCall(shards=(SHARD,), asks=(ask,), groups=(QueryGroup(k=50, filter=None),))
        hits = search_texts(view, call, count_words(view, call.asks)).hits
        return list(zip(hits.ids.tolist(), hits.scores.tolist(), strict=True))

    def close(self) -> None:
        self.engine.close()
        self._worker.close()


def records_of(count: int, random: Random) -> list[Record]:
    """Records of one to three points, some written anew, and of deletes, without requests."""
    made = []
    for seq in range(1, count + 1):
        ids = random.sample(range(80), random.randint(1, 3))
        if random.random() < 0.2:
            kind, body = RecordKind.DELETE, delete_body(id_array(ids))
        else:
            texts = [{"body": " ".join(random.choices(WORDS, k=random.randint(0, 6))), "n": each % 3} for each in ids]
            vectors = np.array([[random.random() for _ in range(DIM)] for _ in ids], dtype=np.float32)
            points = PointColumns(ids=id_array(ids), vectors=vectors, payloads=tuple(json.dumps(text).encode() for text in texts))
            kind, body = RecordKind.UPSERT, points_to_bytes(points)
        made.append(Record(term=Term(1), seq=Seq(seq), kind=kind, time_ms=seq, request_id=None, body=body))
    return made


@pytest.mark.parametrize("growing_rows", [1_000, 40])
def test_records_applied_at_once_leave_what_they_leave_one_by_one(tmp_path: Path, growing_rows: int) -> None:
    records = records_of(300, Random(growing_rows))
    alone, together = _Store(tmp_path / "alone", growing_rows), _Store(tmp_path / "together", growing_rows)
    try:
        affected = tuple(alone.apply([record])[0] for record in records)
        assert together.apply(records[:250]) + together.apply(records[250:]) == affected
        assert together.held() == alone.held()
        assert together.held()
        for ask in (TextAsk(text="red 数据库"), TextAsk(text="rocksdb", must=("blue",)), TextAsk(prefix="gre")):
            assert together.hits(ask) == alone.hits(ask)
            assert alone.hits(ask)
    finally:
        alone.close()
        together.close()
