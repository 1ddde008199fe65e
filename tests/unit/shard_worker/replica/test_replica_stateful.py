"""Test a replica against a dictionary in any history of writes, builds, checkpoints, restarts and crashes. A crash may
happen at every fault point.

A crash copies the folder as it is at the fault point and opens the copy. The objects that were open are left behind.
After a crash, the operation under way has happened as a whole or not at all; everything else is as in the dictionary.
So are texts: hits and scores of every search are those of brute force over the dictionary, or, while a text field is
still being indexed, the search is refused.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from shoal.core.errors import PreconditionFailed, ShoalError
from shoal.core.filter import In
from shoal.core.point_change import DeletePayload, ReplacePayload, SetPayload, UpdateVectors
from shoal.core.points import id_order
from shoal.core.text_fields import text_fields_from_input
from shoal.core.text_query import TextAsk
from shoal.runtime.fault_points import SimulatedCrash, armed
from shoal.shard_worker.fsck.finding import Verdict
from shoal.shard_worker.fsck.replica_check import check_replica
from shoal.shard_worker.fsck.targets import Target
from shoal.shard_worker.text.field_texts import texts_of
from tests.support.worker.engine_driver import Driven
from tests.support.worker.engine_reading import count, matching, nearest, stored
from tests.support.worker.replica_bench import SPEC
from tests.support.worker.replica_texts import PointsWithTexts, found_texts
from tests.twins.point_changes import payload_after

IDS = st.one_of(st.integers(-2, 12), st.sampled_from(["1", "a", "é"]))
WORDS = st.lists(st.sampled_from(["red", "green", "blue", "红色"]), max_size=4).map(" ".join)
PAYLOAD = st.fixed_dictionaries({"class": st.integers(0, 2)}, optional={"note": WORDS | st.lists(WORDS, max_size=2), "of": WORDS})
VECTOR = st.lists(st.integers(-3, 3), min_size=4, max_size=4)
POINT = st.tuples(VECTOR, st.none() | PAYLOAD)
TEXT = st.sampled_from([{}, {"note": "auto"}, {"note": "words", "of": "auto"}, {"note": "auto", "of": "cjk"}]).map(text_fields_from_input)
POINTS = st.dictionaries(IDS, POINT, min_size=1, max_size=6)
CHANGE = st.one_of(
    PAYLOAD.map(lambda payload: SetPayload(json.dumps(payload).encode())),
    WORDS.map(lambda words: SetPayload(json.dumps({"note": words}).encode())),
    PAYLOAD.map(lambda payload: ReplacePayload(json.dumps(payload).encode())),
    st.sampled_from([DeletePayload((("note",), ("of", "x"))), DeletePayload((("class",),))]),
)
MUST = st.none() | st.sampled_from(["red", "green"])
FAULT = st.none() | st.integers(1, 25)
"""Number of the fault point at which an operation crashes. Many operations reach fewer fault points and do
not crash.
"""


class ReplicaModel(RuleBasedStateMachine):
    """points: id -> (vector, payload). Each operation may crash."""

    folder_factory = None

    @initialize()
    def begin(self):
        self.root = self.folder_factory.mktemp("replica")
        self.lives = itertools.count()
        self.points = {}
        self.spec = dataclasses.replace(SPEC, text=text_fields_from_input({"note": "auto"}))
        self.driven = Driven(self._next_path(), self.spec)

    @rule(points=POINTS, fault=FAULT)
    def upsert(self, points, fault):
        vectors = [vector for vector, _ in points.values()]
        payloads = [None if payload is None else json.dumps(payload).encode() for _, payload in points.values()]
        self._do(lambda: self.driven.upsert(list(points), vectors, payloads), {**self.points, **points}, fault)

    @rule(ids=st.lists(IDS, min_size=1, max_size=6, unique=True), wanted=st.none() | st.integers(0, 2), change=CHANGE, fault=FAULT)
    def update(self, ids, wanted, change, fault):
        """Change the points that exist, and only those of a class if one is wanted."""
        changed = [each for each in ids if each in self.points and (wanted is None or each in self._of_class(wanted))]
        after = {each: (self.points[each][0], json.loads(payload_after(self._payload(each), change))) for each in changed}
        filter = None if wanted is None else In(("class",), (wanted,))
        self._do(lambda: self.driven.update(ids, change, filter), {**self.points, **after}, fault)

    @rule(ids=st.lists(IDS, min_size=1, max_size=6, unique=True), vector=VECTOR, wanted=st.none() | st.integers(0, 2), fault=FAULT)
    def update_vectors(self, ids, vector, wanted, fault):
        vectors = {each: [*vector[:-1], at] for at, each in enumerate(ids)}
        changed = [each for each in ids if each in self.points and (wanted is None or each in self._of_class(wanted))]
        after = {each: (vectors[each], self.points[each][1]) for each in changed}
        filter = None if wanted is None else In(("class",), (wanted,))
        change = UpdateVectors(np.array(list(vectors.values()), dtype=np.float32))
        self._do(lambda: self.driven.update(ids, change, filter), {**self.points, **after}, fault)

    @rule(ids=st.lists(IDS, min_size=1, max_size=6, unique=True), fault=FAULT)
    def delete(self, ids, fault):
        self._do(lambda: self.driven.delete(ids), self._without(ids), fault)

    @rule(wanted=st.integers(0, 2), fault=FAULT)
    def delete_matching(self, wanted, fault):
        ids, rows = matching(self.driven, In(("class",), (wanted,)))
        assert sorted(ids, key=id_order) == self._of_class(wanted)
        self._do(lambda: self.driven.delete_rows(ids, rows), self._without(ids), fault)

    @rule(wanted=st.integers(0, 2), again=POINTS, fault=FAULT)
    def delete_matching_after_a_later_write(self, wanted, again, fault):
        """A point that was written again after it was found has another row, so it stays."""
        ids, rows = matching(self.driven, In(("class",), (wanted,)))
        self.upsert(again, None)
        self._do(lambda: self.driven.delete_rows(ids, rows), self._without([each for each in ids if each not in again]), fault)

    @rule(everything=st.booleans(), fault=FAULT)
    def build(self, everything, fault):
        self._do(lambda: self.driven.build(everything=everything), self.points, fault)

    @rule()
    def freeze(self):
        self.driven.engine.freeze()

    @rule(fault=FAULT)
    def checkpoint(self, fault):
        self._do(self.driven.checkpoint, self.points, fault)

    @rule(fault=FAULT)
    def rest(self, fault):
        self._do(self.driven.rest, self.points, fault)

    @rule(fault=FAULT)
    def new_term(self, fault):
        self._do(self.driven.new_term, self.points, fault)

    @rule(fault=FAULT)
    def restart(self, fault):
        def again():
            self.driven.close()
            self.driven = Driven(self.driven.path, self.spec)

        self._do(again, self.points, fault)

    @rule(text=TEXT)
    def alter_text_fields(self, text):
        self.spec = dataclasses.replace(self.spec, text=text)
        self.driven.engine.texts.choose(texts_of(text))

    @rule(fault=FAULT)
    def make_texts(self, fault):
        self._do(self.driven.make_texts, self.points, fault)

    @rule(
        text=WORDS.filter(bool),
        must=st.none() | st.sampled_from(["red", "green"]),
        k=st.integers(1, 8),
        wanted=st.none() | st.integers(0, 2),
    )
    def search_texts(self, text, must, k, wanted):
        ask = TextAsk(text=text, must=() if must is None else (must,))
        view = self.driven.engine.reading.view()
        assert (() if view.texts is None else view.texts.names) == tuple(each.name for each in self.spec.text)
        if not self.spec.text:
            return
        filter, allowed = (None, None) if wanted is None else (In(("class",), (wanted,)), set(self._of_class(wanted)))
        ready, parts = view.texts_ready(view.texts.names)
        if ready < parts:
            with pytest.raises(PreconditionFailed, match=f"{ready} of {parts}"):
                found_texts(self.driven.engine, ask, k, filter)
            assert self.driven.engine.texts.lacking() or self.driven.engine.points.next_build(everything=False) is not None
            return
        payloads = {each: payload for each, (_, payload) in self.points.items()}
        assert found_texts(self.driven.engine, ask, k, filter) == PointsWithTexts(self.spec.text, payloads).search(ask, k, allowed)

    @rule()
    def crash(self):
        self._crashed(self._copied(), [self.points])

    @rule(query=st.lists(st.integers(-3, 3), min_size=4, max_size=4), k=st.integers(1, 8), wanted=st.none() | st.integers(0, 2))
    def search(self, query, k, wanted):
        among = list(self.points) if wanted is None else self._of_class(wanted)
        distance = {each: int(np.square(np.subtract(self.points[each][0], query)).sum()) for each in among}
        expected = sorted(among, key=lambda each: (distance[each], id_order(each)))[:k]
        assert nearest(self.driven, query, k, None if wanted is None else In(("class",), (wanted,))) == expected

    @invariant()
    def agrees(self):
        if hasattr(self, "driven"):
            assert stored(self.driven) == {each: (list(map(float, vector)), payload) for each, (vector, payload) in self.points.items()}
            assert count(self.driven) == len(self.points)
            assert count(self.driven, In(("class",), (1,))) == len(self._of_class(1))

    def _do(self, operation, after, fault):
        """Do an operation that changes the model to `after`. If it crashes at the fault point, the model is as before
        or `after`.
        """
        if fault is None:
            operation()
            self.points = after
            return
        copies = []

        def crash():
            if not copies:
                copies.append(self._copied())
            raise SimulatedCrash

        with armed(None, crash, nth=fault), contextlib.suppress(SimulatedCrash):
            operation()
        if copies:
            self._crashed(copies[0], [self.points, after])
        else:
            self.points = after

    def _crashed(self, path, may_be):
        abandoned = self.driven
        report = check_replica(Target(replica=path, worker=None), None, lambda text: None)
        assert report.verdict is Verdict.CLEAN, report.findings
        self.driven = Driven(path, self.spec)
        with contextlib.suppress(ShoalError, SimulatedCrash):
            abandoned.close()
        found = stored(self.driven)
        expected = [{each: (list(map(float, vector)), payload) for each, (vector, payload) in model.items()} for model in may_be]
        assert found in expected
        self.points = may_be[expected.index(found)]

    def _copied(self):
        path = self._next_path()
        self.driven.copy_to(path)
        return path

    def _next_path(self):
        return self.root / "collection" / "0" / f"life-{next(self.lives)}"

    def _without(self, ids):
        return {each: kept for each, kept in self.points.items() if each not in ids}

    def _payload(self, point_id):
        payload = self.points[point_id][1]
        return None if payload is None else json.dumps(payload).encode()

    def _of_class(self, wanted):
        return sorted((each for each, (_, payload) in self.points.items() if (payload or {}).get("class") == wanted), key=id_order)

    def teardown(self):
        if hasattr(self, "driven"):
            self.driven.close()


def test_the_replica_is_a_dictionary(tmp_path_factory):
    ReplicaModel.folder_factory = tmp_path_factory
    case = ReplicaModel.TestCase
    case.settings = settings(max_examples=15, stateful_step_count=16, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    case().runTest()
