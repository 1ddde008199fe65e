"""Test the kinds of queries that appear later: each kind has its own sample, a few queries of a kind count for nothing,
and all samples are read after a restart.
"""

import numpy as np
import pytest

from shoal.core.errors import DataLoss
from shoal.shard_worker.logic.tuning.plan import ENOUGH_QUERIES
from shoal.shard_worker.tuning.query_kinds import KIND_QUERIES, LATEST, MOST_ALIKE, MOST_KINDS, QueryKinds

RANDOM = np.random.default_rng(0)


def made() -> QueryKinds:
    return QueryKinds(dim=2, seed=0)


def queries(value: float, count: int) -> np.ndarray:
    return np.full((count, 2), value, dtype=np.float32)


def ask(kinds: QueryKinds, value: float, count: int) -> None:
    for query in queries(value, count):
        kinds.offer(query[None, :])


def values(samples: list[np.ndarray]) -> list[set[float]]:
    return [set(sample[:, 0].tolist()) for sample in samples]


def test_a_kind_counts_once_there_are_enough_of_it():
    kinds = made()
    ask(kinds, 1.0, ENOUGH_QUERIES)
    assert kinds.asked_enough
    kinds.begin_kind()
    ask(kinds, 2.0, ENOUGH_QUERIES - 1)
    assert (kinds.asked.newest, kinds.asked.kinds) == (ENOUGH_QUERIES - 1, 0)
    assert len(kinds.sample(1_000, RANDOM)) == 1
    ask(kinds, 2.0, 1)
    assert (kinds.asked.newest, kinds.asked.kinds, kinds.asked.held) == (ENOUGH_QUERIES, ENOUGH_QUERIES, 2 * ENOUGH_QUERIES)
    assert values(kinds.sample(1_000, RANDOM)) == [{1.0, 2.0}, {2.0}]
    assert [len(sample) for sample in kinds.sample(10, RANDOM)] == [10, 10]


def test_a_kind_that_is_full_stays_as_it_is_and_the_oldest_makes_way():
    kinds = made()
    for value in range(MOST_KINDS + 1):
        kinds.begin_kind()
        ask(kinds, float(value), KIND_QUERIES)
    ask(kinds, 99.0, 100)
    assert values(kinds.sample(1_000, RANDOM))[1:] == [{float(value)} for value in range(1, MOST_KINDS + 1)]


def test_a_kind_may_begin_with_the_latest_queries():
    kinds = made()
    ask(kinds, 1.0, 10)
    ask(kinds, 2.0, LATEST)
    kinds.begin_kind(with_latest=True)
    assert kinds.asked.newest == LATEST
    assert values(kinds.sample(1_000, RANDOM))[1:] == [{2.0}]
    assert kinds.latest().shape == (LATEST, 2)
    assert made().latest().shape == (0, 2)


def test_a_large_batch_is_not_kept_alive_by_its_latest_queries():
    kinds, batch = made(), queries(1.0, 1_000)
    kinds.offer(batch)
    assert not np.shares_memory(kinds.latest(), batch)
    assert kinds.heard == 1_000


def test_all_is_found_again_and_joined_by_what_came_meanwhile():
    kinds = made()
    ask(kinds, 1.0, ENOUGH_QUERIES)
    kinds.begin_kind()
    ask(kinds, 2.0, ENOUGH_QUERIES)
    kinds.give(queries(4.0, ENOUGH_QUERIES))
    restored, (everything, of_kinds, given) = made(), kinds.to_bytes()
    restored.restore(everything)
    restored.restore_kinds(of_kinds)
    assert given is not None
    restored.restore_given(given)
    assert restored.asked == kinds.asked
    meanwhile = made()
    ask(meanwhile, 3.0, 50)
    restored.join(meanwhile)
    assert restored.asked.held == kinds.asked.held + 50
    assert restored.asked.newest == kinds.asked.newest + 50


@pytest.mark.parametrize("cut", [0, 3, 8, 20, -1])
def test_damaged_kinds_are_refused(cut):
    kinds = made()
    kinds.begin_kind()
    ask(kinds, 1.0, 3)
    data = kinds.to_bytes()[1]
    with pytest.raises(DataLoss):
        made().restore_kinds(data[:cut])
    with pytest.raises(DataLoss):
        made().restore_kinds(np.array([MOST_KINDS + 1], dtype="<i8").tobytes() + data[8:])


def test_given_queries_count_as_asked_and_are_a_kind_until_others_are_given():
    kinds = made()
    assert kinds.to_bytes()[2] is None
    kinds.give(queries(1.0, ENOUGH_QUERIES))
    assert kinds.asked_enough
    assert (kinds.asked.held, kinds.asked.kinds, kinds.heard, kinds.calls) == (ENOUGH_QUERIES, ENOUGH_QUERIES, ENOUGH_QUERIES, 1)
    for value in range(2, MOST_KINDS + 3):
        kinds.begin_kind()
        ask(kinds, float(value), ENOUGH_QUERIES)
    assert values(kinds.sample(1_000, RANDOM))[-1] == {1.0}, "kinds that were found do not displace it"
    kinds.give(queries(9.0, 1_000))
    assert len(kinds.sample(1_000, RANDOM)[-1]) == KIND_QUERIES
    assert values(kinds.sample(1_000, RANDOM))[-1] == {9.0}


def test_queries_given_before_the_file_was_read_replace_those_in_it():
    restored, later = made(), made()
    restored.give(queries(1.0, ENOUGH_QUERIES))
    restored.join(later)
    assert values(restored.sample(1_000, RANDOM))[-1] == {1.0}
    later.give(queries(2.0, ENOUGH_QUERIES))
    restored.join(later)
    assert values(restored.sample(1_000, RANDOM))[-1] == {2.0}


def test_a_few_given_queries_are_no_kind():
    kinds = made()
    kinds.give(queries(1.0, ENOUGH_QUERIES - 1))
    assert len(kinds.sample(1_000, RANDOM)) == 1


def test_a_batch_of_queries_that_are_alike_is_not_enough_and_one_of_others_is():
    kinds = made()
    kinds.offer(queries(5.0, 1_000) + 0.001 * RANDOM.standard_normal((1_000, 2)).astype(np.float32))
    assert (kinds.asked.held, kinds.asked_enough) == (MOST_ALIKE, False)
    other = QueryKinds(dim=16, seed=0)
    other.offer(RANDOM.standard_normal((256, 16)).astype(np.float32))
    assert (other.asked.held, other.asked_enough) == (250, True)
