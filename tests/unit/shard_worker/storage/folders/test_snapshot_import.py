"""Test a snapshot that is fetched: it is checked, continued after an interruption and put in place as a whole.
Otherwise the replica stays as it was.
"""

import contextlib
import dataclasses
import json
import shutil
import uuid

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shoal.core.errors import DataLoss, Internal, PreconditionFailed
from shoal.core.ids import ClusterId, ReplicaId, Seq, Term
from shoal.runtime.fault_points import SimulatedCrash, armed
from shoal.shard_worker.storage.failure import StorageFailed
from shoal.shard_worker.storage.folders import replica_swap
from shoal.shard_worker.storage.folders.snapshot_export import read_piece
from shoal.shard_worker.storage.folders.snapshot_import import SnapshotDownload
from shoal.shard_worker.storage.folders.snapshot_manifest import SnapshotFile, SnapshotManifest, check_keeps_promises
from shoal.shard_worker.storage.folders.worker_folder import WorkerFolder
from shoal.shard_worker.storage.log.log import ReplicaLog
from shoal.shard_worker.storage.store.points_store import PointsStore
from tests.support.worker.snapshot_world import (
    HERE,
    SEQ,
    SOURCE,
    TERM,
    begun,
    contents,
    fetch,
    is_a_copy,
    source_in,
)
from tests.support.worker.storage_parts import CLUSTER, DIM, files_under, record, upsert


def reopened(worker):
    worker.close()
    return WorkerFolder.open(worker.path, CLUSTER)


def coming(here):
    return here.path.with_name(".get-" + here.path.name)


def test_fetched_and_finished_it_is_a_replica_of_its_own(source, worker, here):
    pinned = source.pin()
    download = begun(here, pinned)
    assert download.seq == SEQ
    assert fetch(pinned, download) > len(pinned.manifest.files)
    assert download.received_bytes == pinned.manifest.size_bytes
    is_a_copy(download.finish(), source)
    assert sorted(path.name for path in here.path.parent.iterdir()) == [here.path.name]
    again = reopened(worker)
    assert again.replicas() == [HERE]
    again.close()


def test_what_the_replica_had_is_replaced_and_its_known_term_is_kept_when_it_is_higher(source, here):
    identity = {"cluster_id": CLUSTER, "replica_id": HERE.replica_id}
    store = PointsStore.open(here.store_path, **identity)
    log = ReplicaLog.open(here.path, **identity, applied_seq=Seq(0))
    log.append([record(1), record(2)])
    store.apply([upsert(1, ["old"])])
    store.close()
    log.close()
    here.save_known_term(Term(TERM + 3))
    pinned = source.pin()
    download = begun(here, pinned)
    fetch(pinned, download)
    is_a_copy(download.finish(), source, known_term=TERM + 3)
    assert "old" not in contents(here)


def test_a_term_that_is_saved_while_it_is_fetched_counts(source, worker, here):
    pinned = source.pin()
    download = begun(here, pinned)
    fetch(pinned, download)
    worker.open_replica(HERE).save_known_term(Term(TERM + 5))
    assert download.finish().known_term == TERM + 5


def test_a_replica_that_has_applied_more_than_the_snapshot_does_not_go_back(source, here):
    store = PointsStore.open(here.store_path, cluster_id=CLUSTER, replica_id=HERE.replica_id)
    store.apply([upsert(seq, [seq]) for seq in range(1, SEQ + 2)])
    store.close()
    pinned = source.pin()
    download = begun(here, pinned)
    fetch(pinned, download)
    before = files_under(here.path)
    with pytest.raises(PreconditionFailed, match="has applied seq 21, the snapshot ends with 20"):
        download.finish()
    assert files_under(here.path) == before


@pytest.mark.parametrize(
    ("term", "seq", "refused"),
    [(TERM, SEQ + 1, True), (TERM + 1, SEQ + 1, True), (TERM - 1, SEQ + 5, False), (TERM, SEQ, False), (TERM + 1, SEQ, False)],
)
def test_records_that_it_may_have_acknowledged_are_not_taken_away(source, here, term, seq, refused):
    """While the snapshot came, the replica caught up from a log and may have joined the isr. Then it may have
    acknowledged these records. Records of an older term after the snapshot were never acknowledged.
    """
    pinned = source.pin()
    download = begun(here, pinned)
    fetch(pinned, download)
    log = ReplicaLog.open(here.path, cluster_id=CLUSTER, replica_id=HERE.replica_id, applied_seq=Seq(0))
    log.append([record(each, term=term if each == seq else 1) for each in range(1, seq + 1)])
    log.close()
    before = files_under(here.path)
    if not refused:
        is_a_copy(download.finish(), source)
        return
    with pytest.raises(PreconditionFailed, match=f"ends with seq {seq} of term {term}, the snapshot with 20 of term 4"):
        download.finish()
    assert files_under(here.path) == before


def test_a_replica_whose_own_log_is_damaged_takes_no_snapshot(source, here):
    pinned = source.pin()
    download = begun(here, pinned)
    fetch(pinned, download)
    (here.path / "watermark.json").unlink()
    with pytest.raises(DataLoss, match=r"watermark\.json is missing"):
        download.finish()


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_what_is_committed_behind_a_snapshot_is_never_taken_for_a_lost_tail(data):
    """A replica's log equals the primary's up to seq `agree`. From there on it has records of its own, of older terms.
    If it holds a committed record after the snapshot, the snapshot must be refused.
    """
    terms = sorted(data.draw(st.lists(st.integers(1, 6), min_size=1, max_size=12)))
    applied = data.draw(st.integers(1, len(terms)))
    committed = data.draw(st.integers(applied, len(terms)))
    agree = data.draw(st.integers(1, len(terms)))
    last = (Term(terms[agree - 1]), Seq(agree))
    manifest = SnapshotManifest(snapshot="s", term=Term(terms[applied - 1]), seq=Seq(applied), files=())
    if min(agree, committed) > applied:
        with pytest.raises(PreconditionFailed, match=f"ends with seq {agree} of term"):
            check_keeps_promises(manifest, "r", last)
    if agree <= applied:
        check_keeps_promises(manifest, "r", last)


@pytest.mark.parametrize("name", ["store.db", "segments/one.index", "segments/one.rows"])
@pytest.mark.parametrize("at", [0.0, 0.5, 0.999])
def test_a_bit_that_flips_on_the_way_is_noticed_and_the_file_is_fetched_again(source, here, name, at):
    pinned = source.pin()
    download = begun(here, pinned)
    flipped = []
    while (wanted := download.missing()) is not None:
        data = bytearray(read_piece(pinned, wanted.name, wanted.offset, 4 * 1024 * 1024))
        if wanted.name == name and not flipped:
            data[int(at * len(data))] ^= 4
            flipped.append(wanted)
            with pytest.raises(DataLoss, match=f"{name} of snapshot .* arrived damaged"):
                download.write(wanted.name, wanted.offset, bytes(data))
            assert download.missing() == wanted
            continue
        download.write(wanted.name, wanted.offset, bytes(data))
    is_a_copy(download.finish(), source)


@pytest.mark.parametrize("name", ["store.db", "segments/one.index", "segments/one.rows"])
def test_a_bit_that_flips_on_the_disk_is_noticed_and_nothing_is_replaced(source, here, name):
    pinned = source.pin()
    download = begun(here, pinned)
    fetch(pinned, download)
    before = files_under(here.path)
    path = coming(here) / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)
    with pytest.raises(DataLoss, match=f"{name} is damaged: its sha256 is not"):
        download.finish()
    assert files_under(here.path) == before
    assert download.missing().name == name
    fetch(pinned, download)
    is_a_copy(download.finish(), source)


def test_an_index_file_that_its_owner_cannot_give_is_left_out(source, here):
    pinned = source.pin()
    damaged = pinned.path / "segments" / "one.index"
    damaged.unlink()
    damaged.write_bytes(bytes(15_000))
    download = begun(here, pinned)
    for _ in range(2):
        with pytest.raises(DataLoss, match=r"segments/one.index of snapshot .* arrived damaged"):
            fetch(pinned, download)
    with pytest.raises(Internal, match=r"cannot do without store\.db"):
        download.leave_out("store.db")
    download.leave_out("segments/one.index")
    fetch(pinned, download)
    made = download.finish()
    assert sorted(files_under(made.segments_path)) == [made.segments_path / "one.rows"]
    assert contents(made)


def test_a_file_that_ends_too_early_is_fetched_again(source, here):
    pinned = source.pin()
    download = begun(here, pinned)
    fetch(pinned, download, most=1)
    wanted = download.missing()
    assert wanted.offset == 4096
    with pytest.raises(DataLoss, match=r"store\.db of snapshot .* ended \d+ bytes too early"):
        download.write(wanted.name, wanted.offset, b"")
    assert (download.missing().name, download.missing().offset) == ("store.db", 0)


def test_pieces_that_are_not_asked_for_are_refused(source, here):
    pinned = source.pin()
    download = begun(here, pinned)
    size = pinned.manifest.files[0].size_bytes
    for name, offset, data in (("store.db", 1, b"x"), ("segments/one.rows", 0, b"x"), ("../x", 0, b"x"), ("store.db", 0, bytes(size + 1))):
        with pytest.raises(Internal, match="are not what is missing"):
            download.write(name, offset, data)
    with pytest.raises(Internal, match=r"has no file '\.\./x'"):
        download.leave_out("../x")
    assert download.received_bytes == 0
    with pytest.raises(PreconditionFailed, match=r"is not whole: store\.db is missing from 0 on"):
        download.finish()
    fetch(pinned, download)
    with pytest.raises(Internal, match="are not what is missing: None"):
        download.write("store.db", size, b"x")


@pytest.mark.parametrize(
    "change",
    [
        {"name": "segments/../../x"},
        {"name": "/x"},
        {"name": "store.db-wal"},
        {"name": "segments/.x"},
        {"name": "store.db"},
        {"size_bytes": -1},
        {"sha256": "A" * 64},
        {"sha256": ""},
    ],
)
def test_a_manifest_that_cannot_be_is_refused(source, here, change):
    manifest = source.pin().manifest
    wrong = dataclasses.replace(manifest.files[1], **change)
    for each in (
        dataclasses.replace(manifest, files=(*manifest.files[:1], wrong)),
        dataclasses.replace(manifest, files=manifest.files[1:]),
        dataclasses.replace(manifest, snapshot="../x"),
    ):
        with pytest.raises(PreconditionFailed):
            SnapshotDownload.open(here, each, source=SOURCE.replica_id)
    assert not coming(here).exists()


def test_a_store_of_another_replica_or_cluster_or_seq_is_refused_and_nothing_is_replaced(source, worker, here, tmp_path):
    pinned = source.pin()
    before = files_under(here.path)
    download = SnapshotDownload.open(here, pinned.manifest, source=ReplicaId("other"))
    fetch(pinned, download)
    with pytest.raises(PreconditionFailed, match="belongs to replica source, not to other"):
        download.finish()
    later = dataclasses.replace(pinned.manifest, seq=Seq(SEQ + 1))
    download = SnapshotDownload.open(here, later, source=SOURCE.replica_id)
    fetch(pinned, download)
    with pytest.raises(DataLoss, match="has applied seq 20, its manifest says 21"):
        download.finish()
    assert files_under(here.path) == before
    other = WorkerFolder.open(tmp_path / "elsewhere", ClusterId("cluster-b"))
    stranger = other.create(HERE, dim=DIM)
    download = begun(stranger, pinned)
    fetch(pinned, download)
    with pytest.raises(PreconditionFailed, match="belongs to cluster cluster-a, this process to cluster cluster-b"):
        download.finish()
    other.close()


def test_after_a_refusal_at_the_end_it_can_be_finished(source, here):
    """What a refused snapshot left behind must not change the store when the snapshot comes again."""
    pinned = source.pin()
    download = SnapshotDownload.open(here, dataclasses.replace(pinned.manifest, seq=Seq(SEQ + 1)), source=SOURCE.replica_id)
    fetch(pinned, download)
    with pytest.raises(DataLoss):
        download.finish()
    (coming(here) / "store.db-wal").write_bytes(b"left")
    download = begun(here, pinned)
    assert download.missing().name == "store.db"
    fetch(pinned, download)
    is_a_copy(download.finish(), source)


def test_discarded_nothing_is_left_of_it(source, worker, here):
    pinned = source.pin()
    download = begun(here, pinned)
    fetch(pinned, download, most=2)
    download.discard()
    download.discard()
    assert [path.name for path in here.path.parent.iterdir()] == [here.path.name]


@pytest.mark.parametrize("most", range(12))
def test_an_interrupted_download_goes_on_where_it_was(source, worker, here, most):
    pinned = source.pin()
    done = fetch(pinned, begun(here, pinned), most=most)
    again = reopened(worker)
    download = begun(again.open_replica(HERE), pinned)
    received = download.received_bytes
    assert received == min(pinned.manifest.size_bytes, sum_of_pieces(pinned, done))
    left = fetch(pinned, download)
    assert done + left == pieces_of(pinned)
    is_a_copy(download.finish(), source)
    again.close()


def test_a_newer_snapshot_takes_over_the_index_files_that_it_still_names(source, here):
    first = source.pin()
    fetch(first, begun(here, first), piece=10_000, most=sum(1 for _ in range(0, first.manifest.files[0].size_bytes, 10_000)) + 1)
    source.add("two.index", b"more" * 100)
    source.store.replace_segments([], ["one.rows"])
    second = source.pin()
    download = begun(here, second)
    assert {path.relative_to(coming(here)).as_posix() for path in files_under(coming(here))} == {
        "snapshot.json",
        "parts/segments/one.index",
    }
    assert download.received_bytes == 10_000
    fetch(second, download)
    is_a_copy(download.finish(), source)


def test_whole_files_are_taken_over_by_their_hash_and_no_other(source, here):
    pinned = source.pin()
    fetch(pinned, begun(here, pinned))
    assert begun(here, pinned).missing() is None
    index = pinned.manifest.files[1]
    changed = SnapshotFile(name=index.name, size_bytes=index.size_bytes, sha256="0" * 64)
    files = tuple(changed if file == index else file for file in pinned.manifest.files)
    download = SnapshotDownload.open(here, dataclasses.replace(pinned.manifest, files=files), source=SOURCE.replica_id)
    assert (download.missing().name, download.missing().offset) == (index.name, 0)


def test_a_part_of_a_store_counts_for_the_same_snapshot_only(source, here):
    pinned = source.pin()
    fetch(pinned, begun(here, pinned), most=2)
    assert begun(here, pinned).missing().offset == 8192
    renamed = dataclasses.replace(pinned.manifest, snapshot=str(uuid.uuid4()))
    assert SnapshotDownload.open(here, renamed, source=SOURCE.replica_id).missing().offset == 0


def test_parts_without_a_readable_note_of_what_they_are_parts_of_are_fetched_again(source, here):
    pinned = source.pin()
    fetch(pinned, begun(here, pinned), most=2)
    note = coming(here) / "snapshot.json"
    document = json.loads(note.read_text())
    note.write_text(json.dumps({**document, "files": "[]"}))
    assert begun(here, pinned).missing().offset == 0


@pytest.mark.parametrize("nth", [1, 2, 3, 5])
@pytest.mark.parametrize(
    "point",
    [
        "install.received",
        "install.adopted",
        "install.filled",
        "install.between",
        "install.done",
        "file.rename",
        "disk.flush",
        "file.written",
    ],
)
def test_a_crash_anywhere_leaves_the_old_replica_or_the_new_one(source, worker, here, point, nth):
    def crash():
        raise SimulatedCrash

    store = PointsStore.open(here.store_path, cluster_id=CLUSTER, replica_id=HERE.replica_id)
    store.apply([upsert(1, ["old"])])
    store.close()
    log = ReplicaLog.open(here.path, cluster_id=CLUSTER, replica_id=HERE.replica_id, applied_seq=Seq(0))
    log.append([record(1)])
    log.close()
    here.save_known_term(Term(2))
    old, pinned = contents(here), source.pin()
    try:
        with armed(point, crash, nth=nth):
            download = begun(here, pinned)
            fetch(pinned, download)
            download.finish()
    except SimulatedCrash:
        pass
    again = reopened(worker)
    assert again.replicas() == [HERE]
    assert sorted(path.name for path in here.path.parent.glob(".old-*")) == []
    found = again.open_replica(HERE)
    if "old" in contents(found):
        assert (contents(found), found.known_term) == (old, 2)
        download = begun(found, pinned)
        fetch(pinned, download)
        found = download.finish()
    is_a_copy(found, source)
    assert [path.name for path in here.path.parent.iterdir()] == [here.path.name]
    again.close()


@pytest.mark.parametrize("which", [1, 2])
def test_a_disk_that_refuses_the_exchange_leaves_one_replica_at_the_next_opening(source, worker, here, monkeypatch, which):
    pinned = source.pin()
    download = begun(here, pinned)
    fetch(pinned, download)
    renamed, real = [], replica_swap.rename_durably

    def rename(found, target):
        renamed.append(target.name)
        if len(renamed) == which:
            raise OSError(5, "input/output error")
        real(found, target)

    monkeypatch.setattr(replica_swap, "rename_durably", rename)
    with pytest.raises(StorageFailed, match="input/output error"):
        download.finish()
    monkeypatch.undo()
    assert worker.exists(HERE)
    found = worker.open_replica(HERE)
    if which == 2:
        is_a_copy(found, source)
    else:
        assert contents(found) == {}


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_however_often_it_is_interrupted_and_damaged_the_copy_is_right(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("interrupted")
    with source_in(folder / "there") as source:
        worker = WorkerFolder.open(folder / "here", CLUSTER)
        here = worker.create(HERE, dim=DIM)
        pinned = source.pin()
        for _ in range(data.draw(st.integers(0, 5))):
            piece, most = data.draw(st.sampled_from([700, 5_000, 60_000])), data.draw(st.integers(0, 6))
            with contextlib.suppress(DataLoss):
                fetch(pinned, begun(here, pinned), piece=piece, most=most)
            paths = sorted(files_under(coming(here)))
            path = data.draw(st.sampled_from(paths))
            content = bytearray(path.read_bytes())
            match data.draw(st.sampled_from(["leave", "flip", "shorten", "lengthen", "unlink"])):
                case "flip" if content:
                    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
                    path.write_bytes(content)
                case "shorten":
                    path.write_bytes(content[: len(content) // 2])
                case "lengthen":
                    path.write_bytes(content + b"more")
                case "unlink":
                    path.unlink()
            if data.draw(st.booleans()):
                pinned.release()
                pinned = source.pin()
        download = begun(here, pinned)
        for _ in range(len(pinned.manifest.files) + 1):
            try:
                fetch(pinned, download)
            except DataLoss:
                continue
            break
        is_a_copy(download.finish(), source)
        worker.close()
    shutil.rmtree(folder)


def pieces_of(pinned, piece=4096):
    return sum(max(1, -(-file.size_bytes // piece)) for file in pinned.manifest.files)


def sum_of_pieces(pinned, count, piece=4096):
    sizes = [min(piece, file.size_bytes - at) for file in pinned.manifest.files for at in range(0, file.size_bytes, piece)]
    return sum(sizes[:count])
