"""Test PointsStore against a dictionary in any history of groups, openings and checkpoints."""

import json

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from shoal.core.filter import Exists, HasId, Not
from shoal.core.filter_truth import matches
from shoal.core.ids import RequestId, Seq
from shoal.core.point_change import DeletePayload, PointUpdate, ReplacePayload, SetPayload, UpdateVectors
from shoal.core.points import PointColumns, id_array, id_order
from shoal.shard_worker.logic.replication.request_memory import Remembered
from shoal.shard_worker.storage.store.mutation import ChangeRows, Noop, PutRows, RemoveRows, RequestEntry
from tests.support.worker.storage_parts import DIM, new_store, open_store
from tests.twins.point_changes import payload_after

IDS = st.one_of(st.integers(-3, 6), st.sampled_from(["1", "2", "a", "é", "\x00", "z" * 30]), st.sampled_from([-(2**63), 2**63 - 1]))
FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
POINT = st.tuples(st.lists(FLOATS, min_size=DIM, max_size=DIM), st.none() | st.sampled_from([b"", b"{}", b'{"a":[1,"\xc3\xa9"]}']))
REQUEST = st.none() | st.builds(RequestId, st.sampled_from(["x", "y"]), st.integers(1, 5))
PAYLOAD_CHANGE = st.sampled_from(
    [SetPayload(b'{"a":2,"b":{"c":1}}'), ReplacePayload(b'{"b":{"c":2,"d":3}}'), DeletePayload((("b", "c"), ("a",))), SetPayload(b"{}")]
)
UPDATE = st.tuples(
    st.lists(IDS, max_size=6, unique_by=lambda each: (type(each), each)),
    PAYLOAD_CHANGE | st.lists(st.lists(FLOATS, min_size=DIM, max_size=DIM), min_size=6, max_size=6),
    st.sampled_from([None, Exists(("a",)), Not(Exists(("b", "c"))), HasId((1, "a"))]),
)
STEP = st.one_of(
    st.tuples(st.just("upsert"), st.dictionaries(IDS, POINT, max_size=6), REQUEST),
    st.tuples(st.just("delete"), st.lists(IDS, max_size=5), REQUEST),
    st.tuples(st.just("update"), UPDATE, REQUEST),
    st.tuples(st.just("noop"), st.none(), REQUEST),
)


class StoreModel(RuleBasedStateMachine):
    """points: id -> (row, vector, payload). requests: (client, number) -> what is remembered of the request."""

    folder_factory = None

    @initialize()
    def begin(self):
        self.folder = self.folder_factory.mktemp("model")
        self.store = new_store(self.folder)
        self.points, self.requests = {}, {}
        self.seq, self.next_row = 0, 1

    @rule(steps=st.lists(STEP, max_size=4), forget=st.lists(st.tuples(st.sampled_from(["x", "y"]), st.integers(0, 5)), max_size=2))
    def apply(self, steps, forget):
        for client, through in forget:
            self.requests = {key: kept for key, kept in self.requests.items() if key[0] != client or key[1] > through}
        expected, mutations = [], []
        for step in steps:
            mutation, change = self._step(*step)
            mutations.append(mutation)
            expected.append(change)
        changes = self.store.apply(mutations, forget=forget)
        assert [(each.seq, each.killed_rows.tolist(), each.rows.tolist(), each.affected) for each in changes] == expected
        assert all(each.killed_rows.dtype == each.rows.dtype == np.int64 for each in changes)

    def _step(self, verb, argument, request):
        self.seq += 1
        entry = None if request is None else RequestEntry(request_id=request, time_ms=self.seq * 10)
        if verb == "upsert":
            mutation, change = self._upsert(argument, entry)
        elif verb == "delete":
            killed = sorted(self.points.pop(each)[0] for each in set(argument) if each in self.points)
            mutation = RemoveRows(seq=Seq(self.seq), ids=id_array(argument), request=entry)
            change = (self.seq, killed, [], len(killed))
        elif verb == "update":
            mutation, change = self._update(*argument, entry)
        else:
            mutation, change = Noop(seq=Seq(self.seq), request=entry), (self.seq, [], [], 0)
        if request is not None:
            self.requests[request.client, request.number] = Remembered(
                request_id=request, seq=Seq(self.seq), affected=change[3], time_ms=self.seq * 10
            )
        return mutation, change

    def _upsert(self, given, entry):
        killed = sorted(self.points[each][0] for each in given if each in self.points)
        rows = list(range(self.next_row, self.next_row + len(given)))
        self.next_row += len(given)
        for row, (point_id, (vector, payload)) in zip(rows, given.items(), strict=True):
            self.points[point_id] = (row, vector, payload)
        columns = PointColumns(
            ids=id_array(given),
            vectors=np.array([vector for vector, _ in given.values()], dtype=np.float32).reshape(len(given), DIM),
            payloads=tuple(payload for _, payload in given.values()),
        )
        return PutRows(seq=Seq(self.seq), columns=columns, request=entry), (self.seq, killed, rows, len(given))

    def _update(self, ids, change, filter, entry):
        vectors = dict(zip(ids, change, strict=False)) if isinstance(change, list) else None
        given = change if vectors is None else UpdateVectors(np.array(list(vectors.values()), dtype=np.float32).reshape(len(ids), DIM))
        update = PointUpdate(ids=id_array(ids), change=given, filter=filter)
        killed, made = [], []
        for each in ids:
            if each not in self.points:
                continue
            row, vector, payload = self.points[each]
            value = json.loads(payload) if payload else None
            if filter is not None and not matches(filter, value, each):
                continue
            if vectors is not None:
                vector = vectors[each]
            elif payload == b"" and not isinstance(change, ReplacePayload):
                continue
            else:
                payload = payload_after(payload, change)
            killed.append(row)
            made.append(self.next_row)
            self.points[each] = (self.next_row, vector, payload)
            self.next_row += 1
        return ChangeRows(seq=Seq(self.seq), update=update, request=entry), (self.seq, sorted(killed), made, len(made))

    @rule()
    def reopen(self):
        self.store.close()
        self.store = open_store(self.folder)

    @rule()
    def checkpoint(self):
        assert self.store.checkpoint() == self.seq

    @rule()
    def rest(self):
        self.store.checkpoint()
        assert self.store.rest()
        assert (self.store.count(), self.store.applied_seq, self.store.next_row) == (len(self.points), self.seq, self.next_row)
        self.store.wake()

    @rule(ids=st.lists(IDS, max_size=8))
    def get(self, ids):
        found = self.store.get(id_array(ids), with_vectors=True, with_payloads=True)
        self._check(found, [each for each in ids if each in self.points])

    @rule(rows=st.lists(st.integers(0, 40), max_size=8))
    def read_rows(self, rows):
        by_row = {row: point_id for point_id, (row, _, _) in self.points.items()}
        found = self.store.rows(np.array(rows, dtype=np.int64), with_vectors=True, with_payloads=True)
        assert found.found.tolist() == [row in by_row for row in rows]
        self._check(found.columns, [by_row[row] for row in rows if row in by_row])

    @rule(after=st.none() | IDS, limit=st.integers(1, 5))
    def scroll(self, after, limit):
        ids = [each for each in sorted(self.points, key=id_order) if after is None or id_order(each) > id_order(after)]
        self._check(self.store.scroll(after, limit, with_vectors=True, with_payloads=True), ids[:limit])

    @invariant()
    def agrees(self):
        if not hasattr(self, "store"):
            return
        assert (self.store.count(), self.store.applied_seq, self.store.next_row) == (len(self.points), self.seq, self.next_row)
        live = self.store.live_rows()
        by_row = sorted((row, point_id) for point_id, (row, _, _) in self.points.items())
        assert list(zip(live.rows.tolist(), live.ids.tolist(), strict=True)) == by_row
        assert self.store.vectors_of(live.rows).tolist() == [self.points[point_id][1] for _, point_id in by_row]
        assert self.store.requests() == sorted(self.requests.values(), key=lambda each: each.seq)

    def _check(self, found, ids):
        assert found.ids.tolist() == ids
        assert [type(each) for each in found.ids.tolist()] == [type(each) for each in ids]
        assert found.vectors.tolist() == [self.points[each][1] for each in ids]
        assert found.payloads == tuple(self.points[each][2] for each in ids)

    def teardown(self):
        if hasattr(self, "store"):
            self.store.close()


def test_the_store_is_a_dict(tmp_path_factory):
    StoreModel.folder_factory = tmp_path_factory
    case = StoreModel.TestCase
    case.settings = settings(max_examples=40, stateful_step_count=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    case().runTest()
