"""Provide a replica that is copied, and the worker folder into which it is copied."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from shoal.shard_worker.storage.folders.replica_folder import ReplicaFolder
from shoal.shard_worker.storage.folders.worker_folder import WorkerFolder
from tests.support.worker.snapshot_world import HERE, CopiedReplica, source_in
from tests.support.worker.storage_parts import CLUSTER, DIM


@pytest.fixture
def source(tmp_path: Path) -> Iterator[CopiedReplica]:
    with source_in(tmp_path / "there") as made:
        yield made


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[WorkerFolder]:
    opened = WorkerFolder.open(tmp_path / "here", CLUSTER)
    yield opened
    opened.close()


@pytest.fixture
def here(worker: WorkerFolder) -> ReplicaFolder:
    return worker.create(HERE, dim=DIM)
