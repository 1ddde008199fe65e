import gzip

import pytest

from shoal.cli import point_files
from tests.twins.router_answers import client_with
from tests.unit.shoal.cli.files import held, refusal

TEXT = """id,vector,title,year,price,zip,sold,none
1,"[0, 1]","a ""b""
c",1999,1.5,007,true,
x,"[2.5,3]",é,-3,1e2,,false,
"""


@pytest.fixture
def filled(shoal):
    with client_with(shoal.cluster) as client:
        client.create_collection("c", dim=2)
    return shoal


@pytest.fixture
def written(tmp_path):
    def write(text, name="p.csv"):
        (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
        return tmp_path / name

    return write


POINTS = {
    1: ([0, 1], {"title": 'a "b"\nc', "year": 1999, "price": 1.5, "zip": "007", "sold": True}),
    "x": ([2.5, 3], {"title": "é", "year": -3, "price": 100.0, "sold": False}),
}


@pytest.mark.parametrize(
    ("name", "data"),
    [("p.csv", TEXT.encode()), ("p.csv.gz", gzip.compress(TEXT.encode())), ("P.CSV", b"\xef\xbb\xbf" + TEXT.encode())],
)
def test_cells_become_ids_vectors_and_payloads(filled, written, monkeypatch, name, data):
    monkeypatch.setattr(point_files, "BATCH_POINTS", 1)
    assert filled("import", written(data, name), "--collection", "c").code == 0
    assert held(filled) == POINTS


def test_the_standard_input_and_named_columns(filled):
    text = 'key,embedding,meta\r\n7,"[1,2]","{""a"": [1]}"\r\n\r\n8,"[1,2]",\r\n'
    words = ["--format", "csv", "--id", "key", "--vector", "embedding", "--payload", "meta"]
    assert filled("import", "-", "--collection", "c", *words, typed=text).code == 0
    assert held(filled) == {7: ([1, 2], {"a": [1]}), 8: ([1, 2], None)}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('id,vector\n1,"[0,1]"\n2\n', "line 3 has 1 cells, the first line names 2 columns"),
        ('id,vector\n1,"[0,1"\n', "line 2: column 'vector' is not JSON"),
        ("id,vector\n1,\n", "line 2: column 'vector' is not JSON"),
        ('id,vector\n1,"[0,1]\n', "is not CSV"),
        ('id,id\n1,"[0,1]"\n', "line 1 names the column 'id' twice"),
        ('name,vector\n1,"[0,1]"\n', "line 2 has no column 'id' (it has: name, vector)"),
        ('id,vector,payload\n1,"[0,1]",5\n', "column 'payload' must be an object or null, not int"),
        ("id,vector\n", "holds no points"),
        ('id,vector\n"","[0,1]"\n', "0 bytes"),
    ],
)
def test_bad_files_are_refused_by_line(filled, written, text, said):
    assert said in refusal(filled, written(text))
    assert held(filled) == {}
