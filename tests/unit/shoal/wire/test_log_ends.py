from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shoal.core.ids import ReplicaId, Seq, ShardId, Term
from shoal.core.recovery import LogEnd
from shoal.wire.log_ends import log_ends_from_message, log_ends_request, log_ends_to_message, shards_of_request
from tests.unit.shoal.wire.strategies import over_the_wire, shard_ids

uint64 = st.integers(0, 2**64 - 1)
ends = st.builds(LogEnd, term=uint64.map(Term), seq=uint64.map(Seq))


@given(st.lists(shard_ids, max_size=3).map(tuple), st.dictionaries(st.text(max_size=4).map(ReplicaId), ends, max_size=3))
def test_the_ends_of_logs_and_their_question_come_back(shards: tuple[ShardId, ...], told: dict[ReplicaId, LogEnd]) -> None:
    assert shards_of_request(over_the_wire(log_ends_request(shards))) == shards
    assert log_ends_from_message(over_the_wire(log_ends_to_message(told))) == told
