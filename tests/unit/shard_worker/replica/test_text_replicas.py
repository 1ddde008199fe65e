"""Replicas of a shard that merge at other times, crash at other times and hold other segments have the same scores."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.core.filter import In
from shoal.core.text_fields import text_fields_from_input
from shoal.core.text_query import Match, TextAsk
from tests.support.scope import LONG
from tests.support.worker.engine_driver import Driven
from tests.support.worker.replica_bench import SPEC
from tests.support.worker.replica_texts import PointsWithTexts, found_texts

TEXT = text_fields_from_input({"title": "auto", "body": "cjk"})
SPEC_OF_TEXTS = dataclasses.replace(SPEC, text=TEXT)
WORDS = ("red", "reds", "green", "light_blue", "blue", "数据库", "数据", "库", "向量", "RocksDB", "v1.5")
REPLICAS = 3


@pytest.mark.timeout(1_800 if LONG else 180)
@settings(max_examples=400 if LONG else 12, deadline=None)
@given(st.integers(0, 2**32))
def test_replicas_with_other_merges_give_the_same_scores(seed: int) -> None:
    random = Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        replicas = [Driven(Path(folder) / str(number), SPEC_OF_TEXTS) for number in range(REPLICAS)]
        payloads: dict[int | str, dict[str, object]] = {}
        for _ in range(random.randint(4, 14)):
            _write(random, replicas, payloads)
            for replica in replicas:
                _rest_or_merge(random, replica)
        points = PointsWithTexts(TEXT, payloads)
        for _ in range(8):
            ask, wanted = _ask(random), random.choice((None, 0, 1))
            allowed = None if wanted is None else {each for each, payload in payloads.items() if payload["n"] == wanted}
            expected = points.search(ask, 7, allowed)
            for replica in replicas:
                assert found_texts(replica.engine, ask, 7, None if wanted is None else In(("n",), (wanted,))) == expected
        for replica in replicas:
            replica.close()


def _write(random: Random, replicas: list[Driven], payloads: dict[int | str, dict[str, object]]) -> None:
    ids: list[int | str] = [*random.sample(range(40), random.randint(1, 9))]
    if payloads and random.random() < 0.25:
        for replica in replicas:
            replica.delete(ids)
        for each in ids:
            payloads.pop(each, None)
        return
    made = {each: {"n": random.randrange(2), "title": _text(random, 3), "body": _text(random, 12)} for each in ids}
    for replica in replicas:
        replica.upsert(ids, [[float(each)] * 4 for each in ids], [json.dumps(made[each]).encode() for each in ids])
    payloads.update(made)


def _rest_or_merge(random: Random, replica: Driven) -> None:
    chance = random.random()
    if chance < 0.2:
        replica.build(everything=True)
    elif chance < 0.5:
        replica.build(everything=False)
    elif chance < 0.6:
        replica.close()
        replica.reopen()


def _text(random: Random, most: int) -> str:
    return " ".join(random.choices(WORDS, k=random.randint(0, most)))


def _ask(random: Random) -> TextAsk:
    must = tuple(random.sample(WORDS, 1)) if random.random() < 0.3 else ()
    return TextAsk(text=_text(random, 4) + " red", must=must, match=Match.ALL if random.random() < 0.1 else Match.ANY)
