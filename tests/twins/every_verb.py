"""Every verb of a client, in an order in which each has something to do. Scroll is the last one but one."""

from __future__ import annotations

from typing import Any

SCRIPT: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("create_collection", ("c", 2), {"shards": 2}),
    ("upsert", ("c", [3, "b", 1], [[0, 0], [0, 2], [3, 0]], [{"t": "x"}, None, {}]), {}),
    ("upsert_batches", ("c", [([7], [[5, 5]]), ([8], [[6, 6]], [{"n": 8}])]), {}),
    ("search", ("c", [0, 0]), {"k": 2}),
    ("search_many", ("c", [[0, 0], [3, 0]]), {"k": 1, "with_vectors": True}),
    ("search_many", ("c", [[0, 0], [3, 0]]), {"k": [1, 2], "filter": [{"t": "x"}, None]}),
    ("search", ("c", [0, 0]), {"radius": 9.0, "filter": {"n": 8}, "recall": 0.9, "explain": True}),
    ("alter_collection", ("c",), {"index": "flat", "recall": 0.5}),
    ("alter_collection", ("c",), {"replicas": 3, "min_isr": 3}),
    ("recover_shard", ("c", 1), {"worker": "w2"}),
    ("recover_shard", ("c", 1), {"accept_data_loss": True, "reason": "why"}),
    ("audit", (5,), {}),
    ("tune", ("c",), {"k": 5}),
    ("measure_recall", ("c",), {"sample": 7}),
    ("get", ("c", ["b", 99, 3]), {}),
    ("count", ("c",), {"consistency": "primary"}),
    ("delete", ("c", ["b", 99]), {}),
    ("delete", ("c",), {"filter": {"n": 8}}),
    ("list_collections", (), {}),
    ("describe_collection", ("c",), {}),
    ("optimize", ("c",), {}),
    ("cluster", (), {}),
    ("scroll", ("c",), {"batch": 2, "filter": {"t": {"$exists": False}}}),
    ("drop_collection", ("c",), {}),
]
