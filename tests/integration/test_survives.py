"""Test what survives what: real processes are killed and files are damaged while real clients work."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

import shoal
from tests.support.cluster.role_cluster import RoleCluster, wait_until
from tests.support.examples.data_sets import recall
from tests.support.scope import LONG


def files_of(cluster: RoleCluster, pattern: str) -> list[Path]:
    return sorted(path for path in cluster.folder.glob(f"worker-*/*/*/*/{pattern}") if path.stat().st_size)


def everything(client: shoal.Client, name: str) -> dict[shoal.PointId, shoal.Point]:
    points = list(client.scroll(name, with_vectors=True))
    found = {point.id: point for point in points}
    assert len(found) == len(points), "a point came twice"
    return found


def test_a_worker_killed_in_the_middle_of_an_import_loses_and_tears_nothing(make_cluster):
    cluster = make_cluster(workers=2)
    count, dim = 60_000, 16
    vectors = np.random.default_rng(3).normal(size=(count, dim)).astype(np.float32)
    reached: list[int] = []
    killed = threading.Event()

    def kill_one(client: shoal.Client) -> None:
        wait_until(lambda: bool(reached) and reached[-1] >= 5_000, "the import is under way")
        victim = cluster.worker_of_pid(client.cluster().workers[0].pid)
        victim.kill()
        killed.set()
        victim.start()

    with shoal.connect(cluster.address) as client:
        client.create_collection("import", dim=dim, shards=2)
        killer = threading.Thread(target=kill_one, args=(client,))
        killer.start()
        for start in range(0, count, 2_000):
            part = slice(start, start + 2_000)
            ids = range(start, min(start + 2_000, count))
            client.upsert("import", ids, vectors[part], [{"n": number} for number in ids])
            reached.append(start + 2_000)
        killer.join()
        assert killed.is_set()
        found = everything(client, "import")
        assert sorted(found) == list(range(count))
        assert all(point.payload == {"n": number} for number, point in found.items())
        np.testing.assert_array_equal(np.array([found[number].vector for number in range(count)], dtype=np.float32), vectors)
        assert client.search("import", vectors[17], k=1, exact=True)[0].id == 17


def test_a_whole_cluster_that_was_killed_comes_back_without_building(make_cluster):
    cluster = make_cluster(workers=2, lease_ttl_s=3)
    count, dim = 60_000 if LONG else 25_000, 16
    rng = np.random.default_rng(4)
    vectors = rng.normal(size=(count, dim)).astype(np.float32)
    queries = rng.normal(size=(50, dim)).astype(np.float32)
    with shoal.connect(cluster.address, timeout=120) as client:
        client.create_collection("big", dim=dim, shards=2)
        client.upsert("big", np.arange(count), vectors)
        client.optimize("big", timeout=120)
        before = client.search_many("big", queries, k=10, exact=True)
        info = client.describe_collection("big")
        assert (info.points, info.growing_rows, info.sealed_rows) == (count, 0, count)
    graphs = {path: path.stat().st_mtime_ns for path in files_of(cluster, "segments/*")}
    assert sorted(path.suffix for path in graphs) == 2 * [".faiss"] + 2 * [".payload"] + 2 * [".rows"]
    cluster.kill_all()
    cluster.start()
    with shoal.connect(cluster.address) as client:
        # The breadth of a search follows what was measured meanwhile. The exact answer stays the same.
        assert client.search_many("big", queries, k=10, exact=True) == before
        near = client.search_many("big", queries, k=10, params={"ef": 512}, explain=True)
        assert {(each.state, each.index) for each in near[0].explain} == {("sealed", "HNSW16,Flat")}
        assert recall([[hit.id for hit in page] for page in near], np.array([[hit.id for hit in page] for page in before]), 10) >= 0.98
        info = client.describe_collection("big")
        assert (info.points, info.growing_rows, info.sealed_rows, info.builds_pending) == (count, 0, count, 0)
    assert {path: path.stat().st_mtime_ns for path in files_of(cluster, "segments/*")} == graphs


@pytest.fixture
def filled(make_cluster) -> RoleCluster:
    """Make a cluster of one worker with 4,000 points in one shard, written by 40 calls. The last 1,000 were written
    after the others were sealed. Everything was killed.
    """
    cluster = make_cluster(workers=1, lease_ttl_s=3)
    with shoal.connect(cluster.address) as client:
        client.create_collection("some", dim=8, shards=1)
        for start in range(0, 3_000, 100):
            client.upsert("some", range(start, start + 100), np.full((100, 8), start, dtype=np.float32))
        client.optimize("some")
        for start in range(3_000, 4_000, 100):
            client.upsert("some", range(start, start + 100), np.full((100, 8), start, dtype=np.float32))
    cluster.kill_all()
    return cluster


def test_a_torn_log_tail_is_cut_and_every_acknowledged_point_is_there(filled):
    log = files_of(filled, "log/*.log")[-1]
    content = log.read_bytes()
    log.write_bytes(content + content[-5_000:-1_000])
    filled.start()
    with shoal.connect(filled.address) as client:
        assert sorted(everything(client, "some")) == list(range(4_000))
        client.upsert("some", [4_000], np.zeros((1, 8)))
        assert client.count("some") == 4_001


def test_a_flipped_bit_in_the_log_is_detected_and_the_replica_says_failed(filled):
    log = files_of(filled, "log/*.log")[0]
    content = bytearray(log.read_bytes())
    content[len(content) // 2] ^= 0x10
    log.write_bytes(content)
    filled.etcd.start()
    for role in filled.roles:
        role.start()
    with shoal.connect(filled.address, timeout=30) as client:
        wait_until(lambda: [shard.state for shard in describe(client)] == ["failed"], "the replica has failed")
        (shard,) = describe(client)
        assert "log" in shard.detail
        for verb in (
            lambda: client.count("some"),
            lambda: client.search("some", np.zeros(8)),
            lambda: client.upsert("some", [1], np.zeros((1, 8))),
        ):
            with pytest.raises(shoal.DataLoss, match="some/0"):
                verb()
    assert log.read_bytes() == bytes(content), "a damaged log must be kept as it is"


def describe(client: shoal.Client):
    try:
        return client.cluster().shards
    except shoal.Unavailable:
        return ()


def test_a_damaged_segment_file_is_rebuilt(filled):
    graph = files_of(filled, "segments/*.faiss")[0]
    content = bytearray(graph.read_bytes())
    content[len(content) // 3] ^= 0x01
    graph.write_bytes(content)
    filled.start()
    with shoal.connect(filled.address) as client:
        assert client.count("some") == 4_000
        assert client.search("some", np.full(8, 1_700), k=1)[0].score == 0.0
        client.optimize("some")
        info = client.describe_collection("some")
        assert (info.growing_rows, info.sealed_rows) == (0, 4_000)
    assert "segment_damaged" in filled.workers[0].log()


def test_a_dropped_collection_takes_its_folders_along_and_frees_its_name(make_cluster):
    cluster = make_cluster(workers=2)
    with shoal.connect(cluster.address) as client:
        client.create_collection("gone", dim=4, shards=4)
        client.upsert("gone", range(100), np.ones((100, 4)))
        assert files_of(cluster, "store.db")
        client.drop_collection("gone")
        client.create_collection("gone", dim=8, shards=1)
        assert client.count("gone") == 0
        wait_until(lambda: len(files_of(cluster, "store.db")) == 1, "the folders of the dropped collection are gone")


def test_a_wiped_replica_is_reported_and_not_made_again_empty(filled):
    (store,) = files_of(filled, "store.db")
    replica = store.parent
    replica.rename(filled.folder / "taken-away")
    filled.etcd.start()
    for role in filled.roles:
        role.start()
    with shoal.connect(filled.address, timeout=30) as client:
        wait_until(lambda: [shard.state for shard in describe(client)] == ["failed"], "the replica has failed")
        with pytest.raises(shoal.DataLoss, match="missing"):
            client.count("some")
    assert not replica.exists()
