"""Memory of indexes in huge pages: only whole pages inside, and only as advice."""

from __future__ import annotations

import ctypes
import mmap
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.core.index_spec import parse_index
from shoal.core.metric import Metric
from shoal.shard_worker.index.native import index as index_module
from shoal.shard_worker.index.native.huge_pages import HUGE_BYTES, use_huge_pages, whole_pages
from shoal.shard_worker.index.native.index import NativeIndex

DIM = 16


@given(address=st.integers(0, 1 << 48), size=st.integers(0, 20 * HUGE_BYTES))
def test_only_pages_that_lie_wholly_inside_are_touched(address: int, size: int) -> None:
    start, length = whole_pages(address, size)
    assert start % HUGE_BYTES == length % HUGE_BYTES == 0
    if length:
        assert address <= start <= start + length <= address + size
        assert size - length < 2 * HUGE_BYTES
    else:
        assert size < 2 * HUGE_BYTES


def test_both_advices_are_given_and_a_refusal_ends_it() -> None:
    given_: list[tuple[int, int, int]] = []

    def advise(address: int, size: int, advice: int) -> int:
        given_.append((address, size, advice))
        return refused.get(advice, 0)

    refused: dict[int, int] = {}
    assert use_huge_pages(HUGE_BYTES - 1, 3 * HUGE_BYTES, advise)
    assert given_ == [(HUGE_BYTES, 2 * HUGE_BYTES, 14), (HUGE_BYTES, 2 * HUGE_BYTES, 25)]
    refused[14] = 22
    assert not use_huge_pages(0, HUGE_BYTES, advise)
    assert len(given_) == 3
    assert not use_huge_pages(0, HUGE_BYTES - 1, advise)
    assert len(given_) == 3


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has this advice")
def test_the_system_keeps_what_is_in_the_memory() -> None:
    with mmap.mmap(-1, 4 * HUGE_BYTES) as memory:
        memory.write(bytes(range(256)) * (4 * HUGE_BYTES // 256))
        first = ctypes.c_char.from_buffer(memory)
        use_huge_pages(ctypes.addressof(first), 4 * HUGE_BYTES)
        del first
        assert memory[:] == bytes(range(256)) * (4 * HUGE_BYTES // 256)


def test_rows_and_links_of_a_graph_are_moved_when_it_is_settled_and_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moved: list[int] = []
    monkeypatch.setattr(index_module, "use_huge_pages", lambda address, size: moved.append(size))
    vectors = np.random.default_rng(1).standard_normal((200, DIM)).astype(np.float32)
    for kind, held in (("HNSW8", [vectors.nbytes]), ("Flat", [])):
        moved.clear()
        made = NativeIndex.empty(parse_index(kind, DIM), DIM, Metric.L2)
        made.add(vectors)
        made.settle()
        assert moved[:1] == held
        assert len(moved) == 2 * len(held)
        if held:
            made.write(tmp_path / "index")
            NativeIndex.read(tmp_path / "index", DIM, Metric.L2)
            assert moved[2:] == moved[:2]
