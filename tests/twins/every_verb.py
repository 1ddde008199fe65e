"""Every verb of a client, in an order in which each has something to do, and the answers to them.

A verb of a group has a dot in its name. Verbs that iterate are answered by lists.
"""

from __future__ import annotations

import operator
from collections.abc import AsyncIterator, Iterator
from typing import Any

from shoal import AsyncClient, Client, Dense, Text
from tests.twins.balancing import PLAN

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
    ("create_collection", ("n",), {"vectors": {"image": 2, "text": {"dim": 3, "metric": "cosine", "index": "hnsw"}}}),
    ("create_collection", ("n",), {"vectors": {"image": 2, "text": {"dim": 3, "metric": "cosine"}}, "exist_ok": True}),
    ("upsert", ("n", [1, "b", 3], {"image": [[0, 0], None, [3, 0]], "text": [[1, 0, 0], [0, 1, 0], None]}, [{"t": "x"}, None, {}]), {}),
    ("upsert_batches", ("n", [([7], {"text": [[0, 0, 1]]}), ([8], {}, [{"t": "y"}])]), {}),
    ("update_vectors", ("n", [3, 7, "none"], {"image": [None, [7, 0], [1, 1]], "text": [[1, 1, 0], None, None]}), {}),
    ("get", ("n", [1, 3, 7, 8, "b"]), {}),
    ("search", ("n", [0, 0]), {"using": "image", "k": 2, "with_vectors": True, "explain": True}),
    ("search_many", ("n", [[1, 0, 0], [0, 0, 1]]), {"using": "text", "k": [1, 2], "with_vectors": True}),
    ("search", ("n", {"image": [0, 0], "text": [0, 1, 0]}), {"text": "x", "with_vectors": True, "fusion": "rrf"}),
    ("search_many", ("n", {"image": [[0, 0], [3, 0]]}), {"legs": None}),
    ("search", ("n",), {"legs": [Dense([3, 0], 0.5, using="image"), Text("x")], "explain": True}),
    ("alter_collection", ("n",), {"index": {"image": "ivf"}}),
    ("tune", ("n",), {"using": "image", "queries": [[1, 2]]}),
    ("measure_recall", ("n",), {"using": "text"}),
    ("describe_collection", ("n",), {}),
    ("list_collections", (), {}),
    ("describe_collection", ("c",), {}),
    ("optimize", ("c",), {}),
    ("cluster", (), {}),
    ("keys.create", ("app", "docs-*:read,write"), {"expires": 60, "rate": 5, "concurrency": 2}),
    ("keys.create", ("all", ["*:read", "*:operate"]), {"asked_by": "me"}),
    ("keys.list", (), {}),
    ("keys.revoke", ("000000000001",), {}),
    ("workers.list", (), {}),
    ("rebalance.set", (), {"auto": False, "tolerance": 0.1, "moves_at_once": 8, "move_bytes_per_s": 1024}),
    ("rebalance.plan", (), {}),
    ("rebalance.apply", (PLAN,), {"asked_by": "me"}),
    ("rebalance.progress", (), {}),
    ("rebalance.pause", (), {}),
    ("rebalance.resume", ("8c1f09",), {}),
    ("rebalance.watch", (), {"every": 0.01}),
    ("rebalance.undo", (), {}),
    ("rebalance.cancel", (), {"asked_by": "me"}),
    ("rebalance.history", (1,), {}),
    ("workers.drain", ("3f", True), {"wait": 3}),
    ("workers.drain", ("77c1",), {"wait": False}),
    ("workers.undrain", ("77c1",), {}),
    ("workers.forget", ("d1",), {}),
    ("workers.forget", ("d1ed-0005",), {"confirm": True, "asked_by": "me"}),
    ("scroll", ("c",), {"batch": 2, "filter": {"t": {"$exists": False}}}),
    ("drop_collection", ("c",), {}),
]


def answers_of(client: Client) -> list[Any]:
    """Return the answers of a client to the whole script."""
    return [_listed(operator.attrgetter(name)(client)(*given, **options)) for name, given, options in SCRIPT]


async def awaited_answers_of(client: AsyncClient) -> list[Any]:
    """Return the answers of an asyncio client to the whole script."""
    return [await _awaited(operator.attrgetter(name)(client)(*given, **options)) for name, given, options in SCRIPT]


def _listed(answer: Any) -> Any:
    return list(answer) if isinstance(answer, Iterator) else answer


async def _awaited(answer: Any) -> Any:
    return [each async for each in answer] if isinstance(answer, AsyncIterator) else await answer
