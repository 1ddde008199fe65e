import html
import json
import re

import numpy as np
import pytest

import shoal
from shoal.client.fused_results import FusedHit
from shoal.client.results import LegHit
from shoal.core.collection import CollectionSpec
from shoal.core.health import ShardCondition, WorkerCondition
from shoal.core.notebook import Rows, html_table
from shoal.core.replies import ClusterInfo, CollectionInfo, ShardInfo, WorkerInfo
from tests.twins.router_answers import DictCluster, client_with
from tests.twins.router_bytes import bytes_client_with


@pytest.mark.parametrize("make", [client_with, bytes_client_with])
def test_hits_are_a_table_of_ids_scores_and_fields(make):
    with make(DictCluster()) as client:
        client.create_collection("c", dim=2)
        client.upsert("c", [1, "b", 3], [[0, 0], [1, 0], [3, 0]], [{"t": "<b>&", "n": {"a": [1]}}, None, {"m": 1.5}])
        shown = client.search("c", np.zeros(2, np.float32))._repr_html_()
    cells = [re.findall(r"<t[hd]>(.*?)</t[hd]>", row) for row in re.findall("<tr>(.*?)</tr>", shown)]
    assert cells == [
        ["id", "score", "t", "n", "m"],
        ["1", "0", "&lt;b&gt;&amp;", "{&quot;a&quot;: [1]}", ""],
        ["b", "1", "", "", ""],
        ["3", "9", "", "", "1.5"],
    ]


def test_long_tables_and_texts_are_cut():
    shown = html_table(["<x>"], ([f"{at:>300}"] for at in range(250)), 250)
    assert (shown.count("<tr>"), shown.count("...")) == (101, 100)
    assert shown.endswith("<p>150 more</p>")
    assert "<th>&lt;x&gt;</th>" in shown
    assert "<tbody></tbody>" in shoal.Hits()._repr_html_()


EVIL = "<script>alert('x')</script>"


def cells_of(shown):
    return [re.findall(r"<t[hd]>(.*?)</t[hd]>", row) for row in re.findall("<tr>(.*?)</tr>", shown)]


@pytest.fixture
def client():
    with client_with(DictCluster()) as made:
        made.create_collection("c", dim=6, text={"body": "auto"})
        made.upsert("c", [1, EVIL], np.arange(12.0).reshape(2, 6), [{"body": EVIL, EVIL: [EVIL], "id": 9}, {"body": None, "none": None}])
        yield made


def test_points_are_a_table_and_texts_of_users_are_only_texts(client):
    points = client.get("c", [1, EVIL], with_vectors=True)
    assert isinstance(points, list)
    assert cells_of(points._repr_html_()) == [
        ["id", "body", html.escape(EVIL), "payload.id", "vector"],
        ["1", html.escape(EVIL), html.escape(json.dumps([EVIL])), "9", "[0, 1, 2, 3, ...] (6)"],
        [html.escape(EVIL), "", "", "", "[6, 7, 8, 9, ...] (6)"],
    ]
    read = shoal.Points(client.scroll("c"))
    assert cells_of(read._repr_html_())[0] == ["id", "body", html.escape(EVIL), "payload.id"]
    for shown in (points, read, client.search("c", np.zeros(6), with_vectors=True), client.list_collections()):
        assert "<script" not in shown._repr_html_()


def test_collections_are_a_table_without_columns_that_say_nothing(client):
    client.create_collection("d", dim=2, metric="cosine")
    shown = cells_of(client.list_collections()._repr_html_())
    assert shown[0] == ["id", "name", "dim", "metric", "shards", "replicas", "index", "recall", "min_isr_set", "text", "state"]
    assert shown[1][1:10] == ["c", "6", "l2", "1", "1", "auto", "0.95", "0", "body"]
    assert shown[2][1:10] == ["d", "2", "cosine", "1", "1", "auto", "0.95", "0", ""]
    assert "<tbody></tbody>" in Rows()._repr_html_()


def test_one_collection_and_the_cluster_are_tables():
    info = CollectionInfo(id="7", spec=CollectionSpec(name="c", dim=3), state="active", points=1_234, waiting=EVIL)
    told = dict(cells_of(info._repr_html_())[1:])
    assert (told["name"], told["points"], told["waiting"]) == ("c", "1234", html.escape(EVIL))
    assert "text" not in told
    worker = WorkerInfo(id="w1", address="a:1", pid=5, node=EVIL, zone="", state=WorkerCondition.UP, memory=7)
    shard = ShardInfo(
        collection="c", shard=0, term=3, primary="w1", isr=("w1", "w2"), learners=(), state=ShardCondition.OK, detail="", replicas=()
    )
    shown = ClusterInfo(cluster_id="x", leader=None, workers=(worker,), shards=(shard,))._repr_html_()
    workers, shards = (cells_of(table) for table in shown.split("</table>")[:2])
    assert dict(zip(*workers, strict=True))["node"] == html.escape(EVIL)
    assert dict(zip(*shards, strict=True))["isr"] == "w1, w2"
    assert "learners" not in shards[0]


def test_hits_of_several_legs_tell_rank_and_score_of_each():
    hits = shoal.Hits([FusedHit(1, 0.75, {"t": EVIL}, legs={"dense": LegHit(1, 0.5), EVIL: LegHit(2, 3.25)}), FusedHit(2, 0.5)])
    assert cells_of(hits._repr_html_()) == [
        ["id", "score", "leg dense", f"leg {html.escape(EVIL)}", "t"],
        ["1", "0.75", "1. (0.5)", "2. (3.25)", html.escape(EVIL)],
        ["2", "0.5", "", "", ""],
    ]
