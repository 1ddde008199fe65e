"""Test updates of points at one replica: what reads see, what a restart makes of the log, and what is refused."""

import asyncio
import itertools
import threading

import numpy as np
import pytest

from shoal.core.errors import InvalidArgument, ResourceExhausted
from shoal.core.filter import And, Exists, In, Not
from shoal.core.ids import RequestId, Seq
from shoal.core.point_change import DeletePayload, PointUpdate, ReplacePayload, SetPayload, UpdateVectors
from shoal.core.points import PointColumns, StoredColumns, id_array
from shoal.core.shard_calls import Exact, ShardCount, ShardGet, ShardUpdate
from shoal.core.turns import FREE
from shoal.shard_worker.logic.replication.record import Record, RecordKind
from shoal.shard_worker.replica import foreseen
from shoal.shard_worker.replica.engine import Engine
from shoal.shard_worker.replica.foreseen import foreseen_bytes
from shoal.shard_worker.replica.reading import ReplicaReading
from shoal.shard_worker.storage.folders.replica_folder import ReplicaFolder, fill_replica_folder
from shoal.wire.point_bytes import points_to_bytes
from shoal.wire.records import delete_body, update_body
from tests.support.worker.engine_driver import CLUSTER, REF, SETTINGS, Driven
from tests.support.worker.engine_reading import count, stored
from tests.support.worker.replica_bench import DIM, SHARD, SPEC, opened

FULL = b'{"text":"%s"}' % (b"x" * (1024 * 1024 - 11))
"""A payload of the greatest length."""


def vectors(*values):
    return np.array([[value] * DIM for value in values], dtype=np.float32)


def points(ids, value, payload):
    return points_to_bytes(PointColumns(ids=id_array(ids), vectors=vectors(*[value] * len(ids)), payloads=(payload,) * len(ids)))


def update(ids, change, filter=None):
    return RecordKind.UPDATE, update_body(PointUpdate(ids=id_array(ids), change=change, filter=filter))


HISTORY = [
    (RecordKind.UPSERT, points([1, 2, "a", 4], 1.0, b'{"n":0,"of":{"x":1,"y":2}}')),
    update([1, "a", 9], SetPayload(b'{"n":1,"new":1}')),
    update([1, 2, "a", 4], SetPayload(b'{"seen":true}'), In(("n",), (1,))),
    (RecordKind.DELETE, delete_body(id_array(["a"]))),
    update(["a", 2], UpdateVectors(vectors(5.0, 6.0)), Exists(("of", "x"))),
    update([4, 1], DeletePayload((("of", "x"), ("n",)))),
    (RecordKind.UPSERT, points(["a", 7], 2.0, None)),
    update([7, "a", 2], ReplacePayload(b'{"n":7}'), Not(Exists(("n",)))),
    update([1, 2, 4, 7, "a"], UpdateVectors(vectors(1.5, 2.5, 4.5, 7.5, 9.5))),
]


def records():
    return [
        Record(term=1, seq=Seq(seq), kind=kind, time_ms=seq, request_id=RequestId("c", seq), body=body)
        for seq, (kind, body) in enumerate(HISTORY, start=1)
    ]


def everything(engine):
    """Return all that a replica keeps of its points, bit for bit, with their rows; and what it remembers of writes."""
    live = engine._store.live_rows()
    found = engine._store.rows(live.rows, with_vectors=True, with_payloads=True).columns
    requests = [(str(each.request_id), each.seq, each.affected) for each in engine._store.requests()]
    return live.rows.tolist(), live.ids.tolist(), found.vectors.tobytes(), found.payloads, requests


def test_a_restart_at_every_cut_of_the_log_gives_the_same_bits(tmp_path):
    """Whatever was applied in one go, and whatever the log replays after a crash, the points and rows are the same."""
    outcomes = []
    for applied, in_one_go in itertools.product(range(len(HISTORY) + 1), (True, False)):
        path = tmp_path / f"cut-{applied}-{in_one_go}"
        path.mkdir()
        fill_replica_folder(path, cluster_id=CLUSTER, ref=REF, dim=DIM)
        engine = Engine.open(ReplicaFolder.load(path, cluster_id=CLUSTER, ref=REF), SPEC, SETTINGS)
        engine.save_term(1)
        engine.append(records())
        for group in [records()[:applied]] if in_one_go else [[each] for each in records()[:applied]]:
            if group:
                engine.apply(group)
        engine.close()
        driven = Driven(path)
        outcomes.append(everything(driven.engine))
        assert stored(driven)[2] == ([2.5] * DIM, {"n": 0, "of": {"x": 1, "y": 2}})
        assert count(driven, In(("n",), (7,))) == 2, "the index over payloads holds what was replayed"
        driven.close()
    assert all(each == outcomes[0] for each in outcomes)
    assert [affected for _, _, affected in outcomes[0][4]] == [4, 2, 2, 1, 1, 2, 2, 2, 5]
    assert dict(zip(outcomes[0][1], outcomes[0][3], strict=True)) == {
        1: b'{"of":{"y":2},"new":1,"seen":true}',
        2: b'{"n":0,"of":{"x":1,"y":2}}',
        4: b'{"of":{"y":2}}',
        7: b'{"n":7}',
        "a": b'{"n":7}',
    }


def test_reads_see_an_update_when_it_is_acknowledged_and_after_a_restart(tmp_path):
    async def look(bench):
        got = await bench.replica.get(ShardGet(shard=SHARD, ids=id_array([1, 2, 3]), with_payload=True, with_vectors=True), 5.0)
        assert got.payloads == (b'{"n":5,"m":1}', b'{"n":1}', b'{"n":1}')
        assert got.vectors[:, 0].tolist() == [1.0, 9.0, 3.0]
        assert await bench.replica.count(ShardCount(shard=SHARD, filter=In(("n",), (1,))), 5.0) == 2
        hits = await bench.search([8.0] * DIM, 3, accuracy=Exact())
        assert hits.ids.tolist() == [2, 3, 1]
        assert (await bench.search([0.0] * DIM, 3, filter=In(("n",), (5,)))).ids.tolist() == [1]

    async def run():
        async with opened(tmp_path, term=1) as bench:
            await bench.upsert([1, 2, 3], vectors(1.0, 2.0, 3.0), (b'{"n":1,"m":1}', b'{"n":1}', b'{"n":1}'))
            first = await bench.update([1, 2, 3, 4], SetPayload(b'{"n":5}'), Exists(("m",)))
            second = await bench.update([2, 4], UpdateVectors(vectors(9.0, 4.0)))
            assert (first.affected, second.affected, second.seq - first.seq) == (1, 1, 1)
            await look(bench)
            await bench.replica.optimize(20.0)
            await look(bench)
        async with opened(tmp_path, term=2) as bench:
            await look(bench)

    asyncio.run(run())


def test_an_update_that_changes_nothing_is_acknowledged_with_0(tmp_path):
    async def run():
        async with opened(tmp_path, term=1) as bench:
            await bench.upsert([1], vectors(1.0), (b'{"n":1}',))
            for ids, filter in (([2, 3], None), ([1], In(("n",), (2,))), ([], None)):
                assert (await bench.update(ids, SetPayload(b'{"n":5}'), filter)).affected == 0
                assert (await bench.update(ids, UpdateVectors(vectors(*ids).reshape(-1, DIM)), filter)).affected == 0
            assert await bench.replica.count(ShardCount(shard=SHARD, filter=In(("n",), (1,))), 5.0) == 1

    asyncio.run(run())


def test_a_retry_does_not_undo_what_another_client_wrote_also_after_a_restart(tmp_path):
    first, second = RequestId("one", 1), RequestId("other", 1)

    async def value(bench):
        got = await bench.replica.get(ShardGet(shard=SHARD, ids=id_array([1]), with_payload=True, with_vectors=False), 5.0)
        return got.payloads[0]

    async def run():
        async with opened(tmp_path, term=1) as bench:
            await bench.upsert([1], vectors(1.0), (b'{"a":0}',))
            ack = await bench.update([1], SetPayload(b'{"a":1}'), request_id=first)
            await bench.update([1], SetPayload(b'{"a":2}'), request_id=second)
            assert await bench.update([1], SetPayload(b'{"a":1}'), request_id=first) == ack
            assert await value(bench) == b'{"a":2}'
        async with opened(tmp_path, term=2) as bench:
            assert await bench.update([1], SetPayload(b'{"a":1}'), request_id=first) == ack
            assert await value(bench) == b'{"a":2}'

    asyncio.run(run())


def test_a_payload_that_would_be_too_long_is_refused_with_its_id_before_anything_is_written(tmp_path):
    async def run():
        async with opened(tmp_path, term=1) as bench:
            await bench.upsert([1, "long"], vectors(1.0, 2.0), (b'{"a":0}', FULL))
            before = bench.replica.log_end
            with pytest.raises(InvalidArgument, match=r"point 'long' would have a payload .* 1048582 bytes, at most 1048576") as caught:
                await bench.update([1, "long"], SetPayload(b'{"a":1}'))
            assert (caught.value.details.limit, bench.replica.log_end) == ("payload_bytes", before)
            assert (await bench.update([1, "long"], SetPayload(b'{"a":1}'), Exists(("a",)))).affected == 1
            assert (await bench.update(["long"], SetPayload(b'{"text":1}'))).affected == 1

    asyncio.run(run())


def test_a_payload_that_became_too_long_after_the_look_stays_as_it_is(tmp_path, monkeypatch):
    """Two updates, each of which fits, are both looked at before one of them is applied."""
    looked, foresee = threading.Barrier(2, timeout=20.0), ReplicaReading.foresee

    def foresee_both(*asked):
        found = foresee(*asked)
        looked.wait()
        return found

    monkeypatch.setattr(ReplicaReading, "foresee", foresee_both)

    async def run():
        async with opened(tmp_path, term=1) as bench:
            await bench.upsert([1, 2], vectors(1.0, 2.0), (FULL[:-20] + b'"}', b"{}"))
            acks = await asyncio.gather(*[bench.update([1, 2], SetPayload(b'{"%s":1}' % (name * 8))) for name in (b"a", b"b")])
            assert sorted(ack.affected for ack in acks) == [1, 2]
            assert bench.replica.failure is None
            assert await bench.replica.count(ShardCount(shard=SHARD, filter=Exists(("aaaaaaaa",))), 5.0) in (1, 2)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("ids", "change", "said"),
    [
        ([1, 2, 1], SetPayload(b"{}"), r"ids\[2\]: 1 is given twice"),
        ([1], SetPayload(b"[]"), "payload is not a JSON object"),
        ([1], ReplacePayload(b'{"a":NaN}'), "payload.a is nan"),
        ([1], DeletePayload(()), "0 paths are given"),
        ([1, 2], UpdateVectors(vectors(1.0)), "1 vectors are given for 2 ids"),
        ([1], UpdateVectors(np.zeros((1, DIM + 1), dtype=np.float32)), "vectors have dimension 5"),
        ([1, 2], UpdateVectors(vectors(1.0, np.inf)), r"vectors\[1\] holds NaN"),
    ],
)
def test_an_update_that_could_not_be_applied_is_never_logged(tmp_path, ids, change, said):
    async def run():
        async with opened(tmp_path, term=1) as bench:
            before = bench.replica.log_end
            with pytest.raises(InvalidArgument, match=said):
                await bench.update(ids, change)
            assert (bench.replica.log_end, bench.replica.failure) == (before, None)

    asyncio.run(run())


def test_an_update_keeps_the_bytes_that_it_came_in(tmp_path):
    async def run():
        async with opened(tmp_path, term=1) as bench:
            await bench.upsert([1], vectors(1.0))
            body = update_body(PointUpdate(ids=id_array([1]), change=SetPayload(b"{}"))) + bytes.fromhex("7a0178")
            call = ShardUpdate(shard=SHARD, request_id=bench.next_id(), ids=id_array([1]), change=SetPayload(b"{}"), encoded=body)
            ack = await bench.replica.write(call, 5.0)
            assert bench.engine.read_log(ack.seq, 1_000)[-1].body == body

    asyncio.run(run())


def test_without_memory_an_update_is_refused_and_a_retry_of_one_is_answered(tmp_path):
    async def run():
        async with opened(tmp_path, term=1) as bench:
            request = bench.next_id()
            await bench.upsert(range(50), vectors(*range(50)))
            first = await bench.update(range(50), SetPayload(b'{"a":1}'), request_id=request)
            bench.memory._ledger = bench.memory._ledger.__class__(budget=0)
            with pytest.raises(ResourceExhausted, match="memory"):
                await bench.update(range(50), SetPayload(b'{"a":2}'))
            assert await bench.update(range(50), SetPayload(b'{"a":1}'), request_id=request) == first
            assert bench.memory.promised_bytes == 0

    asyncio.run(run())


def kept(payloads):
    def read(ids):
        return StoredColumns(ids=ids, vectors=None, payloads=tuple(payloads[each] for each in ids.tolist()))

    return read


def test_the_look_counts_the_bytes_of_the_points_that_it_would_write():
    payloads = {number: b'{"n":%d}' % (number % 2) for number in range(200)}
    change, half = SetPayload(b'{"a":1}'), In(("n",), (1,))
    for filter, points_changed in ((None, 200), (half, 100)):
        found = foreseen_bytes(PointUpdate(ids=id_array(payloads), change=change, filter=filter), DIM, kept(payloads), FREE)
        assert found == points_changed * (4 * DIM + len(b'{"n":0,"a":1}'))
    given = UpdateVectors(np.zeros((200, DIM), dtype=np.float32))
    found = foreseen_bytes(PointUpdate(ids=id_array(payloads), change=given), DIM, kept(payloads), FREE)
    assert found == 200 * (4 * DIM + len(b'{"n":0}'))


def test_an_update_that_would_write_too_much_is_refused(monkeypatch):
    monkeypatch.setattr(foreseen, "UPDATE_BYTES", 1_000)
    payloads = dict.fromkeys(range(100), b"{}")
    with pytest.raises(InvalidArgument, match="more than 1000 bytes of points to one shard; change fewer points"):
        foreseen_bytes(PointUpdate(ids=id_array(payloads), change=ReplacePayload(b"{}")), DIM, kept(payloads), FREE)


def test_an_update_that_would_occupy_the_writer_for_long_is_refused():
    """Each look at the clock takes 10 ms here, so that the look ends in a long filter of one point as well."""
    ticks = itertools.count()
    long = And(tuple(Not(Exists((f"no {number}",))) for number in range(1_000)))
    for payloads, filter in ((dict.fromkeys(range(1_000), b"{}"), None), (dict.fromkeys(range(8), b"{}"), long)):
        update = PointUpdate(ids=id_array(payloads), change=SetPayload(b"{}"), filter=filter)
        with pytest.raises(InvalidArgument, match=r"occupy their shard for more than 2 s; change fewer points"):
            foreseen_bytes(update, DIM, kept(payloads), FREE, lambda: next(ticks) / 100)
    short = PointUpdate(ids=id_array(range(8)), change=SetPayload(b"{}"))
    assert foreseen_bytes(short, DIM, kept(dict.fromkeys(range(8), b"{}")), FREE, lambda: next(ticks) / 100) > 0
