"""Test the folders beside the replicas: damaged replicas that are kept, and what interrupted work leaves behind."""

import pytest

from shoal.core.errors import DataLoss, NotFound
from shoal.core.ids import CollectionId, ReplicaId, ShardId, Term
from shoal.shard_worker.storage.failure import StorageFailed
from shoal.shard_worker.storage.folders.replica_folder import ReplicaRef
from shoal.shard_worker.storage.folders.replica_swap import mend_swap, swap_in
from shoal.shard_worker.storage.folders.worker_folder import WorkerFolder
from tests.support.worker.storage_parts import CLUSTER, DIM, files_under

SHARD, OTHER_SHARD = ShardId(CollectionId("c1"), 3), ShardId(CollectionId("c1"), 4)
REF, SECOND, OTHER = ReplicaRef(SHARD, ReplicaId("r1")), ReplicaRef(SHARD, ReplicaId("r2")), ReplicaRef(OTHER_SHARD, ReplicaId("r3"))


def reopened(worker):
    worker.close()
    return WorkerFolder.open(worker.path, CLUSTER)


def asides(worker):
    return [aside for shard in (SHARD, OTHER_SHARD) for aside in worker.asides_of(shard)]


def names_beside(worker, shard=SHARD):
    return sorted(path.name for path in (worker.path / shard.collection / str(shard.number)).iterdir())


def test_a_replica_set_aside_is_kept_as_it_is_and_is_no_replica_any_more(worker):
    path = worker.create(REF, dim=DIM).path
    (path / "replica.json").write_text("damaged")
    before = {file.relative_to(path): data for file, data in files_under(path).items()}
    aside = worker.set_aside(REF)
    assert (worker.exists(REF), worker.replicas(), asides(worker), aside.is_dir()) == (False, [], [REF], True)
    for gone in (worker.open_replica, worker.drop, worker.set_aside):
        with pytest.raises(NotFound):
            gone(REF)
    again = reopened(worker)
    assert (again.replicas(), asides(again)) == ([], [REF])
    assert {file.relative_to(aside): data for file, data in files_under(aside).items()} == before
    again.create(SECOND, dim=DIM)
    again.drop(SECOND)
    assert asides(again) == [REF]
    again.close()


def test_one_is_kept_per_shard_the_newest(worker):
    for ref in (REF, OTHER, SECOND):
        worker.create(ref, dim=DIM)
    worker.set_aside(REF)
    worker.set_aside(OTHER)
    assert (worker.replicas(), asides(worker)) == ([SECOND], [REF, OTHER])
    worker.set_aside(SECOND)
    assert (worker.replicas(), asides(worker)) == ([], [SECOND, OTHER])
    assert names_beside(worker) == [".aside-r2"]


def test_what_was_set_aside_is_deleted_when_told(worker):
    worker.create(REF, dim=DIM)
    with pytest.raises(NotFound):
        worker.drop_aside(REF)
    worker.set_aside(REF)
    worker.drop_aside(REF)
    assert asides(worker) == []
    assert not (worker.path / "c1").exists()
    with pytest.raises(NotFound):
        worker.drop_aside(REF)


def test_setting_aside_and_dropping_take_a_download_with_them(worker):
    for leave in (worker.set_aside, worker.drop):
        path = worker.create(REF, dim=DIM).path
        path.with_name(".get-r1").mkdir()
        (path.with_name(".get-r1") / "store.db").write_bytes(b"half")
        leave(REF)
        assert not path.with_name(".get-r1").exists()


def test_a_restart_keeps_downloads_of_replicas_that_are_there_and_sweeps_the_rest(worker):
    shard = worker.create(REF, dim=DIM).path.parent
    for name in (".get-r1", ".get-gone", ".pin-x", ".new-y", ".drop-z", ".aside-w"):
        (shard / name).mkdir()
        (shard / name / "file").write_bytes(b"content")
    again = reopened(worker)
    assert names_beside(again) == [".aside-w", ".get-r1", "r1"]
    again.close()


def as_it_comes(worker, *, term):
    """Create the replica with known term 1, and beside it a complete download with known term `term` that is to replace
    it. Return the replica's path.
    """
    replica = worker.create(REF, dim=DIM)
    replica.save_known_term(Term(term))
    replica.path.rename(replica.path.with_name(".get-r1"))
    worker.create(REF, dim=DIM).save_known_term(Term(1))
    return replica.path


@pytest.mark.parametrize("mended_by", ["restart", "opening"])
def test_between_the_renames_the_new_one_is_put_in_place(worker, mended_by):
    path = as_it_comes(worker, term=7)
    path.rename(path.with_name(".old-r1"))
    assert (worker.exists(REF), worker.replicas()) == (True, [])
    if mended_by == "restart":
        worker = reopened(worker)
        assert names_beside(worker) == ["r1"]
    assert worker.open_replica(REF).known_term == 7
    assert names_beside(worker) == ["r1"]
    worker.close()


def test_before_the_first_rename_the_old_one_stays_after_the_second_the_new_one(worker):
    path = as_it_comes(worker, term=7)
    mend_swap(path)
    assert names_beside(worker) == [".get-r1", "r1"]
    assert worker.open_replica(REF).known_term == 1
    swap_in(path)
    (path.with_name(".old-r1")).mkdir()
    again = reopened(worker)
    assert names_beside(again) == ["r1"]
    assert again.open_replica(REF).known_term == 7
    again.close()


def test_an_old_one_without_a_successor_comes_back(worker):
    """A crash cannot lead to this state. It exists if a person deletes the download."""
    path = worker.create(REF, dim=DIM).path
    path.rename(path.with_name(".old-r1"))
    again = reopened(worker)
    assert (again.replicas(), names_beside(again)) == ([REF], ["r1"])
    again.close()


def test_a_disk_that_refuses_to_set_aside_leaves_the_replica(worker, monkeypatch):
    worker.create(REF, dim=DIM)

    def fail(*given):
        raise OSError(5, "input/output error")

    with monkeypatch.context() as patched:
        patched.setattr("shoal.shard_worker.storage.folders.worker_folder.rename_durably", fail)
        with pytest.raises(StorageFailed, match="input/output error"):
            worker.set_aside(REF)
    assert (worker.replicas(), asides(worker)) == ([REF], [])


def test_a_missing_worker_json_is_damage_also_when_its_only_replica_is_between_the_renames(worker):
    path = worker.create(REF, dim=DIM).path
    path.rename(path.with_name(".old-r1"))
    worker.close()
    (worker.path / "worker.json").unlink()
    with pytest.raises(DataLoss, match=r"worker\.json is missing, but the folder holds replicas"):
        WorkerFolder.open(worker.path, CLUSTER)
