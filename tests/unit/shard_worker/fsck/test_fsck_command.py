"""Test the fsck command: what a path means, that it leaves a running worker alone, what it prints, how it exits."""

import json
import shutil
import subprocess
import sys

import pytest

from shoal.shard_worker.fsck.__main__ import main
from shoal.shard_worker.storage.folders.worker_folder import WorkerFolder
from tests.support.repository import ROOT
from tests.support.worker.engine_driver import CLUSTER
from tests.support.worker.replica_on_disk import change, flip, forge, make_worker


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cluster")
    make_worker(folder / "workers" / "1")
    shutil.copytree(folder / "workers" / "1", folder / "workers" / "2")
    return folder


@pytest.fixture
def cluster(template, tmp_path):
    shutil.copytree(template, tmp_path / "data")
    return tmp_path / "data"


def replica(cluster, number=1):
    return cluster / "workers" / str(number) / "collection" / "0" / "replica"


def run(capsys, *arguments):
    code = main([str(each) for each in arguments])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_a_cluster_a_worker_and_a_replica(cluster, capsys):
    for path, checked in ((cluster, 2), (cluster / "workers" / "2", 1), (replica(cluster), 1)):
        code, out, err = run(capsys, path)
        assert (code, err) == (0, "")
        assert out.splitlines()[-1] == f"{checked} replica{'s' if checked > 1 else ''} checked: clean"
        assert out.splitlines()[0].split()[:3] == ["replica", "points", "applied"]
        assert sum(line.startswith("collection/0/replica") for line in out.splitlines()) == checked


def test_a_report_that_stdout_does_not_take_is_one_line(cluster):
    command = [sys.executable, "-m", "shoal.shard_worker.fsck", str(cluster)]
    with open("/dev/full", "wb") as full:
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False, text=True, cwd=ROOT)
    assert (ended.returncode, ended.stderr) == (2, "error: the report cannot be written: No space left on device\n")


def test_a_path_given_twice_is_checked_once(cluster, capsys):
    code, out, _ = run(capsys, cluster, cluster / "workers" / "1", replica(cluster))
    assert code == 0
    assert out.splitlines()[-1] == "2 replicas checked: clean"


def test_a_replica_that_was_copied_away_is_checked_without_its_worker(cluster, tmp_path, capsys):
    shutil.copytree(replica(cluster), tmp_path / "copy")
    code, out, _ = run(capsys, tmp_path / "copy")
    assert (code, out.splitlines()[-1]) == (0, "1 replica checked: clean")


def test_damage_is_a_line_with_place_meaning_and_advice_and_exit_code_1(cluster, capsys):
    change(replica(cluster, 2), "UPDATE points SET payload = x'7b7d' WHERE row = 6")
    code, out, _ = run(capsys, cluster)
    assert code == 1
    (line,) = [line for line in out.splitlines() if line.startswith("damage: ")]
    assert line.startswith(f"damage: {replica(cluster, 2)}/store.db, row 6: the crc of its payload does not match (id 5); ")
    assert "restore the replica from a copy" in line
    assert out.splitlines()[-1] == "2 replicas checked: damage was found"
    assert [line.split()[-1] for line in out.splitlines()[1:3]] == ["clean", "damaged"]


def test_a_damaged_identity_of_a_worker_is_found(cluster, capsys):
    flip(cluster / "workers" / "1" / "worker.json", 30)
    code, out, _ = run(capsys, cluster)
    assert code == 1
    assert any(line.startswith(f"damage: {cluster}/workers/1/worker.json") for line in out.splitlines())


def test_json_says_the_same(cluster, capsys):
    change(replica(cluster), "UPDATE points SET seq = seq + 1 WHERE row = 6")
    code, out, _ = run(capsys, cluster, "--json")
    document = json.loads(out)
    assert (code, document["verdict"]) == (1, "damaged")
    assert [each["verdict"] for each in document["replicas"]] == ["damaged", "clean"]
    (finding,) = document["replicas"][0]["findings"]
    assert (finding["severity"], finding["position"]) == ("damage", "row 6")
    assert document["replicas"][1]["figures"]["points"] == 18


def test_replicas_of_a_shard_are_compared(cluster, capsys):
    code, out, _ = run(capsys, cluster)
    (line,) = [line for line in out.splitlines() if line.startswith("shard ")]
    one, other = replica(cluster, 1), replica(cluster, 2)
    assert (code, line) == (0, f"shard collection/0: {one} (applied 7) and {other} (applied 7) agree in 18 points")
    forge(other, 20, payload=b'{"n":99}')
    code, out, _ = run(capsys, cluster / "workers" / "1", cluster / "workers" / "2")
    (damage,) = [line for line in out.splitlines() if line.startswith("damage: ")]
    assert code == 1
    assert damage.startswith(f"damage: {other}, shard collection/0: replica {other} (applied 7) differs from {one} (applied 7) ")
    document = json.loads(run(capsys, cluster, "--json")[1])
    assert document["verdict"] == "damaged"
    assert document["compared"][0]["shard"] == "collection/0"
    assert [finding["position"] for finding in document["findings"]] == ["shard collection/0"]


def test_replicas_with_the_same_records_have_the_same_digest(cluster, capsys):
    digests = {each["figures"]["digest"] for each in json.loads(run(capsys, cluster, "--json")[1])["replicas"]}
    assert len(digests) == 1


def test_a_worker_that_runs_is_named_and_left_alone(cluster, capsys):
    running = WorkerFolder.open(cluster / "workers" / "2", CLUSTER)
    pid = (cluster / "workers" / "2" / "lock").read_text().strip()
    for path in (cluster, cluster / "workers" / "2", replica(cluster, 2)):
        code, out, err = run(capsys, path)
        assert (code, out) == (2, "")
        assert err == f"error: {cluster}/workers/2 is in use by the process with pid {pid}; stop that worker first\n"
    assert run(capsys, cluster / "workers" / "1")[0] == 0
    running.close()
    assert run(capsys, cluster)[0] == 0


def test_a_path_that_means_nothing_is_refused_in_one_line(tmp_path, capsys):
    code, out, err = run(capsys, tmp_path)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "neither a folder of `shoal up`" in err
    code, out, err = run(capsys, tmp_path / "missing")
    assert (code, "is not a folder" in err) == (2, True)


def test_a_worker_without_replicas_is_clean(tmp_path, capsys):
    WorkerFolder.open(tmp_path, CLUSTER).close()
    code, out, _ = run(capsys, tmp_path)
    assert (code, out) == (0, "0 replicas checked: clean\n")


def test_it_runs_as_a_module_from_anywhere(cluster, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "shoal.shard_worker.fsck", str(cluster)], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
