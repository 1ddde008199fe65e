"""Plans, settings and drains as texts of the store: what is put comes back, and the largest plan can be put twice."""

from __future__ import annotations

import dataclasses
import json

import pytest

from shoal.coordinator.logic.balance_model import MOST_HAND_OVERS
from shoal.core.errors import DataLoss
from shoal.core.ids import CollectionId, Revision, ShardId, WorkerId
from shoal.core.rebalance import (
    MOST_MOVES,
    BalanceSettings,
    Drain,
    ItemState,
    PinnedShard,
    PlanKind,
    PlanState,
    RebalanceEntry,
)
from shoal.store.interface import Put, Transaction
from shoal.store.rebalance_codecs import (
    decode_balance,
    decode_drain,
    decode_rebalance,
    encode_balance,
    encode_drain,
    encode_rebalance,
)
from shoal.store.transaction_limits import MAX_REQUEST_BYTES, request_bytes
from tests.twins.coordinator.bare_operator import balance_of, hand_over_of, move_of, plan_of

SHARDS = [ShardId(CollectionId("id-a"), 3), ShardId(CollectionId("id-b"), 0)]


def entry_of(**changes: object) -> RebalanceEntry:
    plan = plan_of(
        (move_of(SHARDS[0], "w0", "w1", why="w0 is 35 % over"), move_of(SHARDS[1], "w1", "w0", number=2, why="w0 is 35 % over")),
        (hand_over_of(SHARDS[1], "w1", "w2", number=3),),
        kind=PlanKind.UNDO,
        subject="8c1f09",
        workers=[dataclasses.replace(balance_of("w0", size=7, target=9, primaries=3), after_bytes=8, in_bytes=1, draining=True)],
        left=("things/4: worker w7 is drained; it stays where it is",),
    )
    pinned = (PinnedShard(collection="b", shard=SHARDS[1], why="it is being created"),)
    entry = RebalanceEntry(
        plan=dataclasses.replace(plan, pinned=pinned),
        state=PlanState.CANCELLED,
        asked_by="me",
        started_ms=5,
        ended_ms=9,
        given_up={2: "no progress for 10 min", 3: "no progress for 10 min"},
        outcomes={1: ItemState.DONE, 2: ItemState.FAILED, 3: ItemState.FAILED},
        longest_wait_s=0.125,
        revision=Revision(77),
    )
    return dataclasses.replace(entry, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("entry", [entry_of(), entry_of(plan=plan_of(), given_up={}, outcomes={}, ended_ms=0)])
def test_an_applied_plan_comes_back(entry: RebalanceEntry) -> None:
    again = decode_rebalance("k", encode_rebalance(entry), 77)
    assert again == entry
    assert (list(again.given_up), list(again.outcomes)) == (sorted(entry.given_up), sorted(entry.outcomes))


def test_a_plan_of_an_earlier_version_has_no_longest_wait() -> None:
    raw = json.loads(encode_rebalance(entry_of()))
    del raw["longest_wait_s"]
    assert decode_rebalance("k", json.dumps(raw).encode(), 77) == entry_of(longest_wait_s=0.0)


def test_settings_and_drains_come_back() -> None:
    settings = BalanceSettings(auto=True, tolerance=0.1, moves_at_once=2, move_bytes_per_s=5, revision=Revision(3))
    assert decode_balance("k", encode_balance(settings), 3) == settings
    drain = Drain(primaries_only=True, asked_by="me", since_ms=4, revision=Revision(3))
    assert decode_drain("k", encode_drain(drain), 3) == drain


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("moves", [[0, 1, 3, 2, 99, 1, 5, 5, 0]]),
        ("moves", [[0, 1, 3, 2, -1, 1, 5, 5, 0]]),
        ("moves", [[0, 1, 3, 2]]),
        ("hand_overs", [[0]]),
        ("workers", [[0, 1, 2]]),
        ("pinned", 5),
        ("kind", "no kind"),
        ("texts", None),
    ],
)
def test_a_damaged_plan_is_told(name: str, value: object) -> None:
    raw = json.loads(encode_rebalance(entry_of()))
    raw["plan"][name] = value
    with pytest.raises(DataLoss, match="the key holds no readable value"):
        decode_rebalance("the key", json.dumps(raw).encode(), 77)


def test_the_largest_plan_that_ended_can_be_put_twice_in_one_transaction() -> None:
    """As it is when it ends: as the newest one, and into the history."""
    workers = [WorkerId(f"{number:036}") for number in range(300)]
    shards = [ShardId(CollectionId(f"{number:036}"), number) for number in range(1_000)]
    moves = [
        move_of(
            shards[at % 1_000],
            workers[at % 300],
            workers[(at + 1) % 300],
            collection=f"{at % 100:032}",
            number=at + 1,
            memory_bytes=2**40 + at,
            disk_bytes=2**40 + at,
            why=f"{workers[at % 300]} is {at % 100} % over",
        )
        for at in range(MOST_MOVES)
    ]
    handed = [
        hand_over_of(shards[at % 1_000], workers[at % 300], workers[(at + 7) % 300], number=MOST_MOVES + at + 1)
        for at in range(MOST_HAND_OVERS)
    ]
    numbers = range(1, MOST_MOVES + MOST_HAND_OVERS + 1)
    entry = entry_of(
        plan=plan_of(moves, handed, workers=[balance_of(worker, size=2**40, target=2**40) for worker in workers]),
        given_up={number: f"worker {workers[number % 300]} is gone" for number in numbers},
        outcomes=dict.fromkeys(numbers, ItemState.FAILED),
    )
    value = encode_rebalance(entry)
    assert request_bytes(Transaction(then=(Put(key="a" * 99, value=value), Put(key="b" * 99, value=value)))) < MAX_REQUEST_BYTES / 2
