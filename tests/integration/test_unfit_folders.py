"""Test folders of another user, read-only and full disks, and ports that are not allowed: `shoal up` and every role say
so in one line and end.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.cluster.role_cluster import RoleCluster, RoleProcess
from tests.support.disk.small_disk import fill, small_disk
from tests.support.disk.unprivileged import NOBODY, unprivileged

WAIT_S = 60.0


class Places:
    """Makes folders that cannot be used, by what is wrong with them."""

    def __init__(self, folder: Path, disk: Path) -> None:
        self._folder, self._disk = folder, disk

    def another_users(self, program: str) -> Path:
        return self._given_away(self._folder / f"{program}-foreign")

    def holds_another_users(self, program: str) -> Path:
        """Make a folder of ours in which one entry belongs to another user, as after a command that ran as
        that user.
        """
        inner = self._folder / f"{program}-mixed" / ("workers" if program == "up" else "lock")
        inner.parent.mkdir()
        self._given_away(inner, file=program != "up")
        return inner.parent

    def full(self, program: str) -> Path:
        return self._disk / program

    def _given_away(self, path: Path, *, file: bool = False) -> Path:
        path.touch() if file else path.mkdir()
        os.chown(path, NOBODY, NOBODY)
        return path


CASES: dict[str, tuple[Callable[[Places, str], Path], dict[str, str]]] = {
    "another user's": (
        Places.another_users,
        {"up": "cannot make the data folder {path}", "shard_worker": "cannot be used by user 0: {path}"},
    ),
    "holds another user's": (
        Places.holds_another_users,
        {"up": "cannot write in {path}/workers: Permission denied; give it to user 0", "shard_worker": "{path}/lock: Permission denied"},
    ),
    "full disk": (Places.full, {"up": "cannot write in {path}: No space left on device; make room there", "shard_worker": "disk full"}),
}


@pytest.fixture(scope="module")
def ended(shared_cluster: RoleCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[tuple[str, str], tuple[int, str, Path]]]:
    """Run all programs in all cases at once. Return the exit code, the output and the folder of each."""
    folder, before = tmp_path_factory.mktemp("unfit"), unprivileged()
    with small_disk(folder, 4) as disk:
        places = Places(folder, disk)
        for program in ("up", "shard_worker"):
            (places.full(program) / "logs").mkdir(parents=True)
        fill(disk / "filler")
        running = {}
        for case, (make, _) in CASES.items():
            for program, words in (
                ("up", ["shoal.deploy.local.up"]),
                ("shard_worker", ["shoal.shard_worker", f"--etcd={shared_cluster.etcd.endpoint}"]),
            ):
                path = make(places, program)
                command = [*before, sys.executable, "-P", "-m", *words, f"--data={path}"]
                process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
                running[case, program] = process, path
        found = {}
        for key, (process, path) in running.items():
            said, _ = process.communicate(timeout=WAIT_S)
            found[key] = process.returncode, said, path
        yield found


@pytest.mark.parametrize("program", ["up", "shard_worker"])
@pytest.mark.parametrize("case", CASES)
def test_a_folder_that_is_no_use_is_one_line_that_names_it(ended, case: str, program: str) -> None:
    code, said, path = ended[case, program]
    errors = [line for line in said.splitlines() if line.startswith("error: ")]
    assert (code, errors) == (1, said.splitlines()[-1:]), said
    assert CASES[case][1][program].format(path=path) in errors[0]
    assert "Traceback" not in said
    if program == "up":
        assert said.count("\n") == 1


def test_a_port_below_1024_is_one_line(shared_cluster: RoleCluster, tmp_path: Path) -> None:
    before = unprivileged()
    roles = {
        role: RoleProcess(role, tmp_path / f"{role}.log", inside=before, etcd=shared_cluster.etcd.endpoint, port=81, **settings)
        for role, settings in (("coordinator", {}), ("router", {}), ("shard_worker", {"data": tmp_path / "data"}))
    }
    for role in roles.values():
        role.start()
    for name, role in roles.items():
        assert role.wait() == 1, name
        assert role.log().splitlines()[-1].startswith("error: cannot listen on 127.0.0.1:81: is the port in use, or not allowed"), (
            role.log()
        )
        assert "Traceback" not in role.log()


def test_fsck_of_another_users_folder_is_one_line(tmp_path: Path) -> None:
    worker = tmp_path / "workers" / "1"
    worker.mkdir(parents=True)
    (worker / "worker.json").write_text("{}")
    worker.chmod(0o700)
    os.chown(worker, NOBODY, NOBODY)
    command = [*unprivileged(), sys.executable, "-P", "-m", "shoal.shard_worker.fsck", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: {tmp_path} cannot be read: Permission denied\n"
