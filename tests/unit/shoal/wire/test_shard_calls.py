from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.core.errors import InvalidArgument
from shoal.core.filter import Filter, filter_key
from shoal.core.health import ReplicaRole
from shoal.core.ids import ReplicaId, RequestId, Seq, ShardId, Term
from shoal.core.point_change import PointChange
from shoal.core.points import IdArray, PointColumns, id_array
from shoal.core.shard_calls import (
    Consistency,
    HandOverTime,
    ReadTerms,
    ReplicaStatus,
    ShardCount,
    ShardDelete,
    ShardDeleteMatching,
    ShardGet,
    ShardScroll,
    ShardStats,
    ShardUpdate,
    ShardUpsert,
    WorkerStatus,
    WriteAck,
)
from shoal.v1 import common_pb2, worker_pb2
from shoal.wire import shard_calls as wire
from shoal.wire.call_parts import consistency_from_message
from shoal.wire.records import update_body
from tests.support.examples.filters import filters
from tests.unit.shoal.wire.strategies import (
    changes,
    id_lists,
    over_the_wire,
    point_columns,
    point_ids,
    read_terms,
    same_change,
    same_ids,
    same_matrix,
    same_payloads,
    shard_ids,
)

uint64 = st.integers(0, 2**64 - 1)
request_ids = st.builds(RequestId, st.text(min_size=1, max_size=64), st.integers(0, 2**63 - 1))
columns = id_lists.map(id_array)


def parts(call: Any, *names: str) -> tuple[Any, ...]:
    return tuple(getattr(call, name) for name in names)


@settings(deadline=None)
@given(shard=shard_ids, request_id=request_ids, points=point_columns())
def test_an_upsert_comes_back(shard: ShardId, request_id: RequestId, points: PointColumns) -> None:
    got = wire.write_from_message(
        worker_pb2.ShardWriteRequest.FromString(wire.write_to_bytes(ShardUpsert(shard=shard, request_id=request_id, points=points)))
    )
    assert isinstance(got, ShardUpsert)
    assert parts(got, "shard", "request_id") == (shard, request_id)
    assert same_ids(got.points.ids, points.ids)
    assert same_matrix(got.points.vectors, points.vectors)
    assert same_payloads(got.points.payloads, points.payloads)


@settings(deadline=None)
@given(shard=shard_ids, request_id=request_ids, ids=columns)
def test_a_delete_comes_back(shard: ShardId, request_id: RequestId, ids: IdArray) -> None:
    got = wire.write_from_message(
        worker_pb2.ShardWriteRequest.FromString(wire.write_to_bytes(ShardDelete(shard=shard, request_id=request_id, ids=ids)))
    )
    assert isinstance(got, ShardDelete)
    assert parts(got, "shard", "request_id") == (shard, request_id)
    assert same_ids(got.ids, ids)


@settings(deadline=None)
@given(shard=shard_ids, request_id=request_ids, filter=filters())
def test_a_delete_by_filter_comes_back(shard: ShardId, request_id: RequestId, filter: Filter) -> None:
    call = ShardDeleteMatching(shard=shard, request_id=request_id, filter=filter)
    got = wire.write_from_message(worker_pb2.ShardWriteRequest.FromString(wire.write_to_bytes(call)))
    assert isinstance(got, ShardDeleteMatching)
    assert parts(got, "shard", "request_id") == (shard, request_id)
    assert filter_key(got.filter) == filter_key(filter)


@settings(deadline=None)
@given(shard=shard_ids, request_id=request_ids, ids=columns, filter=st.none() | filters(), change=changes)
def test_an_update_comes_back_and_keeps_its_bytes(
    shard: ShardId, request_id: RequestId, ids: IdArray, filter: Filter | None, change: PointChange
) -> None:
    call = ShardUpdate(shard=shard, request_id=request_id, ids=ids, change=change, filter=filter)
    sent = wire.write_to_bytes(call)
    got = wire.write_from_message(worker_pb2.ShardWriteRequest.FromString(sent))
    assert isinstance(got, ShardUpdate)
    assert parts(got, "shard", "request_id") == (shard, request_id)
    assert same_ids(got.ids, ids)
    assert same_change(got.change, change)
    assert (got.filter is None) == (filter is None)
    assert filter is None or got.filter is None or filter_key(got.filter) == filter_key(filter)
    assert got.encoded is not None
    assert got.encoded == update_body(call.update)
    assert wire.write_to_bytes(got) == sent


def test_a_write_of_nothing_is_refused() -> None:
    message = worker_pb2.ShardWriteRequest(request_id=common_pb2.RequestId(client="c", number=1))
    with pytest.raises(InvalidArgument, match="needs an upsert, a delete or an update"):
        wire.write_from_message(message)


@pytest.mark.parametrize("client", ["", "x" * 65])
def test_a_client_without_a_proper_name_is_refused(client: str) -> None:
    with pytest.raises(InvalidArgument, match=f"{len(client)} characters"):
        wire.request_id_from_message(common_pb2.RequestId(client=client))


@settings(deadline=None)
@given(seq=uint64.map(Seq), affected=uint64, more=st.booleans())
def test_an_acknowledgement_comes_back(seq: Seq, affected: int, more: bool) -> None:
    ack = WriteAck(seq=seq, affected=affected, more=more)
    assert wire.ack_from_message(wire.ack_to_message(ack)) == ack


@settings(deadline=None)
@given(shard=shard_ids, ids=columns, flags=st.tuples(st.booleans(), st.booleans()), conditions=read_terms)
def test_a_get_comes_back(shard: ShardId, ids: IdArray, flags: tuple[bool, bool], conditions: ReadTerms) -> None:
    call = ShardGet(shard=shard, ids=ids, with_payload=flags[0], with_vectors=flags[1], terms=conditions)
    got = wire.get_from_message(over_the_wire(wire.get_to_message(call)))
    assert parts(got, "shard", "with_payload", "with_vectors", "terms") == (shard, *flags, conditions)
    assert same_ids(got.ids, ids)


@settings(deadline=None)
@given(
    shard=shard_ids,
    after=st.one_of(st.none(), point_ids),
    limit=st.integers(0, 2**32 - 1),
    flags=st.tuples(st.booleans(), st.booleans()),
    filter=st.none() | filters(),
    conditions=read_terms,
)
def test_a_scroll_comes_back(
    *, shard: ShardId, after: int | str | None, limit: int, flags: tuple[bool, bool], filter: Filter | None, conditions: ReadTerms
) -> None:
    call = ShardScroll(shard=shard, after=after, limit=limit, filter=filter, with_payload=flags[0], with_vectors=flags[1], terms=conditions)
    got = wire.scroll_from_message(over_the_wire(wire.scroll_to_message(call)))
    assert (got, filter_key(got.filter)) == (call, filter_key(filter))
    assert type(got.after) is type(after)


@settings(deadline=None)
@given(shard=shard_ids, filter=st.none() | filters(), conditions=read_terms)
def test_a_count_comes_back(shard: ShardId, filter: Filter | None, conditions: ReadTerms) -> None:
    got = wire.count_from_message(over_the_wire(wire.count_to_message(ShardCount(shard=shard, filter=filter, terms=conditions))))
    assert parts(got, "shard", "terms") == (shard, conditions)
    assert filter_key(got.filter) == filter_key(filter)


@settings(deadline=None)
@given(shard=shard_ids, role=st.sampled_from(ReplicaRole), numbers=st.lists(uint64, min_size=9, max_size=9, unique=True))
def test_stats_come_back(shard: ShardId, role: str, numbers: list[int]) -> None:
    term, seq, points, growing, sealed, segments, pending, size, memory = numbers
    stats = ShardStats(
        shard=shard,
        role=role,
        term=Term(term),
        applied_seq=Seq(seq),
        points=points,
        growing_rows=growing,
        sealed_rows=sealed,
        segments=segments,
        builds_pending=pending,
        bytes=size,
        memory_bytes=memory,
        waiting="for memory",
    )
    assert wire.stats_from_message(shard, over_the_wire(wire.stats_to_message(stats))) == stats


@settings(deadline=None)
@given(
    memory_bytes=uint64,
    failed=st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3),
    serving=st.frozensets(st.text(max_size=5), max_size=3),
    budget=uint64,
    replicas=st.dictionaries(st.text(max_size=5), uint64, max_size=3),
)
def test_a_workers_status_comes_back(
    memory_bytes: int, failed: dict[str, str], serving: frozenset[str], budget: int, replicas: dict[str, int]
) -> None:
    status = WorkerStatus(
        memory_bytes=memory_bytes,
        failed=failed,
        serving=serving,
        disk="disk nearly full",
        memory_budget_bytes=budget,
        memory_used_bytes=sum(replicas.values()) % 2**64,
        file_limit=budget,
        files_open=memory_bytes,
        replica_bytes=replicas,
        replicas={
            shard: ReplicaStatus(replica=ReplicaId(f"r{applied}"), role=ReplicaRole.BACKUP, applied_seq=Seq(applied))
            for shard, applied in replicas.items()
        },
        hand_overs={shard: HandOverTime(seconds=applied / 7, ended_ms=applied % 2**63) for shard, applied in replicas.items()},
    )
    assert wire.status_from_message(over_the_wire(wire.status_to_message(status))) == status


def test_consistency_that_is_not_said_is_session_and_unknown_ones_are_refused() -> None:
    assert consistency_from_message(common_pb2.CONSISTENCY_UNSPECIFIED) is Consistency.SESSION
    with pytest.raises(InvalidArgument, match="consistency is 4"):
        consistency_from_message(4)
