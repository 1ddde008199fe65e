"""Test the comparison of a shard's replicas on disk: it gives no false alarm and misses no difference."""

import shutil
from dataclasses import replace

import pytest

from shoal.core.point_change import SetPayload
from shoal.shard_worker.fsck.finding import Severity
from shoal.shard_worker.fsck.shard_check import compare_replicas
from tests.support.worker.engine_driver import Driven
from tests.support.worker.replica_on_disk import change, checked, forge, make_worker

APPLIED = 7
"""Applied seq of the replica that make_worker makes."""


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    folder = tmp_path_factory.mktemp("template")
    make_worker(folder)
    return folder


@pytest.fixture
def replicas(template, tmp_path):
    """Return the folders of three replicas that hold the same points."""
    for name in "abc":
        shutil.copytree(template, tmp_path / name)
    return [tmp_path / name / "collection" / "0" / "replica" for name in "abc"]


def compare(*paths):
    """Compare replicas. Return the lines and the findings; in lines, a replica's path is replaced by its worker's
    letter.
    """
    compared, findings = compare_replicas([checked(path) for path in paths])
    lines = [line for each in compared for line in each.lines]
    for path in paths:
        lines = [line.replace(str(path), path.parts[-4]) for line in lines]
    return lines, list(findings)


def write_more(path, *, filling=0):
    """Add, replace, delete and change points, deletes by id and by row. Then make `filling` more writes and, if there
    are any, builds and trims.
    """
    driven = Driven(path)
    driven.upsert([0, 100], [[1.0] * 4, [2.0] * 4], [None, b'{"n":9}'])
    driven.delete([4, "a", "never there"])
    driven.delete_rows([5], [6])
    driven.update([6, "never there"], SetPayload(b'{"n":7}'))
    for number in range(filling):
        driven.upsert([200], [[float(number)] * 4], [b"{}"])
    if filling:
        while driven.build(everything=True):
            pass
        driven.checkpoint()
    driven.close()


def test_equal_replicas_agree(replicas):
    lines = ["a (applied 7) and b (applied 7) agree in 18 points", "b (applied 7) and c (applied 7) agree in 18 points"]
    assert compare(*replicas) == (lines, [])


def test_replicas_of_one_id_are_called_by_their_folders_others_by_their_ids(replicas):
    reports = [checked(path) for path in replicas[:2]]
    renamed = [replace(each, ref=replace(each.ref, replica=name)) for each, name in zip(reports, "xy", strict=True)]
    assert compare_replicas(renamed)[0][0].lines == ("x (applied 7) and y (applied 7) agree in 18 points",)
    assert compare_replicas(reports)[0][0].shard == "collection/0"
    assert compare_replicas(reports)[0][0].lines[0].startswith(f"{replicas[0]} (applied 7) and {replicas[1]} ")


def test_one_replica_of_a_shard_is_compared_with_none(replicas):
    assert compare(replicas[0]) == ([], [])


def test_replicas_of_different_shards_or_clusters_are_not_compared(replicas):
    one, other = checked(replicas[0]), checked(replicas[1])
    for ref in (replace(other.ref, shard="collection/1"), replace(other.ref, cluster="another"), None):
        assert compare_replicas([one, replace(other, ref=ref)])[0] == []


def test_one_that_is_behind_is_compared_in_what_was_not_written_since(replicas):
    write_more(replicas[0])
    lines, findings = compare(*replicas)
    assert lines[1] == (
        "c (applied 7) and a (applied 11) agree in 13 points; 6 were written or removed after record 7 and are not compared"
    )
    assert findings == []


def test_where_the_log_was_trimmed_what_only_the_one_behind_has_is_said_to_be_untold(replicas):
    write_more(replicas[0], filling=30)
    assert checked(replicas[0]).figures.log_first > APPLIED + 1
    lines, findings = compare(*replicas[:2])
    assert "agree in 13 points; 4 were written or removed after record 7" in lines[0]
    assert "3 that only b has were removed since or are lost; it is unknown which" in lines[0]
    assert findings == []


@pytest.mark.parametrize("behind", [False, True])
def test_a_point_that_differs_is_found(replicas, behind):
    """Each replica is right by itself, its crcs too. Only a comparison finds the difference."""
    if behind:
        write_more(replicas[0])
    forge(replicas[1], 20, payload=b'{"n":99}')
    lines, (finding,) = compare(*replicas[:2])
    assert f"differ in 1 of {13 if behind else 18} points" in lines[0]
    assert (finding.severity, finding.position) == (Severity.DAMAGE, "shard collection/0")
    assert (
        f"({replicas[1 if behind else 0]}) in 1 points: id 'c': record 5 wrote it in both, but vector or payload differ" in finding.meaning
    )


def test_a_point_that_one_lacks_is_found_with_how(replicas):
    for path, ids in ((replicas[0], [7]), (replicas[1], [8])):
        driven = Driven(path)
        driven.delete(ids)
        driven.close()
    _, (finding,) = compare(*replicas[:2])
    assert "in 2 points: id 8: record 3 wrote it, but only the replica ahead has it; " not in finding.meaning
    assert "id 7: record 2 wrote it" in finding.meaning
    assert "id 8: record 3 wrote it" in finding.meaning


def test_a_damaged_replica_is_left_out_and_the_others_are_compared(replicas):
    change(replicas[1], "UPDATE points SET payload = x'7b7d' WHERE row = 6")
    lines, findings = compare(*replicas)
    assert lines == ["b is not compared: not every point of it can be read", "a (applied 7) and c (applied 7) agree in 18 points"]
    assert findings == []


def test_a_replica_that_cannot_be_read_the_second_time_is_said(replicas):
    write_more(replicas[0])
    reports = [checked(path) for path in replicas[:2]]
    shutil.rmtree(replicas[0] / "log")
    (compared,), findings = compare_replicas(reports)
    assert compared.lines == ()
    assert [finding.severity for finding in findings] == [Severity.UNCHECKED]
