from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from shoal.core.errors import InvalidArgument, PreconditionFailed
from shoal.deploy.folder import ClusterFolder, FolderLock, what_to_do


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
        "import os, signal, sys; from pathlib import Path; from shoal.deploy.folder import *\n"
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


def a_file(*names: str):
    def made(folder: ClusterFolder) -> None:
        path = folder.root.joinpath(*names)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")

    return made


def a_folder(*names: str):
    return lambda folder: folder.root.joinpath(*names).mkdir(parents=True)


@pytest.mark.parametrize(
    ("made", "named"),
    [
        (a_file("etcd"), "etcd"),
        (a_file("workers"), "workers"),
        (a_file("workers", "2"), "workers/2"),
        (a_folder("shoal.pid"), "shoal.pid"),
        (a_folder("ray-session"), "ray-session"),
        (a_folder("etcd", "ports.json"), "etcd/ports.json"),
        (a_folder("logs", "up.log"), "logs/up.log"),
        (a_folder("logs", "worker-1.log"), "logs/worker-1.log"),
    ],
)
def test_what_stands_in_the_way_is_named(folder: ClusterFolder, made, named: str) -> None:
    folder.check(with_roles=True)
    made(folder)
    with pytest.raises(InvalidArgument, match=rf"cannot write (in )?{folder.root}/{named}: .*; move away what is there, or choose another"):
        folder.check(with_roles=True)


def test_where_the_roles_run_elsewhere_their_folders_and_logs_are_not_ours(folder: ClusterFolder) -> None:
    for made in (a_file("workers", "2"), a_folder("logs", "worker-1.log")):
        made(folder)
    folder.check(with_roles=False)


def test_a_check_leaves_nothing(folder: ClusterFolder) -> None:
    before = sorted(folder.root.rglob("*"))
    folder.check(with_roles=True)
    assert sorted(folder.root.rglob("*")) == before


def test_names_that_no_folder_can_have_are_errors(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name in (tmp_path / "loop", tmp_path / ("n" * 300)):
        with pytest.raises(InvalidArgument, match="cannot make the data folder"):
            ClusterFolder.at(str(name)).create()
    with pytest.raises(InvalidArgument, match="null"):
        ClusterFolder.at("a\0b")


def test_what_to_do_fits_the_error() -> None:
    assert what_to_do(errno.EACCES) == f"give it to user {os.geteuid()}, or choose another --data"
    assert what_to_do(errno.EROFS).startswith("mount it for writing")
    assert what_to_do(errno.ENOSPC) == what_to_do(errno.EDQUOT) == "make room there, or choose another --data"
    assert what_to_do(errno.ENOTDIR) == what_to_do(None) == "move away what is there, or choose another --data"
