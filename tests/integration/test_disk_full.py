"""Test a worker whose disk fills up during an import: the error is clear, nothing is lost, and the worker goes on by
itself when there is room.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import shoal
from tests.support.cluster.role_cluster import RoleCluster, wait_until
from tests.support.disk.small_disk import fill, small_disk

DIM, BATCH = 64, 500
MEGABYTES = 128


@contextmanager
def cluster_on_small_disk(folder: Path, **worker_settings: object) -> Iterator[tuple[RoleCluster, Path]]:
    """Run a cluster with one worker, whose data is alone on a small disk. Yield the cluster and the mount point."""
    with small_disk(folder, MEGABYTES) as disk:
        cluster = RoleCluster(folder / "cluster", workers=1, **worker_settings)
        (cluster.folder / "worker-0").symlink_to(disk / "worker")
        (disk / "worker").mkdir()
        with cluster:
            yield cluster, disk


def batch(number: int) -> tuple[range, np.ndarray]:
    ids = range(number * BATCH, (number + 1) * BATCH)
    return ids, np.repeat(np.arange(ids.start, ids.stop, dtype=np.float32)[:, None], DIM, axis=1)


def upsert(client: shoal.Client, number: int, timeout: float = 30.0) -> None:
    ids, vectors = batch(number)
    client.upsert("c", ids, vectors, [{"n": each} for each in ids], timeout=timeout)


def import_until_refused(client: shoal.Client, timeout: float) -> tuple[set[int], shoal.ShoalError]:
    """Write batches until one is refused. Return the ids of the acknowledged batches, and the error."""
    done: set[int] = set()
    for number in range(1_000):
        try:
            upsert(client, number, timeout)
        except shoal.ShoalError as error:
            return done, error
        done |= set(batch(number)[0])
    raise AssertionError("the disk never was full")


def assert_all_there(client: shoal.Client, acknowledged: set[int]) -> None:
    found = {point.id: point for point in client.scroll("c", with_vectors=True)}
    assert acknowledged <= set(found)
    assert all(point.payload == {"n": number} and (point.vector == number).all() for number, point in found.items())


def test_beyond_the_limit_upserts_are_refused_deletes_taken_and_room_is_noticed(tmp_path: Path) -> None:
    with cluster_on_small_disk(tmp_path) as (cluster, disk), shoal.connect(cluster.address) as client:
        client.create_collection("c", dim=DIM)
        ballast = disk / "ballast"
        fill(ballast, leave_bytes=(MEGABYTES << 20) // 5)
        acknowledged, error = import_until_refused(client, timeout=30)
        assert isinstance(error, shoal.ResourceExhausted)
        assert "disk full" in error.message
        assert "90%" in error.message
        assert (error.details.limit, error.details.applied) == ("disk", {"c/0": "no"})
        assert acknowledged
        _import_by_command_is_refused(cluster, tmp_path)
        removed = set(range(BATCH // 2))
        assert client.delete("c", sorted(removed)) == len(removed)
        assert_all_there(client, acknowledged - removed)
        assert client.count("c") == len(acknowledged) - len(removed)
        assert client.search("c", [300.0] * DIM, k=1)[0].id == 300
        ballast.unlink()
        wait_until(lambda: _is_taken(client, 2_000), "upserts are taken again")
        assert_all_there(client, acknowledged - removed | set(batch(2_000)[0]))


def test_a_disk_that_is_full_to_the_last_byte_loses_nothing_and_the_replica_comes_back_by_itself(tmp_path: Path) -> None:
    settings = {"disk_refuse_percent": 100, "disk_resume_percent": 100}
    with cluster_on_small_disk(tmp_path, **settings) as (cluster, disk), shoal.connect(cluster.address) as client:
        client.create_collection("c", dim=DIM)
        upsert(client, 0)
        pid, ballast = client.cluster().workers[0].pid, disk / "ballast"
        fill(ballast, leave_bytes=2 << 20)
        acknowledged, error = import_until_refused(client, timeout=30)
        assert isinstance(error, shoal.ResourceExhausted), repr(error)
        assert ("disk full" in error.message, error.details.limit) == (True, "disk"), repr(error)
        assert acknowledged
        fill(disk / "more")
        wait_until(lambda: "disk full" in _why_refused(client), "a delete finds no room, either")
        ballast.unlink()
        wait_until(lambda: _is_taken(client, 2_000), "writes are taken again")
        assert_all_there(client, acknowledged - {0} | set(batch(2_000)[0]))
        assert client.cluster().workers[0].pid == pid, "nobody restarted the worker"
        assert all(what in cluster.workers[0].log() for what in ("replica_failed", "replica_reopens"))
        cluster.workers[0].kill()
        cluster.workers[0].start()
        cluster.wait_ready()
        assert_all_there(client, acknowledged - {0} | set(batch(2_000)[0]))
        assert cluster.workers[0].stop() == 0


def _is_taken(client: shoal.Client, number: int) -> bool:
    try:
        upsert(client, number, timeout=5)
    except (shoal.ResourceExhausted, shoal.Unavailable, shoal.DeadlineExceeded):
        return False
    return True


def _why_refused(client: shoal.Client) -> str:
    """Delete points that no test counts on until the log needs a new block. Return the error message, "" if no delete
    is refused.
    """
    try:
        for _ in range(200):
            client.delete("c", [0, *range(10_000_000, 10_000_400)], timeout=1)
    except shoal.ShoalError as error:
        return error.message
    return ""


def _import_by_command_is_refused(cluster: RoleCluster, folder: Path) -> None:
    file = folder / "vectors.npy"
    np.save(file, np.ones((1_000, DIM), dtype=np.float32))
    command = [str(Path(sys.executable).parent / "shoal"), "import", str(file), "--collection", "c", "--address", cluster.address]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    said = (ended.stdout + ended.stderr).strip().splitlines()
    assert ended.returncode not in (0, 2), said
    assert "disk full" in " ".join(said), said
    assert not any("Traceback" in line for line in said)


def test_a_small_disk_is_small_and_can_be_filled(tmp_path: Path) -> None:
    with small_disk(tmp_path, 16) as disk:
        fill(disk / "ballast")
        with pytest.raises(OSError, match="No space left"):
            (disk / "one-more").write_bytes(b"x" * 8_192)
