from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.cluster_folder import ClusterFolder, FolderLock
from shoal.core.errors import InvalidArgument, PreconditionFailed


@pytest.fixture
def folder(tmp_path: Path) -> ClusterFolder:
    made = ClusterFolder(root=tmp_path / "data")
    made.create()
    return made


def test_one_holder_at_a_time_and_the_other_is_told_its_pid(folder: ClusterFolder) -> None:
    with FolderLock(folder), pytest.raises(PreconditionFailed, match=rf"in use .*\(pid {os.getpid()}\)"):
        FolderLock(folder)
    with FolderLock(folder):
        pass


def test_a_killed_holder_leaves_no_lock(folder: ClusterFolder) -> None:
    source = (
        "import os, signal, sys; from pathlib import Path; from deploy.cluster_folder import *\n"
        "lock = FolderLock(ClusterFolder(root=Path(sys.argv[1]))); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", source, folder.root], timeout=30, check=False)
    assert done.returncode == -9
    assert folder.lock.read_text().strip().isdecimal()
    with FolderLock(folder):
        assert folder.lock.read_text() == f"{os.getpid()}\n"


def test_all_workers_that_a_folder_holds_are_counted(folder: ClusterFolder) -> None:
    assert folder.worker_count() == 0
    for name in ("1", "3", "notes"):
        (folder.root / "workers" / name).mkdir(parents=True)
    assert folder.worker_count() == 3


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidArgument, match="cannot make the data folder"):
        ClusterFolder(root=tmp_path / "file").create()
