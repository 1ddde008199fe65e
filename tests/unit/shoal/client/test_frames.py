"""What pandas, polars and torch hold, as ids, vectors, payloads and queries."""

import datetime
import json
import subprocess
import sys
import types
import uuid

import numpy as np
import pytest

from shoal.core.errors import InvalidArgument
from tests.twins.router_answers import DictCluster, client_with


@pytest.fixture
def client():
    with client_with(DictCluster()) as made:
        made.create_collection("c", dim=2)
        yield made


def held(client):
    points = client.mock.answer.points["c"]
    return {at: (vector.tolist(), None if text is None else json.loads(text)) for at, (vector, text) in points.items()}


@pytest.fixture
def pandas():
    return pytest.importorskip("pandas")


def test_a_frame_of_pandas_is_written_by_columns(client, pandas):
    frame = pandas.DataFrame(
        {
            "id": [7, 8],
            "vector": [[1.0, 2.0], np.array([3, 4])],
            "title": ["x", None],
            "price": [1.5, float("nan")],
            "at": pandas.to_datetime(["2024-02-29T12:30:00+01:00", None]),
            "count": pandas.array([3, None], "Int64"),
        }
    )
    assert client.upsert("c", frame["id"], frame["vector"], frame[["title", "price", "at", "count"]]) == 2
    assert held(client) == {
        7: ([1, 2], {"title": "x", "price": 1.5, "at": "2024-02-29T11:30:00.000000Z", "count": 3}),
        8: ([3, 4], {"title": None, "price": None, "at": None, "count": None}),
    }
    assert [point.id for point in client.get("c", frame["id"])] == [7, 8]
    assert client.count("c", {"$id": {"$in": frame["id"]}}) == 2
    assert client.count("c", {"title": {"$in": frame["title"].dropna()}, "at": frame["at"][0]}) == 1


def test_numbers_of_a_frame_are_vectors_and_queries(client, pandas):
    numbers = pandas.DataFrame({"a": [1, 2], "b": [0.5, 4]}, index=["one", "two"])
    client.upsert("c", numbers.index, numbers)
    assert held(client) == {"one": ([1, 0.5], None), "two": ([2, 4], None)}
    assert [hits[0].id for hits in client.search_many("c", numbers, k=1)] == ["one", "two"]
    assert client.search("c", numbers.loc["two"], k=1)[0].id == "two"


def test_bad_frames_are_refused_by_place(client, pandas):
    with pytest.raises(InvalidArgument, match=r"vectors\[1\]"):
        client.upsert("c", [1, 2], pandas.Series([[1, 2], [3]]))
    with pytest.raises(InvalidArgument, match="vectors"):
        client.upsert("c", [1, 2], pandas.DataFrame({"a": [True, False], "b": [False, True]}))
    with pytest.raises(InvalidArgument, match=r"ids\[1\] must be an int or a string, not float"):
        client.upsert("c", pandas.Series([1, 2.5], dtype=object), [[0, 0], [1, 1]])
    twice = pandas.DataFrame([[1, 2]], columns=["x", "x"])
    with pytest.raises(InvalidArgument, match="two columns named 'x'"):
        client.upsert("c", [1], [[0, 0]], twice)
    with pytest.raises(InvalidArgument, match="2 payloads are given for 1 ids"):
        client.upsert("c", [1], [[0, 0]], pandas.DataFrame({"x": [1, 2]}))
    assert held(client) == {}


class StandInTensor:
    """Behaves as a tensor of torch on a device, with a gradient. numpy may not read it as it is."""

    def __init__(self, held, dtype="torch.float32", at=("device", "gradient")):
        self.held, self.dtype, self.at = np.asarray(held), dtype, at

    def detach(self):
        return StandInTensor(self.held, self.dtype, tuple(each for each in self.at if each != "gradient"))

    def cpu(self):
        return StandInTensor(self.held, self.dtype, tuple(each for each in self.at if each != "device"))

    def float(self):
        return StandInTensor(self.held.astype(np.float32), "torch.float32", self.at)

    def numpy(self):
        if self.at or self.dtype == "torch.bfloat16":
            raise TypeError("can't convert")
        return self.held

    __array__ = numpy


StandInTensor.__module__ = "torch"


@pytest.mark.parametrize("dtype", ["torch.float32", "torch.bfloat16"])
def test_tensors_of_any_device_are_vectors_ids_and_queries(client, dtype):
    client.upsert("c", StandInTensor([5, 6], "torch.int64"), StandInTensor([[1, 2], [3, 4]], dtype))
    assert held(client) == {5: ([1, 2], None), 6: ([3, 4], None)}
    assert client.search("c", StandInTensor([3.0, 4.0], dtype), k=1)[0].id == 6
    assert client.search_many("c", StandInTensor([[3.0, 4.0]], dtype), k=1)[0][0].id == 6


def test_a_frame_of_polars_gives_its_rows_and_a_series_its_values(client):
    class Series:
        __module__ = "polars.series.series"

        def to_list(self):
            return ["a", "b"]

    class DataFrame:
        __module__ = "polars.dataframe.frame"
        columns = ("x",)

        def to_dicts(self):
            return [{"x": 1}, {"x": None}]

    client.upsert("c", Series(), [[0, 0], [1, 1]], DataFrame())
    assert held(client) == {"a": ([0, 0], {"x": 1}), "b": ([1, 1], {"x": None})}


def test_payloads_come_from_any_ordered_iterable(client):
    client.upsert("c", [1, 2], [[0, 0], [1, 1]], ({"n": at} for at in range(2)))
    client.upsert("c", [3], [[0, 0]], {"x": {"n": 9}}.values())
    assert {at: payload for at, (_, payload) in held(client).items()} == {1: {"n": 0}, 2: {"n": 1}, 3: {"n": 9}}


def _endless():
    while True:
        yield {}


@pytest.mark.parametrize(
    ("payloads", "said"),
    [
        (_endless(), "more than 1 payloads are given for 1 ids"),
        (iter(()), "0 payloads are given for 1 ids"),
        (types.MappingProxyType({}), "not mappingproxy"),
        (frozenset(), "not frozenset"),
        (5, "not int"),
        (iter([{"a": object()}]), r"payloads\[0\].a is a object"),
    ],
)
def test_payloads_that_do_not_fit_are_refused(client, payloads, said):
    with pytest.raises(InvalidArgument, match=said):
        client.upsert("c", [1], [[0, 0]], payloads)


def test_uuids_are_ids_and_values(client):
    one = uuid.UUID(int=1)
    client.upsert("c", [one], [[0, 0]], [{"of": one, "on": datetime.date(2024, 1, 2)}])
    assert held(client) == {str(one): ([0, 0], {"of": str(one), "on": "2024-01-02"})}
    assert [point.id for point in client.get("c", [one])] == [str(one)]
    assert client.delete("c", filter={"of": one}) == 1


def test_none_of_them_is_imported():
    code = "import sys, shoal; shoal.connect('a:1'); print([name for name in ('pandas', 'polars', 'torch') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
