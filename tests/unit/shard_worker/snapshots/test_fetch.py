"""Test that an interrupted snapshot is continued: no piece is fetched twice, and the source's pin is released in the
end.
"""

import asyncio
import dataclasses
import math
from pathlib import Path

import pytest

from shoal.core.errors import DeadlineExceeded, NotFound, ResourceExhausted, Unavailable
from shoal.core.ids import ReplicaId, Revision, WorkerId
from shoal.core.shard_calls import SnapshotProgress
from shoal.core.shard_config import Move, ShardConfig, ShardEntry, ShardState
from shoal.shard_worker.snapshots import fetch as snapshot_fetch
from shoal.shard_worker.snapshots.fetch import FolderDownloads, SnapshotFetch
from shoal.shard_worker.storage.folders.snapshot_export import PinnedSnapshot, read_piece
from shoal.shard_worker.storage.folders.snapshot_import import SnapshotDownload
from shoal.shard_worker.storage.folders.snapshot_manifest import STORE_FILE, SnapshotAsked
from shoal.shard_worker.storage.folders.worker_folder import WorkerFolder
from shoal.shard_worker.storage.space import DiskSpace
from tests.support.worker.snapshot_world import HERE, SEQ, SHARD, SOURCE, TERM, CopiedReplica, contents, is_a_copy, source_in
from tests.support.worker.storage_parts import CLUSTER, DIM, upsert

PIECE = 4096
INDEX_FILE = "segments/one.index"
OVER_THERE = WorkerId("there")
ENTRY = ShardEntry(
    config=ShardConfig(
        shard=SHARD,
        term=TERM,
        primary=SOURCE.replica_id,
        primary_reg=Revision(1),
        isr=(SOURCE.replica_id,),
        elr=(),
        learners=(HERE.replica_id,),
        worker_of={SOURCE.replica_id: OVER_THERE, HERE.replica_id: WorkerId("here")},
        min_isr=1,
        rf=2,
        state=ShardState.ACTIVE,
        slots=(),
    ),
    epoch=Revision(2),
)


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    monkeypatch.setattr(snapshot_fetch, "PIECE_BYTES", PIECE)


@pytest.fixture
def source(tmp_path):
    with source_in(tmp_path / "there") as made:
        yield made


class Owner:
    """SnapshotCalls on the worker of the source.

    more: number of pieces that it still gives; then it raises `failure`. asked: the pieces that it was asked for.
    """

    def __init__(self, source: CopiedReplica) -> None:
        self.source = source
        self.pins: dict[str, PinnedSnapshot] = {}
        self.begun = 0
        self.wishes: list[SnapshotAsked] = []
        self.memory_bytes = 0
        self.more: float = math.inf
        self.failure: Exception = Unavailable("silent")
        self.asked: list[tuple[str, int]] = []

    async def begin_snapshot(self, worker, asked, timeout_s):
        assert (worker, asked.shard, asked.replica) == (OVER_THERE, SHARD, SOURCE.replica_id)
        pinned = self.source.pin()
        self.begun += 1
        self.wishes.append(asked)
        self.pins[pinned.manifest.snapshot] = pinned
        return dataclasses.replace(pinned.manifest, memory_bytes=self.memory_bytes)

    async def read_snapshot(self, worker, snapshot, name, offset, max_bytes, timeout_s):
        if snapshot not in self.pins:
            raise NotFound(f"snapshot {snapshot} is not pinned here")
        if not self.more:
            raise self.failure
        self.more -= 1
        self.asked.append((name, offset))
        return read_piece(self.pins[snapshot], name, offset, max_bytes)

    async def end_snapshot(self, worker, snapshot, timeout_s):
        pinned = self.pins.pop(snapshot, None)
        if pinned is not None:
            pinned.release()

    def forget_all(self) -> None:
        for pinned in self.pins.values():
            pinned.release()
        self.pins.clear()

    @property
    def pieces(self) -> set[tuple[str, int]]:
        """Return all pieces of a snapshot that is pinned now."""
        pinned = self.source.pin()
        pinned.release()
        return {(file.name, at) for file in pinned.manifest.files for at in range(0, file.size_bytes, PIECE)}

    @property
    def store_pieces(self) -> int:
        return sum(name == STORE_FILE for name, _ in self.pieces)


def a_worker(folder: Path) -> WorkerFolder:
    worker = WorkerFolder.open(folder, CLUSTER)
    if not worker.exists(HERE):
        worker.create(HERE, dim=DIM)
    return worker


async def fetched(fetch: SnapshotFetch, still_wanted=lambda: True) -> SnapshotDownload:
    return await fetch.fetch(ENTRY, HERE.replica_id, SOURCE.replica_id, still_wanted)


@pytest.mark.parametrize("failure", [Unavailable("silent"), DeadlineExceeded("slow")])
def test_after_an_interruption_the_same_snapshot_is_gone_on_with_and_no_piece_is_fetched_twice(tmp_path, source, failure):
    async def run():
        worker, owner = a_worker(tmp_path / "here"), Owner(source)
        owner.failure = failure
        fetch = SnapshotFetch(peers=owner, downloads=FolderDownloads(worker))
        for _ in range(3):
            owner.more = 2
            with pytest.raises(type(failure)):
                await fetched(fetch)
            assert len(owner.pins) == 1
        owner.more = math.inf
        download = await fetched(fetch)
        assert owner.begun == 1
        assert len(owner.asked) == len(set(owner.asked))
        assert set(owner.asked) == owner.pieces
        assert owner.pins == {}
        is_a_copy(download.finish(), source)
        worker.close()

    asyncio.run(run())


@pytest.mark.parametrize("of_the_index", [2, 4])
def test_after_a_restart_a_newer_snapshot_takes_over_what_is_here_of_index_files_that_it_still_has(tmp_path, source, of_the_index):
    """Four pieces are the whole index file, two are a part of it.

    The store has changed meanwhile, so it is fetched again as a whole.
    """

    async def run():
        worker, owner = a_worker(tmp_path / "here"), Owner(source)
        owner.more = owner.store_pieces + of_the_index
        with pytest.raises(Unavailable):
            await fetched(SnapshotFetch(peers=owner, downloads=FolderDownloads(worker)))
        worker.close()
        source.store.apply([upsert(SEQ + 1, ["new"])])
        before, owner.asked, owner.more = set(owner.asked), [], math.inf
        worker = a_worker(tmp_path / "here")
        download = await fetched(SnapshotFetch(peers=owner, downloads=FolderDownloads(worker)))
        twice = before & set(owner.asked)
        assert {name for name, _ in twice} == {STORE_FILE}
        assert (INDEX_FILE, 0) in before
        assert before | set(owner.asked) >= owner.pieces
        assert "new" in contents(download.finish())
        worker.close()

    asyncio.run(run())


def test_a_snapshot_that_its_owner_has_forgotten_is_begun_anew_with_the_files_that_are_here(tmp_path, source):
    async def run():
        worker, owner = a_worker(tmp_path / "here"), Owner(source)
        fetch = SnapshotFetch(peers=owner, downloads=FolderDownloads(worker))
        owner.more = owner.store_pieces + 4
        with pytest.raises(Unavailable):
            await fetched(fetch)
        owner.forget_all()
        owner.more = math.inf
        with pytest.raises(NotFound):
            await fetched(fetch)
        download = await fetched(fetch)
        assert owner.begun == 2
        assert [name for name, _ in owner.asked].count(INDEX_FILE) == 4
        is_a_copy(download.finish(), source)
        worker.close()

    asyncio.run(run())


def test_a_snapshot_that_is_not_wanted_any_more_is_let_go_of_at_its_owner(tmp_path, source):
    async def run():
        worker, owner = a_worker(tmp_path / "here"), Owner(source)
        with pytest.raises(Unavailable, match="no longer needed"):
            await fetched(SnapshotFetch(peers=owner, downloads=FolderDownloads(worker)), lambda: len(owner.asked) < 2)
        assert (owner.begun, len(owner.asked), owner.pins) == (1, 2, {})
        worker.close()

    asyncio.run(run())


def test_a_snapshot_for_which_there_is_no_room_is_not_fetched_and_what_is_here_already_needs_none(tmp_path, source, monkeypatch):
    async def run():
        worker, owner = a_worker(tmp_path / "here"), Owner(source)
        fetch = SnapshotFetch(peers=owner, downloads=FolderDownloads(worker))
        size = (await owner.begin_snapshot(OVER_THERE, SnapshotAsked(shard=SHARD, replica=SOURCE.replica_id), 1.0)).size_bytes
        owner.forget_all()
        room = DiskSpace(used_bytes=899 * size + size // 2, free_bytes=101 * size - size // 2)
        with monkeypatch.context() as patched:
            patched.setattr(snapshot_fetch, "disk_space", lambda path: room)
            with pytest.raises(ResourceExhausted, match="no room for a snapshot") as caught:
                await fetched(fetch)
            assert (caught.value.details.limit, owner.asked, owner.pins) == ("disk", [], {})
        owner.more = owner.store_pieces
        with pytest.raises(Unavailable):
            await fetched(fetch)
        owner.more = math.inf
        with monkeypatch.context() as patched:
            patched.setattr(snapshot_fetch, "disk_space", lambda path: room)
            is_a_copy((await fetched(fetch)).finish(), source)
        worker.close()

    asyncio.run(run())


def test_a_replica_for_which_there_is_no_memory_is_not_fetched_and_no_folder_is_left(tmp_path, source):
    asked: list[int] = []

    def refusal(shard, need_bytes):
        asked.append(need_bytes)
        return "no memory for another replica" if need_bytes > 100 else None

    async def run():
        worker, owner = a_worker(tmp_path / "here"), Owner(source)
        fetch = SnapshotFetch(peers=owner, downloads=FolderDownloads(worker), refusal=refusal)
        owner.memory_bytes = 101
        with pytest.raises(ResourceExhausted, match=r"no room for a snapshot .*: no memory for another replica") as caught:
            await fetched(fetch)
        assert (caught.value.details.limit, owner.asked, owner.pins) == ("memory", [], {})
        assert not list((tmp_path / "here").glob("*/*/.get-*"))
        owner.memory_bytes = 100
        is_a_copy((await fetched(fetch)).finish(), source)
        assert asked == [101, 100]
        worker.close()

    asyncio.run(run())


def test_memory_is_promised_to_one_fetch_only(tmp_path, source):
    asked: list[int] = []

    async def run():
        worker, owner = a_worker(tmp_path / "here"), Owner(source)
        owner.memory_bytes = 70
        fetch = SnapshotFetch(peers=owner, downloads=FolderDownloads(worker), refusal=lambda shard, need: asked.append(need))
        fetch._coming[ReplicaId("another")] = 50
        await fetched(fetch)
        assert asked == [120]
        assert fetch._coming == {"another": 50}
        worker.close()

    asyncio.run(run())


def test_the_target_of_a_move_says_so_and_its_progress_is_told_while_it_lasts(tmp_path, source):
    seen: list[SnapshotProgress] = []
    fetches: dict = {}

    def note() -> bool:
        seen.append(fetches[HERE.replica_id]())
        return True

    async def run():
        worker, owner = a_worker(tmp_path / "here"), Owner(source)
        fetch = SnapshotFetch(peers=owner, downloads=FolderDownloads(worker), fetches=fetches)
        moves = dataclasses.replace(ENTRY.config, move=Move(source=SOURCE.replica_id, target=HERE.replica_id))
        size = (await fetch.fetch(dataclasses.replace(ENTRY, config=moves), HERE.replica_id, SOURCE.replica_id, note)).manifest.size_bytes
        assert [each.move for each in owner.wishes] == [True]
        assert {each.total_bytes for each in seen} == {size}
        assert [each.done_bytes for each in seen] == sorted(each.done_bytes for each in seen)
        assert seen[0].done_bytes == 0 < seen[1].done_bytes
        assert fetches == {}
        await fetched(fetch)
        assert [each.move for each in owner.wishes] == [True, False]
        worker.close()

    asyncio.run(run())
