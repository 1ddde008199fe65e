import json

import pytest

from shoal.core.errors import DataLoss
from shoal.core.requests import Scroll
from tests.twins.router_answers import client_with

POINTS = {at: ([at / 3, 1.5], {"t": "é\n", "n": [at, None]} if at % 2 else None) for at in range(2_500)}


@pytest.fixture
def filled(shoal):
    with client_with(shoal.cluster) as client:
        client.create_collection("c", dim=2)
        client.create_collection("d", dim=2)
        client.upsert("c", list(POINTS), [vector for vector, _ in POINTS.values()], [payload for _, payload in POINTS.values()])
    return shoal


def points_of(shoal, name):
    with client_with(shoal.cluster) as client:
        return {point.id: (point.vector.tolist(), point.payload) for point in client.scroll(name, with_vectors=True)}


@pytest.mark.parametrize("name", ["p.jsonl", "p.ndjson.gz", "P.JSONL.GZ", "p.parquet"])
def test_what_is_exported_is_imported_as_it_was(filled, tmp_path, name):
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    ended = filled("export", "c", tmp_path / name, "--json")
    assert (ended.code, ended.document["points"], ended.document["collection"]) == (0, 2_500, "c")
    assert filled("import", tmp_path / name, "--collection", "d").code == 0
    assert points_of(filled, "d") == points_of(filled, "c")
    assert [each.name for each in tmp_path.iterdir()] == [name]


def test_a_filter_chooses_points_and_ids_keep_their_kind(filled, tmp_path):
    with client_with(filled.cluster) as client:
        client.upsert("d", ["7", 7], [[0, 0], [1, 1]], [{"x": 1}, {"x": 2}])
    assert "exported 2 points of d into" in filled("export", "d", tmp_path / "p.jsonl").out
    assert [json.loads(line)["id"] for line in (tmp_path / "p.jsonl").read_text().splitlines()] == [7, "7"]
    assert "exported 1 point of d" in filled("export", "d", tmp_path / "q.jsonl", "--filter", "x=1").out


def test_ids_of_both_kinds_do_not_go_into_one_parquet_column(filled, tmp_path):
    pytest.importorskip("pyarrow")
    with client_with(filled.cluster) as client:
        client.upsert("c", ["x"], [[0, 0]])
    ended = filled("export", "c", tmp_path / "p.parquet")
    assert (ended.code, list(tmp_path.iterdir())) == (1, [])
    assert "ids that are integers and ids that are texts" in ended.err
    with client_with(filled.cluster) as client:
        client.upsert("d", ["x"], [[0, 0]])
    assert filled("export", "d", tmp_path / "texts.parquet").code == 0


def test_an_empty_collection_is_a_whole_file(filled, tmp_path):
    pytest.importorskip("pyarrow")
    for name in ("p.jsonl.gz", "p.parquet"):
        assert "exported 0 points" in filled("export", "d", tmp_path / name).out
        assert "holds no points" in filled("import", tmp_path / name, "--collection", "d").err


def test_a_file_that_exists_is_kept_unless_it_may_be_replaced(filled, tmp_path):
    file = tmp_path / "p.jsonl"
    file.write_text("mine")
    ended = filled("export", "c", file)
    assert (ended.code, file.read_text()) == (1, "mine")
    assert "pass --force" in ended.err
    assert filled("export", "c", file, "--force").code == 0
    assert len(file.read_text().splitlines()) == 2_500


def test_after_an_error_nothing_is_left(filled, tmp_path, monkeypatch):
    answer = filled.answer

    def failing(address, request, timeout_s):
        if isinstance(request, Scroll) and request.after is not None:
            raise DataLoss("damaged")
        return answer(address, request, timeout_s)

    monkeypatch.setattr(filled, "answer", failing)
    ended = filled("export", "c", tmp_path / "p.jsonl")
    assert (ended.code, list(tmp_path.iterdir())) == (1, [])
    assert "damaged" in ended.err


def test_bad_names_are_refused(filled, tmp_path):
    assert "this version exports .jsonl" in filled("export", "c", tmp_path / "p.csv").err
    assert "does not exist" in filled("export", "none", tmp_path / "p.jsonl").err
    assert "the system refuses" in filled("export", "c", tmp_path / "none" / "p.jsonl").err
    assert list(tmp_path.iterdir()) == []
