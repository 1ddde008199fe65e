from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.core.errors import Internal, ResourceExhausted
from shoal.core.ids import CollectionId, ShardId
from shoal.shard_worker.logic.memory_ledger import GrowingSize, Pending, ReplicaCost, write_need
from shoal.shard_worker.resources.memory import CACHE_PART, Claim, Shortage, WorkerMemory

MIB = 1024 * 1024
ONE, TWO = (ShardId(CollectionId("c"), number) for number in (0, 1))
GROWING = GrowingSize(rows=0, reserved=256, capacity=1000, row_bytes=MIB // 256, vector_bytes=16)


def cost(held_mib: int = 10, next_build_mib: int = 0, growing: GrowingSize = GROWING) -> ReplicaCost:
    return ReplicaCost(held=held_mib * MIB, growing=growing, next_build=next_build_mib * MIB)


def memory(budget_mib: int = 150) -> WorkerMemory:
    """Return the memory of a worker that has `budget_mib` for replicas and builds."""
    made = WorkerMemory(budget_mib * MIB * CACHE_PART // (CACHE_PART - 1) + 1)
    assert made.budget_bytes // MIB == budget_mib
    return made


def refused(call: object) -> str:
    with pytest.raises(ResourceExhausted) as caught:
        call()  # type: ignore[operator]
    assert caught.value.details.limit == "memory"
    return caught.value.message


def test_what_replicas_hold_is_used_and_given_back() -> None:
    account = memory()
    account.open(ONE, cost(10))
    account.open(TWO, cost(20))
    assert account.used_bytes == 30 * MIB
    account.update(ONE, cost(15))
    assert account.replica_bytes() == {ONE: 15 * MIB, TWO: 20 * MIB}
    account.close(ONE)
    account.close(ONE)
    assert account.used_bytes == 20 * MIB
    account.update(ONE, cost(15))
    assert account.used_bytes == 20 * MIB, "what a replica says after its end does not count"


def test_a_replica_that_does_not_fit_is_not_taken() -> None:
    account = memory()
    account.open(ONE, cost(100))
    assert "50.0 MiB of 150.0 MiB" in refused(lambda: account.open(TWO, cost(51)))
    assert account.used_bytes == 100 * MIB
    account.open(TWO, cost(50))
    account.update(TWO, cost(50, next_build_mib=1))
    assert account.refusal_of_replica() is not None
    account.close(TWO)
    assert account.refusal_of_replica() is None
    account.open(TWO, cost(50))
    with pytest.raises(Internal):
        account.open(TWO, cost(0))


def test_a_write_holds_its_need_until_it_is_given_back_once() -> None:
    account = memory()
    account.open(ONE, cost())
    claim = account.admit(ONE, 10, 160)
    need = write_need(cost(), Pending(points=10, message_bytes=160))
    assert need > 0
    assert account.used_bytes == 10 * MIB + need
    claim.give_back()
    claim.give_back()
    assert account.used_bytes == 10 * MIB
    with pytest.raises(ZeroDivisionError), account.admit(ONE, 10, 160):
        raise ZeroDivisionError
    assert account.used_bytes == 10 * MIB


def test_writes_in_flight_count_against_each_other() -> None:
    account = memory(40)
    account.open(ONE, cost())
    held: list[Claim] = []
    said = refused(lambda: [held.append(account.admit(ONE, 200, 3200)) for _ in range(100)])
    assert "200 points" in said
    assert held
    before = account.used_bytes
    assert before <= account.budget_bytes
    held.pop().give_back()
    held.append(account.admit(ONE, 200, 3200))
    assert account.used_bytes == before


def test_a_refusal_says_that_nothing_was_applied() -> None:
    account = memory(20)
    account.open(ONE, cost())
    with pytest.raises(ResourceExhausted) as caught:
        account.admit(ONE, 5000, 80_000)
    assert caught.value.details.applied == {"c/0": "no"}
    assert account.used_bytes == 10 * MIB


def test_a_shard_that_is_not_open_admits_nothing() -> None:
    with pytest.raises(Internal):
        memory().admit(ONE, 1, 1)


def test_a_claim_that_outlives_its_replica_leaves_nothing_behind() -> None:
    account = memory()
    account.open(ONE, cost())
    claim = account.admit(ONE, 300, 4800)
    account.close(ONE)
    assert account.used_bytes == 0
    account.open(ONE, cost())
    claim.give_back()
    assert account.used_bytes == 10 * MIB


def test_room_for_the_largest_next_build_is_kept_and_given_to_a_build_alone() -> None:
    account = memory(100)
    account.open(ONE, cost(10, next_build_mib=60))
    account.open(TWO, cost(20, next_build_mib=40))
    assert account.used_bytes == 90 * MIB
    build = account.reserve_build(TWO, 65 * MIB)
    assert isinstance(build, Claim)
    assert account.used_bytes == 95 * MIB
    assert account.reserve_build(ONE, 0) == Shortage("another build is running on this worker")
    build.give_back()
    assert account.used_bytes == 90 * MIB
    short = account.reserve_build(TWO, 71 * MIB)
    assert isinstance(short, Shortage)
    assert "71.0 MiB" in short.reason
    nothing = account.reserve_build(TWO, 0)
    assert isinstance(nothing, Claim)
    assert isinstance(account.reserve_build(ONE, 0), Shortage)


def test_the_largest_next_build_is_known_as_replicas_come_change_and_go() -> None:
    account = memory(100)
    account.open(ONE, cost(0, next_build_mib=30))
    account.open(TWO, cost(0, next_build_mib=50))
    assert account.used_bytes == 50 * MIB
    account.update(TWO, cost(0, next_build_mib=10))
    assert account.used_bytes == 30 * MIB
    account.close(ONE)
    assert account.used_bytes == 10 * MIB


shards = st.sampled_from([ONE, TWO])
sizes = st.integers(0, 30)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("open"), shards, sizes, sizes),
        st.tuples(st.just("update"), shards, sizes, sizes, st.integers(0, 999)),
        st.tuples(st.just("close"), shards),
        st.tuples(st.just("admit"), shards, st.integers(1, 1500), st.integers(0, MIB)),
        st.tuples(st.just("build"), shards, sizes),
        st.tuples(st.just("give back"), st.integers(0, 9)),
    ),
    max_size=30,
)


class Twin:
    """The account as plain lists, which are summed anew each time."""

    def __init__(self) -> None:
        self.costs: dict[ShardId, ReplicaCost] = {}
        self.claims: dict[Claim, tuple[ShardId, int, int] | int] = {}

    def used(self) -> int:
        builds = [size for size in self.claims.values() if isinstance(size, int)]
        kept = max((each.next_build for each in self.costs.values()), default=0)
        total = sum(each.held for each in self.costs.values()) + max([kept, *builds])
        for shard, each in self.costs.items():
            writes = [claim for claim in self.claims.values() if isinstance(claim, tuple) and claim[0] == shard]
            total += write_need(each, Pending(points=sum(claim[1] for claim in writes), message_bytes=sum(claim[2] for claim in writes)))
        return total


@given(steps)
def test_the_account_is_the_sum_of_what_is_there_and_promises_never_overdraw_it(taken: list[tuple]) -> None:  # type: ignore[type-arg]
    account, twin = memory(90), Twin()
    for step in taken:
        before = account.used_bytes
        try:
            match step:
                case ("open", shard, held, build) if shard not in twin.costs:
                    account.open(shard, cost(held))
                    account.update(shard, twin.costs.setdefault(shard, cost(held, build)))
                case ("update", shard, held, build, rows) if shard in twin.costs:
                    growing = GrowingSize(rows=rows, reserved=1000, capacity=1000, row_bytes=MIB // 256, vector_bytes=16)
                    twin.costs[shard] = cost(held, build, growing)
                    account.update(shard, twin.costs[shard])
                case ("close", shard):
                    account.close(shard)
                    twin.costs.pop(shard, None)
                case ("admit", shard, points, size) if shard in twin.costs:
                    twin.claims[account.admit(shard, points, size)] = (shard, points, size)
                    assert account.used_bytes <= account.budget_bytes
                case ("build", shard, need):
                    claim = account.reserve_build(shard, need * MIB)
                    if isinstance(claim, Claim):
                        twin.claims[claim] = need * MIB or 1
                case ("give back", number) if twin.claims:
                    claim = list(twin.claims)[number % len(twin.claims)]
                    claim.give_back()
                    del twin.claims[claim]
        except ResourceExhausted:
            assert account.used_bytes == before
        assert account.used_bytes == twin.used()


def test_threads_do_not_lose_each_others_claims() -> None:
    account = memory(4000)
    account.open(ONE, cost())

    def work() -> None:
        for _ in range(200):
            with account.admit(ONE, 3, 48):
                account.update(ONE, cost())

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert account.used_bytes == 10 * MIB


def test_caches_have_a_bounded_part_of_the_whole() -> None:
    assert WorkerMemory(160 * MIB).cache_bytes == 10 * MIB
    assert WorkerMemory(160 * MIB).budget_bytes == 150 * MIB
    assert WorkerMemory(1 << 40).cache_bytes == 1 << 30
