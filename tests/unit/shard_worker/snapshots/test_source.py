"""Test the snapshots that a worker gives out: their number is bounded, they are released when nobody reads them, and
they never fill its disk.
"""

import asyncio
import contextlib
import dataclasses
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from shoal.core.errors import NotFound, ResourceExhausted
from shoal.shard_worker.hosting.host import Host
from shoal.shard_worker.snapshots import source as snapshot_source
from shoal.shard_worker.snapshots.pace import SendingPace
from shoal.shard_worker.snapshots.source import FORGOTTEN_AFTER_S, MOST_PINS, SnapshotSource
from shoal.shard_worker.storage.failure import StorageFailed
from shoal.shard_worker.storage.folders import snapshot_export
from shoal.shard_worker.storage.folders.snapshot_manifest import STORE_FILE, SnapshotAsked
from shoal.shard_worker.storage.space import DiskSpace
from tests.support.worker.fleet import until
from tests.support.worker.replica_bench import DIM, REPLICA, SHARD, opened

ASKED = SnapshotAsked(shard=SHARD, replica=REPLICA)


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(snapshot_source, "boot_s", made)
    return made


@contextlib.asynccontextmanager
async def source_of(folder: Path) -> AsyncIterator[SnapshotSource]:
    """Open the snapshot source of a worker that has one replica with some points."""
    async with opened(folder, term=1) as bench:
        await bench.upsert(range(50), np.ones((50, DIM)))
        host = Host(open={SHARD: bench.replica}, memory=bench.memory)
        source = SnapshotSource(host=host, folder=folder, bytes_per_s=1 << 40, move_bytes_per_s=lambda: 1 << 40)
        try:
            yield source
        finally:
            await source.close()


def pins(folder: Path) -> set[str]:
    return {path.name.removeprefix(".pin-") for path in folder.glob("*/*/.pin-*")}


def held_up(gate: threading.Event, began: threading.Event, real):
    """Return `real`, changed to wait until the gate is open."""

    def waiting(*arguments):
        began.set()
        assert gate.wait(20.0)
        return real(*arguments)

    return waiting


def test_a_pin_whose_fetcher_is_silent_is_let_go_of_when_another_one_begins(tmp_path, clock):
    async def run():
        async with source_of(tmp_path) as source:
            silent = await source.begin(ASKED)
            clock.now_s += FORGOTTEN_AFTER_S + 1
            other = await source.begin(ASKED)
            assert pins(tmp_path) == {other.snapshot}
            with pytest.raises(NotFound, match="is not pinned here"):
                await source.read(silent.snapshot, STORE_FILE, 0, 10)
            assert len(await source.read(other.snapshot, STORE_FILE, 0, 10)) == 10

    asyncio.run(run())


def test_a_pin_whose_fetcher_is_silent_is_let_go_of_in_time(tmp_path, clock):
    async def run():
        async with source_of(tmp_path) as source:
            silent = await source.begin(ASKED)
            await source.forget_silent()
            assert pins(tmp_path) == {silent.snapshot}
            clock.now_s += FORGOTTEN_AFTER_S + 1
            await source.forget_silent()
            assert pins(tmp_path) == set()

    asyncio.run(run())


def test_a_pin_that_is_read_now_and_then_is_kept(tmp_path, clock):
    async def run():
        async with source_of(tmp_path) as source:
            slow = await source.begin(ASKED)
            for _ in range(3):
                clock.now_s += FORGOTTEN_AFTER_S - 1
                await source.end((await source.begin(ASKED)).snapshot)
                assert len(await source.read(slow.snapshot, STORE_FILE, 0, 10)) == 10

    asyncio.run(run())


def test_a_pin_is_kept_while_a_piece_of_it_is_being_read_however_long_that_takes(tmp_path, clock, monkeypatch):
    gate, began = threading.Event(), threading.Event()
    monkeypatch.setattr(snapshot_source, "read_piece", held_up(gate, began, snapshot_source.read_piece))

    async def run():
        async with source_of(tmp_path) as source:
            slow = await source.begin(ASKED)
            reading = asyncio.create_task(source.read(slow.snapshot, STORE_FILE, 0, 10))
            try:
                await until(began.is_set)
                clock.now_s += FORGOTTEN_AFTER_S + 1
                other = await source.begin(ASKED)
                assert pins(tmp_path) == {slow.snapshot, other.snapshot}
            finally:
                gate.set()
            assert len(await reading) == 10

    asyncio.run(run())


def test_no_more_snapshots_are_pinned_at_once_than_the_bound_says_and_those_that_begin_count(tmp_path):
    async def run():
        async with source_of(tmp_path) as source:
            outcomes = await asyncio.gather(*(source.begin(ASKED) for _ in range(MOST_PINS + 1)), return_exceptions=True)
            refused = [each for each in outcomes if isinstance(each, BaseException)]
            assert [type(each) for each in refused] == [ResourceExhausted]
            assert len(pins(tmp_path)) == MOST_PINS
            await source.end(pins(tmp_path).pop())
            await source.begin(ASKED)

    asyncio.run(run())


def test_a_copy_that_would_bring_the_disk_to_where_upserts_are_refused_is_not_made(tmp_path, monkeypatch):
    """The disk is below the bound. In the first case a copy would bring it above the bound, in the second case it stays
    just below.
    """

    async def run():
        async with source_of(tmp_path) as source:
            size = source._host.open[SHARD].stats_now().bytes
            beyond = DiskSpace(used_bytes=899 * size + size // 2, free_bytes=101 * size - size // 2)
            below = DiskSpace(used_bytes=898 * size, free_bytes=102 * size)
            monkeypatch.setattr(snapshot_source, "disk_space", lambda path: beyond)
            with pytest.raises(ResourceExhausted, match="no room to pin a snapshot") as caught:
                await source.begin(ASKED)
            assert (caught.value.details.limit, caught.value.details.shard) == ("disk", str(SHARD))
            assert pins(tmp_path) == set()
            monkeypatch.setattr(snapshot_source, "disk_space", lambda path: below)
            found = await source.begin(ASKED)
            assert pins(tmp_path) == {found.snapshot}

    asyncio.run(run())


def test_exports_that_fail_leave_no_files_and_take_no_place_of_a_pin(tmp_path, monkeypatch):
    def refuse(path: Path) -> str:
        assert path.stat().st_size > 0, "the copy is there, and its folder is to be taken away again"
        raise OSError(28, "no space left on device")

    async def run():
        async with source_of(tmp_path) as source:
            with monkeypatch.context() as patched:
                patched.setattr(snapshot_export, "file_sha256", refuse)
                for _ in range(MOST_PINS + 1):
                    with pytest.raises(StorageFailed, match="disk full"):
                        await source.begin(ASKED)
                    assert pins(tmp_path) == set()
            for _ in range(MOST_PINS):
                await source.begin(ASKED)

    asyncio.run(run())


def test_what_is_pinned_for_a_caller_who_has_left_is_let_go_of(tmp_path, monkeypatch):
    gate, began = threading.Event(), threading.Event()
    monkeypatch.setattr(snapshot_export, "file_sha256", held_up(gate, began, snapshot_export.file_sha256))

    async def run():
        async with source_of(tmp_path) as source:
            beginning = asyncio.create_task(source.begin(ASKED))
            try:
                await until(began.is_set)
                assert len(pins(tmp_path)) == 1
                beginning.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await beginning
            finally:
                gate.set()
            await until(lambda: pins(tmp_path) == set())

    asyncio.run(run())


def test_a_manifest_tells_the_memory_that_the_replica_takes(tmp_path):
    async def run():
        async with source_of(tmp_path) as source:
            assert (await source.begin(ASKED)).memory_bytes == source._host.memory.bytes_of(SHARD) > 0

    asyncio.run(run())


def test_queries_that_were_heard_lately_go_with_a_snapshot_for_those_who_know_of_them(tmp_path):
    async def run():
        async with source_of(tmp_path) as source:
            replica = source._host.open[SHARD]
            replica.vectors.of("").tuner.offer(np.ones((3, DIM), dtype=np.float32))
            names = {file.name for file in (await source.begin(ASKED)).files}
            assert {"tuning/queries", "tuning/kinds", "tuning/recall"} <= names
            older = await source.begin(dataclasses.replace(ASKED, tuning=False))
            assert {file.name for file in older.files} == {name for name in names if not name.startswith("tuning/")}

    asyncio.run(run())


def test_moves_have_places_and_a_rate_of_their_own(tmp_path, monkeypatch):
    rates: dict[int, list[int]] = {1: [], 2: []}

    async def note(self, size_bytes):
        rates[int(self._bytes_per_s())].append(size_bytes)

    async def run():
        async with source_of(tmp_path) as before:
            monkeypatch.setattr(SendingPace, "wait", note)
            source = SnapshotSource(host=before._host, folder=tmp_path, bytes_per_s=1, move_bytes_per_s=lambda: 2)
            moves = [await source.begin(dataclasses.replace(ASKED, move=True)) for _ in range(MOST_PINS)]
            with pytest.raises(ResourceExhausted, match="snapshots for moves"):
                await source.begin(dataclasses.replace(ASKED, move=True))
            repair = await source.begin(ASKED)
            await source.read(moves[0].snapshot, STORE_FILE, 0, 10)
            await source.read(repair.snapshot, STORE_FILE, 0, 20)
            assert rates == {1: [20], 2: [10]}
            await source.close()

    asyncio.run(run())
