from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from shoal.core.ids import CollectionId, Seq, ShardId
from shoal.core.shard_calls import Consistency, Exact, QueryGroup, ReadTerms, ShardSearch, ShardsSearch, k_of_queries

SHARDS = tuple(ShardId(CollectionId("c"), number) for number in range(3))


@given(st.lists(st.integers(1, 3), min_size=1, max_size=6), st.booleans())
def test_k_of_queries_is_that_of_their_group(wanted: list[int], apart: bool) -> None:
    numbers = sorted(set(wanted)) if not apart else wanted
    members = [[at for at in range(len(wanted)) if wanted[at] == k] for k in numbers] if not apart else [[at] for at in range(len(wanted))]
    groups = [QueryGroup(k=k, queries=np.array(at)) for k, at in zip(numbers, members, strict=True)]
    found = k_of_queries(groups, len(wanted))
    assert np.broadcast_to(found, len(wanted)).tolist() == wanted


def test_one_k_for_all_stays_a_number() -> None:
    assert k_of_queries([QueryGroup(k=7)], 3) == 7
    assert k_of_queries([QueryGroup(k=7, queries=np.array([0])), QueryGroup(k=7, queries=np.array([1, 2]))], 3) == 7


def test_the_search_of_one_of_several_shards_is_the_same_with_its_own_condition() -> None:
    queries, groups = np.ones((1, 2), dtype=np.float32), (QueryGroup(k=3),)
    call = ShardsSearch(
        queries=queries,
        groups=groups,
        accuracy=Exact(),
        radius=2.0,
        explain=True,
        with_payload=False,
        with_vectors=True,
        shards=SHARDS,
        consistency=Consistency.SESSION,
        min_seqs={SHARDS[1]: Seq(7)},
        caller="me",
    )
    for shard, min_seq in zip(SHARDS, (0, 7, 0), strict=True):
        assert call.of(shard) == ShardSearch(
            shard=shard,
            queries=queries,
            groups=groups,
            accuracy=Exact(),
            radius=2.0,
            explain=True,
            with_payload=False,
            with_vectors=True,
            terms=ReadTerms(consistency=Consistency.SESSION, min_seq=Seq(min_seq), caller="me"),
        )
