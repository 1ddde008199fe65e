import json
import os
import subprocess
import sys
import uuid

import pytest

from shoal.core.errors import AlreadyExists, DataLoss, Internal, NotFound, PreconditionFailed
from shoal.core.ids import ClusterId, CollectionId, ReplicaId, Seq, ShardId, Term
from shoal.shard_worker.storage.failure import StorageFailed
from shoal.shard_worker.storage.folders.replica_folder import ReplicaRef
from shoal.shard_worker.storage.folders.worker_folder import WorkerFolder
from shoal.shard_worker.storage.log.log import ReplicaLog
from shoal.shard_worker.storage.store.points_store import PointsStore
from tests.support.repository import ROOT
from tests.support.worker.storage_parts import CLUSTER, DIM, files_under, record, upsert

REF = ReplicaRef(ShardId(CollectionId("c1"), 3), ReplicaId("r1"))
OTHER = ReplicaRef(ShardId(CollectionId("c1"), 10), ReplicaId("r2"))

HOLDER = """
import sys
from pathlib import Path
from shoal.shard_worker.storage.folders.worker_folder import WorkerFolder
folder = WorkerFolder.open(Path(sys.argv[1]), "cluster-a")
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path):
    opened = WorkerFolder.open(tmp_path / "data" / "worker", CLUSTER)
    yield opened
    opened.close()


def reopened(folder):
    folder.close()
    return WorkerFolder.open(folder.path, CLUSTER)


def test_a_worker_keeps_its_id_in_its_folder(folder):
    assert str(uuid.UUID(folder.worker_id)) == folder.worker_id
    again = reopened(folder)
    assert again.worker_id == folder.worker_id
    again.close()


def test_a_folder_of_another_cluster_is_refused_and_not_kept_locked(folder):
    folder.close()
    with pytest.raises(PreconditionFailed, match="belongs to cluster cluster-a, this process to cluster cluster-b"):
        WorkerFolder.open(folder.path, ClusterId("cluster-b"))
    WorkerFolder.open(folder.path, CLUSTER).close()


def test_a_folder_in_use_is_refused_naming_the_pid(folder):
    with pytest.raises(PreconditionFailed, match=f"is in use by the process with pid {os.getpid()}"):
        WorkerFolder.open(folder.path, CLUSTER)
    folder.close()
    folder.close()
    WorkerFolder.open(folder.path, CLUSTER).close()


def test_the_lock_holds_between_processes_and_ends_with_its_holder(tmp_path):
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout.readline() == "held\n"
            with pytest.raises(PreconditionFailed, match=f"pid {holder.pid}$"):
                WorkerFolder.open(tmp_path, CLUSTER)
        finally:
            holder.kill()
    WorkerFolder.open(tmp_path, CLUSTER).close()


def test_a_new_replica_has_everything(folder):
    replica = folder.create(REF, dim=DIM)
    assert (replica.ref, replica.known_term, replica.path) == (REF, 0, folder.path / "c1" / "3" / "r1")
    store = PointsStore.open(replica.store_path, cluster_id=CLUSTER, replica_id=REF.replica_id)
    log = ReplicaLog.open(replica.path, cluster_id=CLUSTER, replica_id=REF.replica_id, applied_seq=store.applied_seq)
    assert (store.dim, store.applied_seq, log.last) == (DIM, 0, (0, 0))
    assert replica.segments_path.is_dir()
    log.append([record(1)])
    store.apply([upsert(1, [1])])
    store.close()
    log.close()
    found = folder.open_replica(REF)
    assert PointsStore.open(found.store_path, cluster_id=CLUSTER, replica_id=REF.replica_id).applied_seq == 1


def test_replicas_are_listed_made_and_dropped(folder):
    assert (folder.replicas(), folder.exists(REF)) == ([], False)
    folder.create(OTHER, dim=DIM)
    folder.create(REF, dim=DIM)
    (folder.path / "lost+found").mkdir()
    (folder.path / "note.txt").write_text("not ours")
    assert (folder.replicas(), folder.exists(REF)) == ([REF, OTHER], True)
    assert (folder.replicas_of(REF.shard), folder.replicas_of(ShardId(REF.shard.collection, 99))) == ([REF], [])
    with pytest.raises(AlreadyExists):
        folder.create(REF, dim=DIM)
    folder.drop(REF)
    assert (folder.replicas(), folder.exists(REF)) == ([OTHER], False)
    assert [path.name for path in (folder.path / "c1").iterdir()] == ["10"]
    for gone in (folder.drop, folder.open_replica):
        with pytest.raises(NotFound):
            gone(REF)
    again = reopened(folder)
    assert again.replicas() == [OTHER]
    assert sorted(path.name for path in (folder.path / "c1").iterdir()) == ["10"]
    again.drop(OTHER)
    last = reopened(again)
    assert not (folder.path / "c1").exists()
    last.create(REF, dim=DIM)
    last.close()


@pytest.mark.parametrize("name", ["", "..", "a/b", ".hidden", "a" * 200])
def test_ids_that_cannot_name_a_folder_are_refused(folder, name):
    with pytest.raises(Internal, match="cannot name a folder"):
        folder.create(ReplicaRef(ShardId(CollectionId(name), 0), ReplicaId("r")), dim=DIM)
    with pytest.raises(Internal, match="cannot name a folder"):
        folder.drop(ReplicaRef(ShardId(CollectionId("c"), 0), ReplicaId(name)))


def test_a_replica_that_was_half_made_or_half_deleted_is_swept(folder, monkeypatch):
    monkeypatch.setattr("shutil.rmtree", lambda path: None)
    folder.create(OTHER, dim=DIM)
    folder.drop(OTHER)

    def fail(*given, **named):
        raise OSError("no more")

    with monkeypatch.context() as patched:
        patched.setattr("shoal.shard_worker.storage.folders.worker_folder.rename_durably", fail)
        with pytest.raises(StorageFailed, match="no more"):
            folder.create(REF, dim=DIM)
    assert folder.replicas() == []
    assert len(list((folder.path / "c1").rglob("replica.json"))) == 2
    monkeypatch.undo()
    folder.create(REF, dim=DIM)
    again = reopened(folder)
    assert again.replicas() == [REF]
    assert len(list((folder.path / "c1").rglob("replica.json"))) == 1
    again.close()


def test_however_many_shards_a_collection_has_a_restart_lists_its_folder_a_few_times(folder, monkeypatch):
    refs = [ReplicaRef(ShardId(CollectionId("c1"), number), ReplicaId("r")) for number in range(12)]
    for ref in refs:
        folder.create(ref, dim=DIM)
    listed = []
    for name in ("listdir", "scandir"):

        def counted(path=".", plain=getattr(os, name)):
            listed.append(os.fspath(path))
            return plain(path)

        monkeypatch.setattr(os, name, counted)
    again = reopened(folder)
    assert 0 < listed.count(str(folder.path / "c1")) <= 3
    assert again.replicas() == sorted(refs)
    again.close()


def test_the_known_term_is_durable_and_never_goes_back(folder):
    replica = folder.create(REF, dim=DIM)
    replica.save_known_term(Term(4))
    replica.save_known_term(Term(4))
    replica.save_known_term(Term(7))
    assert folder.open_replica(REF).known_term == 7
    with pytest.raises(Internal, match="knows term 7 and cannot go back to 6"):
        replica.save_known_term(Term(6))
    assert (replica.known_term, folder.open_replica(REF).known_term) == (7, 7)


def test_every_flipped_bit_of_replica_json_is_noticed_or_harmless(folder):
    folder.create(REF, dim=DIM).save_known_term(Term(5))
    path = folder.path / "c1" / "3" / "r1" / "replica.json"
    data = path.read_bytes()
    noticed = 0
    for at in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[at // 8] ^= 1 << at % 8
        path.write_bytes(flipped)
        try:
            assert folder.open_replica(REF).known_term == 5
        except DataLoss:
            noticed += 1
    assert noticed > len(data) * 7


def test_a_replica_folder_of_another_replica_or_cluster_is_refused(folder):
    folder.create(REF, dim=DIM)
    (folder.path / "c1" / "3" / "r1").rename(folder.path / "c1" / "3" / "r9")
    with pytest.raises(DataLoss, match="belongs to replica c1/3/r1, its folder to c1/3/r9"):
        folder.open_replica(ReplicaRef(REF.shard, ReplicaId("r9")))


def test_a_damaged_replica_is_still_listed(folder):
    folder.create(REF, dim=DIM)
    (folder.path / "c1" / "3" / "r1" / "replica.json").unlink()
    assert folder.replicas() == [REF]
    with pytest.raises(DataLoss, match="is missing"):
        folder.open_replica(REF)


def test_a_missing_worker_json_beside_replicas_is_damage_and_nothing_is_touched(folder):
    folder.create(REF, dim=DIM)
    folder.close()
    (folder.path / "worker.json").unlink()
    before = files_under(folder.path / "c1")
    with pytest.raises(DataLoss, match=r"worker\.json is missing, but the folder holds replicas"):
        WorkerFolder.open(folder.path, CLUSTER)
    assert files_under(folder.path / "c1") == before


def test_a_newer_format_is_refused(folder, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr("shoal.shard_worker.storage.sealed_json.FORMAT", 2)
        folder.create(REF, dim=DIM)
    with pytest.raises(PreconditionFailed, match="has format 2, this program knows formats up to 1"):
        folder.open_replica(REF)


def test_what_a_person_reads_in_replica_json(folder):
    folder.create(REF, dim=DIM)
    document = json.loads((folder.path / "c1" / "3" / "r1" / "replica.json").read_text())
    document.pop("crc32c")
    expected = {"cluster_id": CLUSTER, "collection": "c1", "shard": 3, "replica_id": "r1", "known_term": 0, "format": 1}
    assert document == expected


def test_the_store_and_the_log_of_one_replica_recover_together(folder):
    """Records that are in the log and not in the store are applied when the replica is opened."""
    replica = folder.create(REF, dim=DIM)
    identity = {"cluster_id": CLUSTER, "replica_id": REF.replica_id}
    log = ReplicaLog.open(replica.path, **identity, applied_seq=Seq(0))
    log.append([record(seq) for seq in range(1, 6)])
    log.close()
    store = PointsStore.open(replica.store_path, **identity)
    store.apply([upsert(1, [1]), upsert(2, [2])])
    log = ReplicaLog.open(replica.path, **identity, applied_seq=store.applied_seq)
    changes = store.apply([upsert(each.seq, [each.seq]) for each in log.read(Seq(store.applied_seq + 1))])
    assert [change.seq for change in changes] == [3, 4, 5]
    store.close()
    log.close()
