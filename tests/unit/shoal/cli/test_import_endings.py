"""Test imports that cannot go on: they end with one line, the right exit code, and how far they came."""

import os
from contextlib import contextmanager

import numpy as np
import pytest

from shoal.cli import point_files
from shoal.core.requests import Upsert
from tests.twins.router_answers import client_with
from tests.unit.shoal.cli.files import held, jsonl, npy, refusal


@pytest.fixture
def filled(shoal):
    with client_with(shoal.cluster) as client:
        client.create_collection("c", dim=2)
    return shoal


LINES = "".join(f'{{"id": {at}, "vector": [{at}, 0]}}\n' for at in range(10))


def test_lines_come_from_the_standard_input(filled, monkeypatch):
    monkeypatch.setattr(point_files, "BATCH_POINTS", 3)
    ended = filled("import", "-", "--format", "jsonl", "--collection", "c", typed=LINES)
    assert (ended.code, ended.err) == (0, "")
    assert held(filled) == {at: ([at, 0], None) for at in range(10)}


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (LINES + '{"id": 10, "vec\n', "stdin line 11 is not JSON"),
        (LINES + '{"id": 10, "vector": [1]}\n', "stdin line 11: its vector has 1 numbers"),
        (LINES + '{"id": 10, "vector": [1, NaN]}\n', "stdin line 11: vectors[1] holds NaN"),
    ],
)
def test_a_bad_line_of_the_standard_input_is_named(filled, monkeypatch, typed, words):
    monkeypatch.setattr(point_files, "BATCH_POINTS", 3)
    ended = filled("import", "-", "--format", "jsonl", "--collection", "c", typed=typed)
    assert (ended.code, len(ended.err.splitlines())) == (1, 1)
    assert words in ended.err
    assert "the first 9 rows are imported; run it again to go on" in ended.err
    assert sorted(held(filled)) == list(range(9))


@pytest.mark.parametrize("words", [[], ["--format", "npy"], ["--format", "parquet"]])
def test_the_standard_input_must_be_said_to_be_lines(filled, words):
    ended = filled("import", "-", "--collection", "c", *words, typed=LINES)
    assert (ended.code, len(ended.err.splitlines())) == (2, 1)
    assert "say --format jsonl; try `shoal import --help`" in ended.err


def test_an_empty_standard_input_holds_no_points(filled):
    ended = filled("import", "-", "--format", "jsonl", "--collection", "c", typed="")
    assert (ended.code, "the file holds no points" in ended.err) == (1, True)


@contextmanager
def somebody_else():
    """Become user 65534 within the context if this process is root, because root may read everything."""
    if os.geteuid():
        yield
        return
    os.seteuid(65_534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("name", ["x.npy", "x.fvecs", "x.jsonl"])
def test_files_that_may_not_be_read(filled, tmp_path, name):
    file = tmp_path / name
    file.touch(mode=0)
    with somebody_else():
        said = refusal(filled, file)
    assert f"{file}: Permission denied; " in said


@pytest.mark.parametrize("name", ["d.npy", "d.fvecs", "d.bvecs", "d.jsonl"])
def test_folders_are_no_files(filled, tmp_path, name):
    (tmp_path / name).mkdir()
    assert f"{name}: Is a directory; " in refusal(filled, tmp_path / name)


@pytest.mark.parametrize("name", ["a.npy", "a.fvecs", "a.bvecs", "a.jsonl"])
def test_missing_files(filled, tmp_path, name):
    assert f"{name}: No such file or directory; correct the input and try again" in refusal(filled, tmp_path / name)


def test_lines_that_end_in_the_middle_are_named(filled, tmp_path):
    file = jsonl(tmp_path, {"id": 0, "vector": [0, 0]}, {"id": 1, "vector": [0, 0]})
    file.write_bytes(file.read_bytes()[:-9])
    assert "p.jsonl line 2 is not JSON" in refusal(filled, file)
    assert held(filled) == {}


def test_ctrl_c_in_the_middle_says_how_far_it_came(filled, tmp_path, monkeypatch):
    monkeypatch.setattr(point_files, "BATCH_POINTS", 4)
    real = filled.cluster

    def interrupted(address, request, timeout_s):
        if isinstance(request, Upsert) and 9 in request.points.ids.tolist():
            raise KeyboardInterrupt
        return real(address, request, timeout_s)

    monkeypatch.setattr(filled, "answer", interrupted)
    ended = filled("import", npy(tmp_path, np.zeros((12, 2))), "--collection", "c")
    assert (ended.code, ended.out) == (130, "")
    assert ended.err.strip() == "error: interrupted, the first 8 rows are imported; run it again to go on, nothing is done twice"
    assert filled.clients[-1].mock.closed
