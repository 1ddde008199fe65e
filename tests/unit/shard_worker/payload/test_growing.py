"""Test a growing index: its parts do not change while it grows, its blocks close by rows and by bytes, and it tells its
memory.
"""

from __future__ import annotations

import gc
import json
import threading
import tracemalloc

import numpy as np
import pytest
from pyroaring import BitMap

from shoal.core.errors import Internal
from shoal.core.filter import And, Exists, Filter, In, Range
from shoal.shard_worker.payload.growing import BLOCK_BYTES, BLOCK_ROWS, GrowingPart, GrowingPayloads
from shoal.shard_worker.payload.matched import PayloadBounds
from shoal.shard_worker.payload.sealed import SealedPayloads
from tests.unit.shard_worker.payload.payloads import ROOMY, Payload, check, everything, texts

LABEL = In(path=("label",), values=(3,))


def rows(start: int, end: int) -> list[Payload]:
    return [None if at % 11 == 0 else {"label": at % 10, "note": f"n{at % 13}", f"own{at % 40}": at / 4} for at in range(start, end)]


def test_a_part_shows_its_rows_for_good() -> None:
    growing = GrowingPayloads(PayloadBounds(fields=20))
    parts: list[tuple[GrowingPart, int]] = []
    for start in range(0, 3 * BLOCK_ROWS, 300):
        growing.append(texts(rows(start, start + 300)), 300)
        parts.append((growing.part(), start + 300))
    wanted: list[Filter] = [LABEL, Exists(path=("own17",)), And(terms=(LABEL, Range(path=("note",), gte="n5")))]
    for part, count in parts:
        for filter in wanted:
            check(part, filter, rows(0, count))


def test_readers_see_the_rows_of_their_part_while_rows_are_appended() -> None:
    growing = GrowingPayloads(PayloadBounds(fields=30))
    growing.append(texts(rows(0, 500)), 500)
    shown = [growing.part()]
    failures: list[str] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            part = shown[-1]
            count = len(part)
            ids = np.arange(count)
            labelled = part.match(LABEL, ids).sure
            own = part.match(Exists(path=("own17",)), ids)
            copied = SealedPayloads.build([(part, everything(part))]).match(LABEL, ids).sure
            if not (labelled == copied == BitMap(at for at in range(count) if at % 10 == 3 and at % 11)):
                failures.append(f"label of {count} rows: {labelled}")
            truth = BitMap(at for at in range(count) if at % 40 == 17 and at % 11)
            if not own.sure <= truth <= own.sure | own.unsure:
                failures.append(f"own17 of {count} rows: {own}")

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for start in range(500, 500 + 3 * BLOCK_ROWS, 50):
        growing.append(texts(rows(start, start + 50)), 50)
        shown.append(growing.part())
    done.set()
    for reader in readers:
        reader.join()
    assert not failures, failures[0]


def test_a_block_closes_by_bytes_too() -> None:
    text = json.dumps({"a": "x" * (BLOCK_BYTES // 4)}).encode()
    growing = GrowingPayloads(ROOMY)
    growing.append([text] * 3, 3)
    before = growing.memory_bytes()
    growing.append([text], 1)
    assert before > BLOCK_BYTES // 2
    assert growing.memory_bytes() < 10_000


def test_the_number_of_payloads_must_be_that_of_the_rows() -> None:
    with pytest.raises(Internal, match="2 payloads are given for 3 rows"):
        GrowingPayloads(ROOMY).append([None, None], 3)


def test_another_index_is_refused_as_a_source() -> None:
    class Foreign:
        def __len__(self) -> int:
            return 0

    with pytest.raises(Internal, match="cannot be built from a Foreign"):
        SealedPayloads.build([(Foreign(), np.empty(0, dtype=np.int64))])  # type: ignore[list-item]


@pytest.mark.parametrize("kind", ["few values", "many values"])
def test_memory_is_told_within_a_fifth(kind: str) -> None:
    count = 5 * BLOCK_ROWS + 300
    if kind == "few values":
        made: list[Payload] = [{"label": at % 10, "bucket": at * 7 % 100} for at in range(count)]
    else:
        made = [{"word": f"word {at % 700}", "x": at / 7, "tags": [f"t{at % 50}", f"t{at % 49}"], "big": at * 10**6} for at in range(count)]
    given = texts(made)
    SealedPayloads.from_payloads(given, ROOMY)
    gc.collect()
    tracemalloc.start()
    growing = GrowingPayloads(ROOMY)
    growing.append(given, count)
    gc.collect()
    assert growing.memory_bytes() == pytest.approx(tracemalloc.get_traced_memory()[0], rel=0.2)
    sealed = SealedPayloads.build([(growing.part(), everything(growing.part()))])
    # Once the growing index is gone, the memory that both share belongs to the sealed one.
    del growing
    gc.collect()
    traced = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert sealed.memory_bytes() == pytest.approx(traced, rel=0.2)
