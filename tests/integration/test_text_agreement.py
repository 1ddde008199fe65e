"""One collection in one shard, in eight shards and in three replicas: hits and scores of searches by words are those of
brute force over the living points, to the last bit, however writes, deletes and merges went.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
import pytest

import shoal
from shoal.core.points import PointId
from shoal.core.text_fields import text_fields_from_input
from shoal.core.text_query import Match, TextAsk
from tests.support.cluster.role_cluster import RoleCluster
from tests.support.scope import LONG
from tests.support.worker.replica_texts import PointsWithTexts, Scored

TEXT = {"title": "auto", "body": "auto"}
FIELDS = text_fields_from_input(TEXT)
WORDS = (
    *("red", "reds", "green", "light_blue", "blue", "数据库", "数据", "库", "向量", "RocksDB", "v1.5", "don't"),
    *(f"w{number}" for number in range(60)),
)
SPREADS: dict[str, dict[str, Any]] = {"one": {"shards": 1}, "eight": {"shards": 8}, "three": {"shards": 2, "replicas": 3}}
"""The same points, spread in different ways, by name of the collection."""

ROUNDS, QUERIES, K = (60, 60, 10) if LONG else (4, 12, 10)
"""In the long form 43,200 searches: each query with and without a filter, of three spreads, with two consistencies."""

Payloads = dict[PointId, dict[str, Any]]


@pytest.mark.timeout(3_000 if LONG else 300)
def test_scores_do_not_depend_on_shards_replicas_and_merges(make_cluster: Callable[..., RoleCluster]) -> None:
    random, payloads = Random(7), Payloads()
    with shoal.connect(make_cluster(workers=3).address) as client:
        for name, spread in SPREADS.items():
            client.create_collection(name, dim=2, text=TEXT, **spread)
        for _ in range(ROUNDS):
            _change(random, client, payloads)
            points = PointsWithTexts(FIELDS, payloads)
            asks = [_ask(random) for _ in range(QUERIES)]
            for wanted in (None, random.randrange(3)):
                allowed = None if wanted is None else {each for each, payload in payloads.items() if payload["n"] == wanted}
                expected = [points.search(ask, K, allowed) for ask in asks]
                for name in SPREADS:
                    for consistency in ("primary", "session"):
                        assert _found(client, name, asks, wanted, consistency) == expected, (name, consistency)


def _change(random: Random, client: shoal.Client, payloads: Payloads) -> None:
    """Write and delete the same in all collections, and merge some of them."""
    for _ in range(random.randint(1, 4)):
        ids: list[PointId] = [number if number % 5 else f"text {number}" for number in random.sample(range(400), random.randint(1, 80))]
        if payloads and random.random() < 0.3:
            for name in SPREADS:
                client.delete(name, ids)
            for each in ids:
                payloads.pop(each, None)
            continue
        made = [{"n": random.randrange(3), "title": _text(random, 4), "body": _text(random, 30)} for _ in ids]
        for name in SPREADS:
            client.upsert(name, ids, np.ones((len(ids), 2)), made)
        payloads.update(zip(ids, made, strict=True))
    for name in SPREADS:
        if random.random() < 0.4:
            client.optimize(name)


def _found(client: shoal.Client, name: str, asks: list[TextAsk], wanted: int | None, consistency: str) -> list[Scored]:
    legs = [[shoal.Text(ask.text, must=ask.must, must_not=ask.must_not, prefix=ask.prefix, match=ask.match.value)] for ask in asks]
    where = None if wanted is None else {"n": wanted}
    hits = [client.search(name, legs=leg, k=K, filter=where, with_payload=False, consistency=consistency) for leg in legs]
    return [[(hit.id, hit.legs["text"].score) for hit in each] for each in hits]


def _text(random: Random, most: int) -> str:
    return " ".join(WORDS[min(int(random.paretovariate(0.6)) - 1, len(WORDS) - 1)] for _ in range(random.randint(0, most)))


def _ask(random: Random) -> TextAsk:
    return TextAsk(
        text=_text(random, 5) + " w7",
        must=tuple(random.sample(WORDS[:9], 1)) if random.random() < 0.2 else (),
        must_not=tuple(random.sample(WORDS[:9], 1)) if random.random() < 0.2 else (),
        prefix=random.choice(("w1", "re", "roc")) if random.random() < 0.2 else "",
        match=Match.ALL if random.random() < 0.1 else Match.ANY,
    )
