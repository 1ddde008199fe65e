"""Ray Data on a real Ray and a real cluster: the sink and its promises, collections as datasets, the example."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
import ray
import ray.data

import shoal
import shoal.ray
from examples import ray_folder
from tests.support.cluster.local_ray import local_ray
from tests.support.cluster.role_cluster import PATIENCE_S, RoleCluster, wait_until
from tests.support.repository import ROOT

ROWS, DIM, LABELS = 3_000, 8, 5

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module", autouse=True)
def running() -> Iterator[None]:
    with local_ray():
        yield


@pytest.fixture
def name(client: shoal.Client) -> Iterator[str]:
    """Yield the name of an empty collection of two shards."""
    made = f"ray-{uuid.uuid4().hex[:8]}"
    client.create_collection(made, dim=DIM, shards=2)
    yield made
    client.drop_collection(made)


def vectors(count: int = ROWS) -> np.ndarray:
    return np.random.default_rng(3).standard_normal((count, DIM)).astype(np.float32)


def table(count: int = ROWS) -> Any:
    return pyarrow.table(
        {
            "key": np.arange(count),
            "emb": pyarrow.FixedSizeListArray.from_arrays(vectors(count).ravel(), DIM),
            "label": np.arange(count) % LABELS,
            "title": [f"row {number}" for number in range(count)],
        }
    )


def dataset(count: int = ROWS, blocks: int = 6) -> Any:
    return ray.data.from_arrow(table(count)).repartition(blocks)


def sink_of(cluster: RoleCluster, name: str, **options: Any) -> shoal.ray.Sink:
    return shoal.ray.Sink(cluster.address, name, **{"id": "key", "vector": "emb", **options})


def by_id(rows: Iterable[Any]) -> dict[Any, Any]:
    listed = list(rows)
    found = {row["id"]: row for row in listed}
    assert len(found) == len(listed), "a point came twice"
    return found


def test_a_dataset_is_written_and_comes_back(shared_cluster: RoleCluster, client: shoal.Client, name: str) -> None:
    sink = sink_of(shared_cluster, name)
    dataset().write_datasink(sink)
    assert sink.result is not None
    assert (sink.result.points, sink.result.rows) == (ROWS, ROWS)
    assert client.count(name) == ROWS
    (point,) = client.get(name, [7])
    assert point.payload == {"label": 2, "title": "row 7"}
    assert np.array_equal(point.vector, vectors()[7])

    columns = {"label": pyarrow.int64(), "title": pyarrow.string()}
    back = shoal.ray.read(shared_cluster.address, name, columns=columns, parallelism=4, batch=100)
    found = by_id(back.iter_rows())
    assert sorted(found) == list(range(ROWS))
    assert found[2_999]["title"] == "row 2999"
    assert np.array_equal(np.stack([found[number]["vector"] for number in range(ROWS)]), vectors())

    some = shoal.ray.read(shared_cluster.address, name, {"label": 3}, with_vectors=False)
    rows = by_id(some.iter_rows())
    assert sorted(rows) == list(range(3, ROWS, LABELS))
    assert rows[3] == {"id": 3, "payload": '{"label": 3, "title": "row 3"}'}


def test_named_vectors_are_written_come_back_and_are_written_elsewhere(
    shared_cluster: RoleCluster, client: shoal.Client, name: str
) -> None:
    first, second = f"{name}-named", f"{name}-again"
    for each in (first, second):
        client.create_collection(each, vectors={"image": DIM, "title": 2}, shards=2)
    titles = [None if at % 3 else [float(at), 1.0] for at in range(300)]
    given = ray.data.from_arrow(table(300).append_column("words", pyarrow.array(titles))).repartition(4)
    sink = sink_of(shared_cluster, first, vector={"image": "emb", "title": "words"})
    given.write_datasink(sink)
    assert sink.result is not None
    assert sink.result.points == 300
    back = shoal.ray.read(shared_cluster.address, first, parallelism=3)
    back.write_datasink(shoal.ray.Sink(shared_cluster.address, second, vector={"image": "image", "title": "title"}, payload="payload"))
    for each in (first, second):
        points = {point.id: point for point in client.scroll(each, with_vectors=True)}
        assert sorted(points) == list(range(300))
        for at, vector in enumerate(vectors(300)):
            assert list(points[at].vector) == (["image"] if at % 3 else ["image", "title"])
            assert np.array_equal(points[at].vector["image"], vector)
        assert points[6].vector["title"].tolist() == [6.0, 1.0]
        assert points[7].payload == {"label": 2, "title": "row 7"}
        client.drop_collection(each)


def test_what_was_read_can_be_written_elsewhere(shared_cluster: RoleCluster, client: shoal.Client, name: str) -> None:
    ids = [1, 2, "a", str(uuid.UUID(int=9))]
    client.upsert(name, ids, vectors(4), [{"n": 1}, None, {"deep": {"a": [1, None]}}, {}])
    with pytest.raises(shoal.InvalidArgument, match=r"integers .* strings .*pass ids='string'"):
        shoal.ray.read(shared_cluster.address, name)
    back = shoal.ray.read(shared_cluster.address, name, ids="string", parallelism=3)
    other = f"{name}-copy"
    client.create_collection(other, dim=DIM)
    back.write_datasink(shoal.ray.Sink(shared_cluster.address, other, payload="payload"))
    points = client.get(other, ["1", "2", *ids[2:]])
    assert [point.payload for point in points] == [{"n": 1}, None, {"deep": {"a": [1, None]}}, {}]
    assert np.array_equal(np.stack([point.vector for point in points]), vectors(4))
    client.drop_collection(other)


def test_a_bad_row_is_named_and_nothing_of_its_block_is_written(shared_cluster: RoleCluster, client: shoal.Client, name: str) -> None:
    def with_a_nan(batch: dict[str, Any]) -> dict[str, Any]:
        batch["emb"] = np.stack(batch["emb"])
        batch["emb"][batch["key"] == 1_234] = np.nan
        return batch

    bad = dataset(blocks=1).map_batches(with_a_nan, batch_size=None)
    sink = sink_of(shared_cluster, name)
    with pytest.raises(shoal.InvalidArgument, match=r"column 'emb', row 1234 of its block: vectors\[1234\] holds NaN") as caught:
        bad.write_datasink(sink)
    assert caught.value.details.index == 1_234
    assert (sink.result, client.count(name)) == (None, 0)
    with pytest.raises(shoal.InvalidArgument, match=r"row 0 of its block: payloads\[0\]\.emb"):
        dataset(50, 1).map_batches(lambda batch: {**batch, "other": np.stack(batch["emb"])}, batch_size=None).write_datasink(
            sink_of(shared_cluster, name, vector="other")
        )
    with pytest.raises(shoal.InvalidArgument, match="id: the dataset has no column 'missing'"):
        dataset(10, 1).write_datasink(sink_of(shared_cluster, name, id="missing"))
    assert client.count(name) == 0


def test_a_missing_collection_or_cluster_is_said_before_any_task_begins(shared_cluster: RoleCluster) -> None:
    with pytest.raises(shoal.NotFound, match="'nowhere' does not exist"):
        dataset(10, 1).write_datasink(sink_of(shared_cluster, "nowhere"))
    with pytest.raises(shoal.Unavailable):
        dataset(10, 1).write_datasink(shoal.ray.Sink("127.0.0.1:9", "things", id="key", vector="emb"))


def test_nothing_is_written_of_no_rows_and_the_schema_of_no_points_is_known(
    shared_cluster: RoleCluster, client: shoal.Client, name: str
) -> None:
    sink = sink_of(shared_cluster, name)
    dataset(10, 2).filter(expr=ray.data.expressions.col("key") < 0).write_datasink(sink)
    assert (sink.result is None or sink.result.points == 0, client.count(name)) == (True, 0)
    empty = shoal.ray.read(shared_cluster.address, name, columns={"label": pyarrow.int64()})
    assert empty.count() == 0
    before = empty.schema()
    client.upsert(name, [1], vectors(1), [{"label": 1}])
    after = shoal.ray.read(shared_cluster.address, name, columns={"label": pyarrow.int64()}).schema()
    assert (before.names, before.types) == (after.names, after.types)
    assert before.names == ["id", "vector", "label"]


class DyingSink(shoal.ray.Sink):
    """A sink whose first task is killed when it has written."""

    mark: str

    def write(self, blocks: Iterable[Any], ctx: Any) -> int:
        written = super().write(blocks, ctx)
        try:
            os.close(os.open(self.mark, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return written
        os.kill(os.getpid(), signal.SIGKILL)
        return written


def test_a_task_that_is_killed_runs_again_and_no_point_is_doubled(
    shared_cluster: RoleCluster, client: shoal.Client, name: str, tmp_path: Path
) -> None:
    sink = DyingSink(shared_cluster.address, name, id="key", vector="emb")
    sink.mark = str(tmp_path / "killed")
    dataset().write_datasink(sink)
    assert Path(sink.mark).exists()
    assert sink.result is not None
    assert (sink.result.points, client.count(name)) == (ROWS, ROWS)


def slow_second_half(mark: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return a step in which the second half of the rows waits for a file."""

    def wait(batch: dict[str, Any]) -> dict[str, Any]:
        deadline = time.monotonic() + PATIENCE_S
        while batch["key"].max() >= ROWS // 2 and not Path(mark).exists():
            assert time.monotonic() < deadline, "nobody made the file"
            time.sleep(0.02)
        return batch

    return wait


def test_a_worker_that_is_killed_meanwhile_costs_time_only(make_cluster: Callable[..., RoleCluster], tmp_path: Path) -> None:
    cluster, mark = make_cluster(workers=1, lease_ttl_s=2), tmp_path / "go-on"
    with shoal.connect(cluster.address, timeout=PATIENCE_S) as client:
        client.create_collection("things", dim=DIM, shards=2)
        sink = sink_of(cluster, "things")
        slow = dataset().map_batches(slow_second_half(str(mark)), batch_size=None)
        thread = threading.Thread(target=slow.write_datasink, args=(sink,), kwargs={"concurrency": 1})
        thread.start()
        wait_until(lambda: client.count("things") >= ROWS // 3, "the first half is being written")
        cluster.workers[0].kill()
        mark.touch()
        cluster.workers[0].start()
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
        assert sink.result is not None
        assert (sink.result.points, client.count("things")) == (ROWS, ROWS)


def test_a_collection_that_is_made_anew_is_not_read_instead(shared_cluster: RoleCluster, client: shoal.Client) -> None:
    name = f"anew-{uuid.uuid4().hex[:8]}"
    client.create_collection(name, dim=DIM)
    client.upsert(name, range(100), vectors(100))
    read = shoal.ray.read(shared_cluster.address, name)
    client.drop_collection(name)
    client.create_collection(name, dim=DIM)
    with pytest.raises(shoal.NotFound, match="was dropped, and made anew, while it was read"):
        read.take_all()
    client.drop_collection(name)
    with pytest.raises(shoal.NotFound, match="does not exist"):
        shoal.ray.read(shared_cluster.address, name)


def test_the_code_of_the_guide_runs(shared_cluster: RoleCluster, client: shoal.Client, capsys: pytest.CaptureFixture[str]) -> None:
    page = (ROOT / "docs/guide/ray-data.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {"__name__": "guide"}
    for block in re.findall(r"^```python\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL):
        exec(compile(block.replace("localhost:7600", shared_cluster.address), "ray-data.md", "exec"), names)
    assert capsys.readouterr().out == "1000\n660 ['id', 'vector', 'title']\n"
    client.drop_collection("films")


GUIDE = """# Scaling

## Adding a node

Run scale-out with a topology file. The new node takes shards until all nodes hold equally many.

# 备份与恢复

使用 br 工具备份整个集群的数据，并保存到对象存储。
"""


def test_the_example_loads_a_folder_and_answers(
    shared_cluster: RoleCluster, client: shoal.Client, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner/guide.md").write_text(GUIDE, encoding="utf-8")
    (tmp_path / "notes.txt").write_text("Cats sleep most of the day.\n\nDogs want to be walked.", encoding="utf-8")
    (tmp_path / "left-out.bin").write_bytes(b"\xff\x00")
    words = [str(tmp_path), "--address", shared_cluster.address, "--collection", "folder"]
    for _ in range(2):
        assert ray_folder.main([*words, "--ask", "adding a node"]) == 0
    first, found, *_ = capsys.readouterr().out.splitlines()
    assert first == "3 chunks are in folder"
    assert found.startswith("inner/guide.md, Scaling > Adding a node: Run scale-out with a topology file.")
    assert client.count("folder", {"file": "notes.txt"}) == 1
    assert client.count("folder") == 3
    client.drop_collection("folder")
    assert ray_folder.main([str(tmp_path), "--address", "127.0.0.1:9"]) == 1
    assert capsys.readouterr().err.startswith("error: ")
