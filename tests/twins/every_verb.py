"""Every verb of a client, in an order in which each has something to do. Scroll is the last one but one."""

from __future__ import annotations

from typing import Any

from shoal import Dense, Text

SCRIPT: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("create_collection", ("c", 2), {"shards": 2}),
    ("create_collection", ("c", 2), {"exist_ok": True}),
    ("collection_exists", ("c",), {}),
    ("collection_exists", ("none",), {}),
    ("upsert", ("c", [3, "b", 1], [[0, 0], [0, 2], [3, 0]], [{"t": "x"}, None, {}]), {}),
    ("upsert_batches", ("c", [([7], [[5, 5]]), ([8], [[6, 6]], [{"n": 8}])]), {}),
    ("search", ("c", [0, 0]), {"k": 2}),
    ("search_many", ("c", [[0, 0], [3, 0]]), {"k": 1, "with_vectors": True}),
    ("search_many", ("c", [[0, 0], [3, 0]]), {"k": [1, 2], "filter": [{"t": "x"}, None]}),
    ("search", ("c", [0, 0]), {"radius": 9.0, "filter": {"n": 8}, "recall": 0.9, "explain": True}),
    ("alter_collection", ("c",), {"text": {"t": {"kind": "auto", "stem": "none"}}, "search_defaults": {"fusion": "rrf"}}),
    ("search", ("c",), {"text": "x", "highlight": True, "explain": True, "group_by": "t"}),
    ("search", ("c", [0, 0]), {"text": "x", "k": 2, "offset": 1, "threshold": 0.001, "fusion": "rrf", "c": 10, "allow_partial": True}),
    ("search", ("c",), {"legs": [Dense([3, 0], weight=0.25), Text("x", fields={"t": 2}, must=["x"], match="all")], "diversity": 0.5}),
    ("search_many", ("c", [[0, 0], [3, 0]]), {"text": ["x", "y"], "k": [1, 2], "filter": [None, {"t": "x"}], "candidates": 7}),
    ("alter_collection", ("c",), {"index": "flat", "recall": 0.5}),
    ("alter_collection", ("c",), {"replicas": 3, "min_isr": 3}),
    ("recover_shard", ("c", 1), {"worker": "w2"}),
    ("recover_shard", ("c", 1), {"accept_data_loss": True, "reason": "why"}),
    ("audit", (5,), {}),
    ("tune", ("c",), {"k": 5}),
    ("measure_recall", ("c",), {"sample": 7}),
    ("get", ("c", ["b", 99, 3]), {}),
    ("count", ("c",), {"consistency": "primary"}),
    ("set_payload", ("c", {"n": 8, "author": {"name": "x"}}), {"ids": [8, "b", 99, 8]}),
    ("set_payload", ("c", {"n": 9}), {"filter": {"author.name": "x"}}),
    ("set_payload", ("c", {"n": 8}), {"ids": [8, 7], "filter": {"n": 9}}),
    ("delete_payload", ("c", ["author.name", "none"]), {"filter": {"n": {"$exists": True}}}),
    ("replace_payload", ("c", {"t": "y"}), {"ids": [3]}),
    ("update_vectors", ("c", [7, "none"], [[5, 6], [0, 1]]), {}),
    ("get", ("c", [1, 3, 7, 8, "b"]), {"with_vectors": True}),
    ("delete", ("c", ["b", 99]), {}),
    ("delete", ("c",), {"filter": {"n": 8}}),
    ("clear", ("c",), {}),
    ("upsert", ("c", [1, 2], [[0, 0], [0, 2]]), {}),
    ("list_collections", (), {}),
    ("describe_collection", ("c",), {}),
    ("optimize", ("c",), {}),
    ("cluster", (), {}),
    ("scroll", ("c",), {"batch": 2, "filter": {"t": {"$exists": False}}}),
    ("drop_collection", ("c",), {}),
]
