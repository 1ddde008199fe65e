from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shoal.coordinator import bundles
from shoal.coordinator.bundles import Attempt, bundled
from shoal.coordinator.logic.steps import DeleteCollection
from shoal.core.ids import Revision
from shoal.store.interface import Absent, Committed, DeleteKey, Operation, Put, Transaction, Unchanged
from shoal.store.transaction_limits import MAX_OPERATIONS, check_transaction
from tests.twins.coordinator.world import collection_of
from tests.twins.store.state import MemoryState

STEP = DeleteCollection(collection=collection_of("c"))

keys = st.integers(0, 60).map(lambda number: f"key-{number}")
compares = st.builds(Absent, key=keys) | st.builds(Unchanged, key=keys, mod_revision=st.integers(1, 3).map(Revision))
operations: st.SearchStrategy[Operation] = st.builds(DeleteKey, key=keys) | st.builds(
    Put, key=keys, value=st.sampled_from([b"x", b"y", b"z" * 100_000])
)


@st.composite
def attempts(draw: st.DrawFn) -> list[Attempt]:
    """Steps of one change each, as all steps are."""
    found = draw(st.lists(st.tuples(st.lists(compares, max_size=8), operations), max_size=80))
    return [Attempt(STEP, Transaction(compares=tuple(asked), then=(operation,))) for asked, operation in found]


@given(attempts())
def test_every_step_is_in_one_bundle_in_order_and_every_bundle_is_one_that_the_store_takes(tried: list[Attempt]) -> None:
    made = list(bundled(tried))
    assert [attempt for bundle in made for attempt in bundle.attempts] == tried
    for bundle in made:
        check_transaction(bundle.transaction)
        assert 1 <= len(bundle.attempts) <= bundles.STEPS_AT_ONCE
        assert set(bundle.transaction.compares) == {compare for each in bundle.attempts for compare in each.transaction.compares}
        assert bundle.transaction.then == tuple(operation for each in bundle.attempts for operation in each.transaction.then)


def test_many_steps_on_the_same_workers_fit_into_one_and_different_compares_fill_it() -> None:
    same = [Attempt(STEP, Transaction(compares=(Absent(key="w"),), then=(DeleteKey(key=f"{at}"),))) for at in range(64)]
    assert [len(bundle.attempts) for bundle in bundled(same)] == [32, 32]
    many = [
        Attempt(STEP, Transaction(compares=tuple(Absent(key=f"{at} {each}") for each in range(50)), then=(DeleteKey(key=f"{at}"),)))
        for at in range(5)
    ]
    assert [len(bundle.transaction.compares) for bundle in bundled(many)] == [100, 100, 50]
    assert MAX_OPERATIONS == 128


@given(attempts())
def test_a_bundle_that_is_committed_does_what_its_steps_would_have_done_one_after_the_other(tried: list[Attempt]) -> None:
    for bundle in bundled(tried):
        together, alone = MemoryState(), MemoryState()
        for state in (together, alone):
            for revision in (1, 2, 3):
                state.commit(Transaction(then=(Put(key=f"key-{revision}", value=b"before"),)))
        written = {operation.key for operation in bundle.transaction.then}
        if isinstance(together.commit(bundle.transaction), Committed):
            # A step compares only its own key among those that others of the bundle write, as the product's do.
            rested = all(
                {compare.key for compare in each.transaction.compares} & written <= {each.transaction.then[0].key}
                for each in bundle.attempts
            )
            answers = [alone.commit(each.transaction) for each in bundle.attempts]
            if rested:
                assert all(isinstance(answer, Committed) for answer in answers)
                assert {each.key: each.value for each in together.list("key").entries} == {
                    each.key: each.value for each in alone.list("key").entries
                }
