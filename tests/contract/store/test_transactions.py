"""Reading and committing: what a transaction does, when it does nothing, and what is known when no answer comes."""

from __future__ import annotations

import pytest

from shoal.core.errors import InvalidArgument, PreconditionFailed
from shoal.core.ids import Revision
from shoal.store.interface import (
    Absent,
    Changed,
    Committed,
    Compare,
    Created,
    DeleteKey,
    LeaseId,
    LeaseNotFound,
    Operation,
    OutcomeUnknown,
    Put,
    Rejected,
    Store,
    StoreUnavailable,
    Transaction,
    Unchanged,
)
from shoal.store.transaction_limits import MAX_OPERATIONS, MAX_REQUEST_BYTES
from tests.contract.store.conftest import InWorld
from tests.contract.store.eventually import eventually
from tests.contract.store.worlds import CALL_S, World, present, put


def test_an_absent_key_is_none(in_world: InWorld) -> None:
    async def scenario(world: World) -> None:
        assert await world.client().get(world.key("a"), CALL_S) is None

    in_world(scenario)


def test_a_put_is_read_back_with_its_revisions(in_world: InWorld) -> None:
    async def scenario(world: World) -> None:
        store, other = world.client(), world.client()
        first = await put(store, world.key("a"), b"\x00one")
        second = await put(store, world.key("a"), b"two")
        entry = await present(other, world.key("a"))
        assert (entry.value, entry.create_revision, entry.mod_revision, entry.lease) == (b"two", first, second, None)
        assert second > first

    in_world(scenario)


def test_a_key_created_again_has_a_new_create_revision(in_world: InWorld) -> None:
    async def scenario(world: World) -> None:
        store = world.client()
        await put(store, world.key("a"), b"one")
        await store.commit(Transaction(then=(DeleteKey(key=world.key("a")),)), CALL_S)
        assert await store.get(world.key("a"), CALL_S) is None
        again = await put(store, world.key("a"), b"two")
        assert (await present(store, world.key("a"))).create_revision == again

    in_world(scenario)


def test_all_operations_of_a_transaction_share_one_revision(in_world: InWorld) -> None:
    async def scenario(world: World) -> None:
        store = world.client()
        await put(store, world.key("gone"), b"")
        keys = [world.key(f"k{number}") for number in range(5)]
        then: tuple[Operation, ...] = (*(Put(key=key, value=b"v") for key in keys), DeleteKey(key=world.key("gone")))
        outcome = await store.commit(Transaction(then=then), CALL_S)
        assert isinstance(outcome, Committed)
        assert {(await present(store, key)).mod_revision for key in keys} == {outcome.revision}
        assert await store.get(world.key("gone"), CALL_S) is None

    in_world(scenario)


def test_a_delete_of_nothing_commits_and_changes_nothing(in_world: InWorld) -> None:
    async def scenario(world: World) -> None:
        store = world.client()
        revision = await put(store, world.key("a"), b"")
        outcome = await store.commit(Transaction(then=(DeleteKey(key=world.key("none")),)), CALL_S)
        assert isinstance(outcome, Committed)
        assert (await present(store, world.key("a"))).mod_revision == revision

    in_world(scenario)


def _compares(key: str, created: Revision, modified: Revision) -> list[tuple[Compare, bool, bool]]:
    """Compare, whether it holds for a key created and last written at those revisions, whether it holds once it is
    deleted.
    """
    return [
        (Absent(key=key), False, True),
        (Created(key=key, create_revision=created), True, False),
        (Created(key=key, create_revision=modified), False, False),
        (Unchanged(key=key, mod_revision=modified), True, False),
        (Unchanged(key=key, mod_revision=created), False, False),
        (Changed(key=key, mod_revision=modified), False, True),
        (Changed(key=key, mod_revision=created), True, True),
    ]


def test_each_compare_holds_when_it_says(in_world: InWorld) -> None:
    async def scenario(world: World) -> None:
        store, key = world.client(), world.key("a")
        created, modified = await put(store, key, b"one"), await put(store, key, b"two")
        for deleted in (False, True):
            if deleted:
                await store.commit(Transaction(then=(DeleteKey(key=key),)), CALL_S)
            for compare, holds_now, holds_deleted in _compares(key, created, modified):
                outcome = await store.commit(Transaction(compares=(compare,), then=()), CALL_S)
                expected = holds_deleted if deleted else holds_now
                assert isinstance(outcome, Committed) is expected, (compare, deleted)

    in_world(scenario)


def test_one_compare_that_fails_rejects_everything(in_world: InWorld) -> None:
    async def scenario(world: World) -> None:
        store = world.client()
        revision = await put(store, world.key("a"), b"one")
        compares = (Unchanged(key=world.key("a"), mod_revision=revision), Absent(key=world.key("a")))
        then = (Put(key=world.key("a"), value=b"two"), Put(key=world.key("b"), value=b""))
        outcome = await store.commit(Transaction(compares=compares, then=then), CALL_S)
        assert isinstance(outcome, Rejected)
        assert outcome.revision >= revision
        listing = await store.list(world.prefix, CALL_S)
        assert [(entry.key, entry.value) for entry in listing.entries] == [(world.key("a"), b"one")]

    in_world(scenario)


def test_of_two_that_create_a_key_one_wins(in_world: InWorld) -> None:
    async def scenario(world: World) -> None:
        key = world.key("leader")
        outcomes = [
            await world.client().commit(Transaction(compares=(Absent(key=key),), then=(Put(key=key, value=name),)), CALL_S)
            for name in (b"first", b"second")
        ]
        assert [type(outcome) for outcome in outcomes] == [Committed, Rejected]
        assert (await present(world.client(), key)).value == b"first"

    in_world(scenario)


def test_what_breaks_a_limit_is_refused_and_the_limit_itself_is_not(in_world: InWorld) -> None:
    async def scenario(world: World) -> None:
        store = world.client()
        most = tuple(Put(key=world.key(f"{number:03}"), value=b"v") for number in range(MAX_OPERATIONS))
        largest = Put(key=world.key("large"), value=b"x" * (MAX_REQUEST_BYTES - 64 - len(world.key("large"))))
        refused = [
            Transaction(then=(*most, DeleteKey(key=world.key("more")))),
            Transaction(compares=(*(Absent(key=put.key) for put in most), Absent(key=world.key("more"))), then=()),
            Transaction(then=(Put(key=largest.key, value=largest.value + b"x"),)),
            Transaction(then=(most[0], DeleteKey(key=most[0].key))),
            Transaction(then=(Put(key="", value=b""),)),
            Transaction(then=(Put(key="\ud800", value=b""),)),
        ]
        for transaction in refused:
            with pytest.raises(InvalidArgument):
                await store.commit(transaction, CALL_S)
        assert (await store.list(world.prefix, CALL_S)).entries == ()
        for transaction in (Transaction(then=most), Transaction(then=(largest,))):
            assert isinstance(await store.commit(transaction, CALL_S), Committed)

    in_world(scenario)


def test_a_put_under_an_unknown_lease_is_refused_whole(in_world: InWorld) -> None:
    async def scenario(world: World) -> None:
        store = world.client()
        then = (Put(key=world.key("a"), value=b""), Put(key=world.key("b"), value=b"", lease_id=LeaseId(0x7FFF)))
        with pytest.raises(LeaseNotFound):
            await store.commit(Transaction(then=then), CALL_S)
        assert (await store.list(world.prefix, CALL_S)).entries == ()

    in_world(scenario)


def test_a_lost_answer_is_an_unknown_outcome_that_was_applied_once(in_world: InWorld) -> None:
    async def scenario(world: World) -> None:
        store = world.client()
        with pytest.raises(OutcomeUnknown):
            await world.commit_losing_answer(store, Transaction(then=(Put(key=world.key("a"), value=b"v"),)))
        await eventually(lambda: store.get(world.key("a"), CALL_S))
        entry = await present(store, world.key("a"))
        assert entry.mod_revision == entry.create_revision

    in_world(scenario)


def test_a_lost_request_is_an_unknown_outcome_that_was_not_applied(in_world: InWorld) -> None:
    async def scenario(world: World) -> None:
        store = world.client()
        with pytest.raises(OutcomeUnknown):
            await world.commit_losing_request(store, Transaction(then=(Put(key=world.key("a"), value=b"v"),)))
        await eventually(lambda: _answers(store, world))
        assert await store.get(world.key("a"), CALL_S) is None

    in_world(scenario)


def test_a_client_that_is_cut_off_surely_did_not_apply(in_world: InWorld) -> None:
    async def scenario(world: World) -> None:
        store = world.client()
        await put(store, world.key("a"), b"before")
        await world.cut()
        # Until the client has noticed the cut it gives the transaction to a dead line, and cannot know.
        await eventually(lambda: _surely_not_applied(store, Transaction(then=(Put(key=world.key("a"), value=b"cut"),))))
        with pytest.raises(StoreUnavailable):
            await store.get(world.key("a"), CALL_S)
        with pytest.raises(StoreUnavailable):
            await store.list(world.prefix, CALL_S)
        with pytest.raises(StoreUnavailable):
            await store.grant_lease(5, CALL_S)
        await world.restore()
        await eventually(lambda: _answers(store, world))
        assert (await present(store, world.key("a"))).value == b"before"

    in_world(scenario)


def test_a_call_without_time_is_not_made(in_world: InWorld) -> None:
    async def scenario(world: World) -> None:
        store = world.client()
        with pytest.raises(StoreUnavailable):
            await store.commit(Transaction(then=(Put(key=world.key("a"), value=b""),)), 0.0)
        assert await store.get(world.key("a"), CALL_S) is None

    in_world(scenario)


def test_a_closed_store_says_so(in_world: InWorld) -> None:
    async def scenario(world: World) -> None:
        store = world.client()
        await put(store, world.key("a"), b"")
        await store.close()
        with pytest.raises(PreconditionFailed):
            await store.get(world.key("a"), CALL_S)
        with pytest.raises(PreconditionFailed):
            await store.commit(Transaction(then=(Put(key=world.key("b"), value=b""),)), CALL_S)

    in_world(scenario)


async def _surely_not_applied(store: Store, transaction: Transaction) -> bool:
    try:
        await store.commit(transaction, CALL_S)
    except StoreUnavailable:
        return True
    except OutcomeUnknown:
        return False
    raise AssertionError("a client that is cut off committed")


async def _answers(store: Store, world: World) -> bool:
    await store.list(world.prefix, CALL_S)
    return True
