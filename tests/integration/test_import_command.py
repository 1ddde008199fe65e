"""Test the process `shoal import` with a real cluster: it is killed and run again, and it stops at mistakes
of users.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import shoal
from tests.support.cluster.role_cluster import RoleCluster, wait_until
from tests.support.network.ports import free_port

ROWS, DIM = 200_000, 16


def fvecs(file: Path, vectors: np.ndarray) -> Path:
    rows = np.empty(len(vectors), dtype=[("dim", "<i4"), ("row", "<f4", (vectors.shape[1],))])
    rows["dim"], rows["row"] = vectors.shape[1], vectors
    rows.tofile(file)
    return file


def command(address: str, *words: object) -> subprocess.Popen[str]:
    run = [sys.executable, "-c", "from shoal.cli.main import main; main()", "--address", address, *map(str, words)]
    return subprocess.Popen(run, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=90)
    return process.returncode, out, err


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGINT])
def test_an_import_that_is_ended_in_the_middle_is_run_again_without_duplicates(
    shared_cluster: RoleCluster, client: shoal.Client, tmp_path: Path, ending: signal.Signals
) -> None:
    name = f"ended-{ending.name}"
    vectors = np.random.default_rng(6).normal(size=(ROWS, DIM)).astype(np.float32)
    words = ("import", fvecs(tmp_path / "base.fvecs", vectors), "--collection", name)
    client.create_collection(name, dim=DIM, shards=2)
    first = command(shared_cluster.address, *words)
    wait_until(lambda: client.count(name) > 0 or first.poll() is not None, "the import is under way")
    first.send_signal(ending)
    code, _, err = ended(first)
    before = client.count(name)
    assert 0 < before < ROWS, "it was ended too late to show anything"
    if ending is signal.SIGINT:
        assert code == 130
        assert err.strip().startswith("error: interrupted, the first ")
    else:
        assert code == -signal.SIGKILL
    code, out, err = ended(command(shared_cluster.address, *words))
    assert (code, err) == (0, "")
    assert out.startswith(f"imported {ROWS:,} points")
    assert client.count(name) == ROWS
    sample = list(range(0, ROWS, 997))
    found = client.get(name, sample)
    assert [point.id for point in found] == sample
    np.testing.assert_array_equal(np.array([point.vector for point in found]), vectors[sample])
    client.drop_collection(name)


def test_what_users_do_wrong_is_one_line_and_the_right_exit_code(shared_cluster: RoleCluster, tmp_path: Path) -> None:
    good = fvecs(tmp_path / "good.fvecs", np.ones((5, 3), dtype=np.float32))
    (tmp_path / "short.fvecs").write_bytes(good.read_bytes()[:-1])
    nobody = f"127.0.0.1:{free_port()}"
    here = shared_cluster.address
    cases: list[tuple[str, tuple[object, ...], int, str]] = [
        (here, ("import", tmp_path / "absent.fvecs", "--collection", "c"), 1, "absent.fvecs: No such file or directory"),
        (here, ("import", tmp_path / "short.fvecs", "--collection", "c"), 1, "short.fvecs row 4 is cut short: it has 15 of 16 bytes"),
        (here, ("import", tmp_path / "x.txt", "--collection", "c"), 1, "x.txt: this version imports npy, fvecs"),
        (here, ("import", good, "--collection", "nowhere"), 1, "collection 'nowhere' does not exist"),
        (here, ("import", good), 2, "collection"),
        (nobody, ("--timeout", "1", "import", good, "--collection", "c"), 1, "is a cluster running there?"),
    ]
    running = [(case, command(case[0], *case[1])) for case in cases]
    for (_, words, wanted, said), process in running:
        code, out, err = ended(process)
        assert (code, out) == (wanted, ""), (words, err)
        assert len(err.splitlines()) == 1, err
        assert err.startswith("error: ")
        assert said in err
