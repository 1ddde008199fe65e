import math

import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.cli.size import bytes_of, fitting
from shoal.core.sizing import ReplicaSize, SizeEstimate, size_of

MIB = 1024**2
PARTS = ("points", "index", "tables", "ids", "payloads", "growing", "base", "build", "store", "log", "segments", "merge", "files")


def estimated(replicas, memory, build):
    return SizeEstimate(replica=ReplicaSize(**dict.fromkeys(PARTS, 0) | {"index": memory, "build": build}), replicas=replicas)


def test_a_table_of_one_replica_and_of_all(shoal):
    lines = shoal("size", "--points", 100_000, "--dim", 128, "--shards", 2, "--index", "hnsw", "--payload-bytes", 50).out.splitlines()
    assert lines[0].split("  ")[0] == "WHAT"
    assert "ALL 2" in lines[0]
    shown = {line[:34].strip(): line[34:].split() for line in lines[1:]}
    estimate = size_of(points=100_000, dim=128, shards=2, index="hnsw", payload_bytes=50)
    assert shown["memory, in all"] == [f"{estimate.replica.memory / MIB:.1f}", "MiB", f"{estimate.memory / MIB:.1f}", "MiB"]
    assert shown["disk, in all"][:2] == [f"{estimate.replica.disk / MIB:.1f}", "MiB"]
    assert "memory, while a segment is built" in shown
    assert shown["open files"] == ["12", "24"]
    assert shoal.connects == []
    assert "ALL" not in shoal("size", "--points", 100, "--dim", 4).out


def test_for_programs_with_the_question_of_room(shoal):
    document = shoal("size", "--points", 100_000, "--dim", 128, "--memory", "8GiB", "--json").document
    estimate = size_of(points=100_000, dim=128)
    assert (document["memory"], document["disk"], document["replica"]["index"]) == (estimate.memory, estimate.disk, estimate.replica.index)
    assert (document["files"], document["replica"]["files"]) == (12, 12)
    assert (document["budget"], document["fits"], document["workers"]) == (8 * 1024**3, True, 1)
    assert "fits" not in shoal("size", "--points", 9, "--dim", 4, "--json").document


def test_whether_it_fits_is_said_in_words(shoal):
    words = ["size", "--points", 1_000_000, "--dim", 256, "--shards", 4, "--memory"]
    assert "it fits one worker with a budget of 64.0 GiB" in shoal(*words, "64GiB").out
    assert "it fits no worker with a budget of 10.0 MiB: one replica needs" in shoal(*words, "10MiB").out
    one = size_of(points=1_000_000, dim=256, shards=4).replica
    shown = shoal(*words, f"{2 * one.memory + one.build}").out
    assert "it does not fit one worker" in shown
    assert "holds 2 of 4 replicas; 2 workers are needed" in shown


@settings(max_examples=100)
@given(st.integers(1, 40), st.integers(1, 100), st.integers(0, 100), st.integers(0, 5_000), st.integers(1, 3))
def test_as_many_workers_as_hold_all_replicas_beside_a_build(shards, memory, build, budget, copies):
    replicas = shards * copies
    fit = fitting(estimated(replicas, memory, build), budget, copies=copies)
    held = 0
    while held < replicas and (held + 1) * memory + build <= budget:
        held += 1
    assert fit["replicas_a_worker"] == held
    assert fit["workers"] == (None if held == 0 else max(copies, math.ceil(replicas / held)))
    assert fit["fits"] == (held == replicas and copies == 1)


@pytest.mark.parametrize(
    ("text", "size"),
    [("1", 1), ("512MiB", 512 * MIB), ("8G", 8 * 1024**3), ("1.5 TB", int(1.5 * 1024**4)), (" 2kb ", 2048), ("3b", 3)],
)
def test_sizes_as_people_write_them(text, size):
    assert bytes_of(text) == size


@pytest.mark.parametrize("text", ["", "0", "-1", "much", "1.", "8 QiB", "1e9", "8iB", "0.1", "9" * 33])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(typer.BadParameter, match="512MiB"):
        bytes_of(text)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--points", 9, "--dim", 0], 1),
        (["--points", 9, "--dim", 4, "--index", "bogus"], 1),
        (["--points", 9, "--dim", 4, "--payload-bytes", "inf"], 1),
        (["--points", 9, "--dim", 4, "--payload-bytes", "1e308"], 1),
        (["--points", "9" * 401, "--dim", 4], 1),
        (["--points", 9], 2),
        (["--points", 9, "--dim", 4, "--memory", "x"], 2),
    ],
)
def test_errors_are_one_line(shoal, words, code):
    ended = shoal("size", *words)
    assert (ended.code, ended.out, len(ended.err.splitlines())) == (code, "", 1)


def test_several_vectors_take_what_each_takes_and_the_points_an_index_of_their_own(shoal):
    words = ("size", "--points", 200_000, "--payload-bytes", 50, "--json")
    both = shoal(*words, "--vector", "image=512,hnsw", "--vector", "text=384", "--index", "flat").document["replica"]
    image = shoal(*words, "--dim", 512, "--index", "hnsw").document["replica"]
    text = shoal(*words, "--dim", 384, "--index", "flat").document["replica"]
    points = shoal(*words, "--dim", 1, "--index", "flat").document["replica"]
    for part in ("index", "tables", "payloads", "growing", "segments"):
        assert both[part] == image[part] + text[part] + points[part], part
    assert both["build"] == max(image["build"], text["build"])
    assert both["store"] == shoal(*words, "--dim", 1 + 512 + 384).document["replica"]["store"]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((), 2, "give --dim for one vector without a name, or --vector"),
        (("--dim", 4, "--vector", "a=4"), 2, "give --dim for one vector"),
        (("--vector", "a=0"), 1, "dim of vector 'a' is 0"),
        (("--vector", "a=65000", "--vector", "b=65000"), 1, "130000 dimensions together"),
        (("--vector", "a=4,hsnw"), 1, "hsnw"),
    ],
)
def test_vectors_that_no_collection_can_have_are_refused(shoal, words, code, said):
    ended = shoal("size", "--points", 10, *words)
    assert (ended.code, ended.out) == (code, "")
    assert said in " ".join(ended.err.split())
