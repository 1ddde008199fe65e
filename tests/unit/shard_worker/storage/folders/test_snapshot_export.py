"""Test that a pinned snapshot is one state of the replica, whatever the writer does meanwhile, and that only its own
files are given out.
"""

import hashlib
import os
import shutil
import sqlite3
import threading

import pytest

from shoal.core.errors import DataLoss, Internal, InvalidArgument, NotFound
from shoal.core.ids import ReplicaId
from shoal.shard_worker.storage.durable import write_durably
from shoal.shard_worker.storage.failure import StorageFailed
from shoal.shard_worker.storage.folders.snapshot_export import MOST_PIECE_BYTES, pin_snapshot, read_piece
from shoal.shard_worker.storage.folders.snapshot_manifest import MOST_TUNING_BYTES
from shoal.shard_worker.storage.folders.worker_folder import WorkerFolder
from shoal.shard_worker.storage.store.copy import adopt_store
from tests.support.worker.snapshot_world import SEQ, SOURCE, TERM
from tests.support.worker.storage_parts import CLUSTER, delete, files_under, upsert


def all_of(pinned, name, piece=MOST_PIECE_BYTES):
    data = b""
    while part := read_piece(pinned, name, len(data), piece):
        data += part
    return data


def test_the_manifest_tells_what_the_files_are(source):
    pinned = source.pin()
    manifest = pinned.manifest
    assert (manifest.term, manifest.seq) == (TERM, SEQ)
    assert [file.name for file in manifest.files] == ["store.db", "segments/one.index", "segments/one.rows"]
    for file in manifest.files:
        for piece in (1_000, MOST_PIECE_BYTES):
            data = all_of(pinned, file.name, piece)
            assert (len(data), hashlib.sha256(data).hexdigest()) == (file.size_bytes, file.sha256)
    assert manifest.size_bytes == sum(file.size_bytes for file in manifest.files)
    assert sorted(path.relative_to(pinned.path).as_posix() for path in files_under(pinned.path)) == sorted(
        file.name for file in manifest.files
    )


def test_measurements_go_with_it_if_they_are_wanted_and_stay_as_they_were(source, tmp_path):
    for name in ("tuning/queries", "tuning/image/recall", "tuning/later", "tuning/recall"):
        (source.folder.path / name).parent.mkdir(parents=True, exist_ok=True)
        (source.folder.path / name).write_bytes(name.encode())
    with (source.folder.path / "tuning" / "recall").open("wb") as stream:
        stream.truncate(MOST_TUNING_BYTES + 1)
    pinned = source.pin()
    write_durably(source.folder.path / "tuning" / "queries", b"other")
    assert [file.name for file in pinned.manifest.files[3:]] == ["tuning/image/recall", "tuning/queries"]
    assert all_of(pinned, "tuning/queries") == b"tuning/queries"
    without = pin_snapshot(source.folder, source.store, lambda seq: TERM, tmp_path, tuning=False)
    assert without.manifest.files == pinned.manifest.files[:3]


def test_it_stays_as_it_was_when_points_and_index_files_change_and_go(source, tmp_path):
    pinned = source.pin()
    before = files_under(pinned.path)
    source.store.apply([delete(SEQ + 1, range(100)), upsert(SEQ + 2, ["new"])])
    source.store.replace_segments([], ["one.index", "one.rows"])
    source.store.checkpoint()
    assert source.files.remove_orphans(set()) == ("one.index", "one.rows")
    assert files_under(pinned.path) == before
    shutil.copy(pinned.path / "store.db", tmp_path / "copy.db")
    assert adopt_store(tmp_path / "copy.db", cluster_id=CLUSTER, source=SOURCE.replica_id, replica_id=ReplicaId("x")).applied_seq == SEQ
    with sqlite3.connect(tmp_path / "copy.db") as copy:
        assert copy.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert copy.execute("SELECT count(*) FROM points").fetchall() == [(24,)]


def test_all_that_is_read_of_a_frozen_store_is_one_state(source, tmp_path):
    with source.store.frozen() as state:
        source.store.apply([upsert(SEQ + 1, ["new"])])
        source.store.replace_segments([], ["one.index"])
        state.copy_to(tmp_path / "copy.db")
    assert sorted(path.name for path in tmp_path.glob("copy.db*")) == ["copy.db"]
    assert (state.applied_seq, [entry.name for entry in state.segments]) == (SEQ, ["one.index", "one.rows"])
    with sqlite3.connect(tmp_path / "copy.db") as copy:
        assert copy.execute("SELECT value FROM meta WHERE key = 'applied_seq'").fetchall() == [(SEQ,)]
        assert copy.execute("SELECT name FROM segments ORDER BY name").fetchall() == [("one.index",), ("one.rows",)]


def test_while_a_state_is_frozen_checkpoints_are_put_off(source, monkeypatch):
    assert source.store.checkpoint() == SEQ

    def wait(*given, **named):
        raise AssertionError("a checkpoint waits for a read that goes on")

    with source.store.frozen(), source.store.frozen():
        source.store.apply([upsert(SEQ + 1, ["new"])])
        with monkeypatch.context() as patched:
            patched.setattr("shoal.shard_worker.storage.store.points_store.checkpoint", wait)
            assert source.store.checkpoint() == SEQ
    assert source.store.checkpoint() == SEQ + 1


def test_copies_made_while_the_writer_goes_on_are_each_one_state(source, tmp_path):
    """Each record adds one point, so a state with seq n has as many points as n says."""
    ended, wrong = threading.Event(), []
    source.store.apply([delete(SEQ + 1, range(100))])

    def write():
        seq = SEQ + 1
        try:
            while not ended.is_set():
                seq += 1
                source.store.apply([upsert(seq, [seq])])
                if seq % 50 == 0:
                    source.store.checkpoint()
        except BaseException as error:
            wrong.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    seqs = []
    try:
        for number in range(8):
            pinned = source.pin()
            with sqlite3.connect(f"file:{pinned.path / 'store.db'}?mode=ro&immutable=1", uri=True) as copy:
                points = copy.execute("SELECT count(*) FROM points NOT INDEXED").fetchone()[0]
                assert copy.execute("SELECT value FROM meta WHERE key = 'applied_seq'").fetchone()[0] == pinned.manifest.seq
                assert points == pinned.manifest.seq - SEQ - 1, number
            seqs.append(pinned.manifest.seq)
            pinned.release()
    finally:
        ended.set()
        writer.join()
    assert wrong == []
    assert seqs == sorted(seqs)


def test_an_index_file_that_was_replaced_just_before_it_was_linked_is_no_matter(source, monkeypatch):
    link, calls = os.link, []

    def overtaken(found, target):
        calls.append(target.name)
        if len(calls) == 1:
            source.add("two.index", b"another graph")
            source.store.replace_segments([], ["one.index", "one.rows"])
            source.files.remove_orphans({"two.index"})
        link(found, target)

    monkeypatch.setattr(os, "link", overtaken)
    pinned = source.pin()
    assert [file.name for file in pinned.manifest.files] == ["store.db", "segments/two.index"]
    assert all_of(pinned, "segments/two.index") == b"another graph"


def test_an_index_file_that_is_lost_is_left_out_for_it_can_be_made_anew(source):
    source.files.path("one.rows").unlink()
    pinned = source.pin()
    assert [file.name for file in pinned.manifest.files] == ["store.db", "segments/one.index"]
    assert sorted(path.name for path in files_under(pinned.path)) == ["one.index", "store.db"]


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../replica.json", "segments", "segments/../store.db", "/etc/passwd", "one.index", "store.db-wal"]
)
def test_only_names_of_the_manifest_are_given_out(source, name):
    pinned = source.pin()
    (pinned.path / "one.index").write_bytes(b"not in the manifest")
    with pytest.raises(NotFound, match="has no file"):
        read_piece(pinned, name, 0, 10)


@pytest.mark.parametrize(("offset", "most"), [(-1, 10), (41, 10), (0, 0), (0, -5), (0, MOST_PIECE_BYTES + 1)])
def test_pieces_have_bounds(source, offset, most):
    pinned = source.pin()
    assert len(read_piece(pinned, "segments/one.rows", 0, MOST_PIECE_BYTES)) == 40
    assert read_piece(pinned, "segments/one.rows", 40, 10) == b""
    with pytest.raises(InvalidArgument, match=f"{most} bytes at offset {offset} of segments/one.rows"):
        read_piece(pinned, "segments/one.rows", offset, most)


def test_a_file_that_became_shorter_is_damage(source):
    pinned = source.pin()
    os.truncate(pinned.path / "segments" / "one.rows", 30)
    assert len(read_piece(pinned, "segments/one.rows", 0, 30)) == 30
    with pytest.raises(DataLoss, match="has fewer than the 40 bytes it had"):
        read_piece(pinned, "segments/one.rows", 0, 31)


def test_released_it_is_gone_and_its_sources_stay(source):
    before = files_under(source.folder.segments_path)
    pinned = source.pin()
    pinned.release()
    pinned.release()
    assert not pinned.path.exists()
    assert files_under(source.folder.segments_path) == before
    with pytest.raises(NotFound, match="is released"):
        read_piece(pinned, "store.db", 0, 10)


def test_a_restart_sweeps_what_a_crash_left_pinned(source):
    pinned = source.pin()
    source.store.close()
    source.worker.close()
    WorkerFolder.open(source.worker.path, CLUSTER).close()
    assert not pinned.path.exists()
    assert source.folder.path.is_dir()


def test_what_fails_leaves_nothing_behind(source, monkeypatch):
    def refuse(seq):
        raise Internal(f"no term of {seq}")

    with pytest.raises(Internal, match="no term of 20"):
        pin_snapshot(source.folder, source.store, refuse, source.folder.path.parent)
    monkeypatch.setattr(os, "link", lambda *given: (_ for _ in ()).throw(OSError(28, "no space left on device")))
    with pytest.raises(StorageFailed, match="disk full"):
        source.pin()
    assert list(source.folder.path.parent.glob(".pin-*")) == []
