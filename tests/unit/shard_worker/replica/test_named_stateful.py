"""Test a replica with named vectors against a dictionary in any history of writes, builds, restarts and crashes.

As in test_replica_stateful, a crash copies the folder as it is at a fault point and opens the copy. A point may have
any of its vectors. Searches of each vector are those of brute force over the dictionary.
"""

from __future__ import annotations

import contextlib
import itertools
import json

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from shoal.core.errors import ShoalError
from shoal.core.filter import In
from shoal.core.point_change import SetPayload, UpdatePacked
from shoal.core.points import id_order
from shoal.runtime.fault_points import SimulatedCrash, armed
from shoal.shard_worker.fsck.finding import Verdict
from shoal.shard_worker.fsck.replica_check import check_replica
from shoal.shard_worker.fsck.targets import Target
from tests.support.worker.engine_driver import Driven
from tests.support.worker.engine_reading import count, matching, nearest, stored
from tests.support.worker.named_vectors import DIMS, NAMED, nearest_by, row_of, rows_of

IDS = st.one_of(st.integers(-2, 12), st.sampled_from(["1", "a", "é"]))
PAYLOAD = st.none() | st.fixed_dictionaries({"class": st.integers(0, 2)})
VECTOR_OF = {each.name: st.lists(st.integers(-3, 3), min_size=each.dim, max_size=each.dim) for each in NAMED.vectors}
VECTORS = st.fixed_dictionaries({}, optional=VECTOR_OF)
POINTS = st.dictionaries(IDS, st.tuples(VECTORS, PAYLOAD), min_size=1, max_size=6)
CHANGES = st.dictionaries(IDS, VECTORS, min_size=1, max_size=6)
WANTED = st.none() | st.integers(0, 2)
FAULT = st.none() | st.integers(1, 30)
"""Number of the fault point at which an operation crashes. Many operations reach fewer and do not crash."""


class NamedReplicaModel(RuleBasedStateMachine):
    """points: id -> (vectors by name, payload). Each operation may crash."""

    folder_factory = None

    @initialize()
    def begin(self):
        self.root = self.folder_factory.mktemp("replica")
        self.lives = itertools.count()
        self.points = {}
        self.driven = Driven(self._next_path(), NAMED)

    @rule(points=POINTS, fault=FAULT)
    def upsert(self, points, fault):
        rows = [row_of(vectors) for vectors, _ in points.values()]
        payloads = [None if payload is None else json.dumps(payload).encode() for _, payload in points.values()]
        self._do(lambda: self.driven.upsert(list(points), rows, payloads), {**self.points, **points}, fault)

    @rule(changes=CHANGES, wanted=WANTED, fault=FAULT)
    def update_vectors(self, changes, wanted, fault):
        """Replace some vectors of the points that exist, and only of those of a class if one is wanted."""
        changed = self._changed(changes, wanted)
        after = {each: ({**self.points[each][0], **changes[each]}, self.points[each][1]) for each in changed}
        change = UpdatePacked(rows_of(list(changes.values())), DIMS)
        self._do(lambda: self.driven.update(list(changes), change, _filter(wanted)), {**self.points, **after}, fault)

    @rule(ids=st.lists(IDS, min_size=1, max_size=6, unique=True), to=st.integers(0, 2), wanted=WANTED, fault=FAULT)
    def update_payloads(self, ids, to, wanted, fault):
        after = {each: (self.points[each][0], {"class": to}) for each in self._changed(ids, wanted)}
        change = SetPayload(json.dumps({"class": to}).encode())
        self._do(lambda: self.driven.update(ids, change, _filter(wanted)), {**self.points, **after}, fault)

    @rule(ids=st.lists(IDS, min_size=1, max_size=6, unique=True), fault=FAULT)
    def delete(self, ids, fault):
        self._do(lambda: self.driven.delete(ids), self._without(ids), fault)

    @rule(wanted=st.integers(0, 2), again=st.none() | POINTS, fault=FAULT)
    def delete_matching(self, wanted, again, fault):
        """A point that is written again after it was found has another row, so it stays."""
        ids, rows = matching(self.driven, _filter(wanted))
        assert sorted(ids, key=id_order) == self._of_class(wanted)
        if again is not None:
            self.upsert(again, None)
        self._do(lambda: self.driven.delete_rows(ids, rows), self._without([each for each in ids if each not in (again or ())]), fault)

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
    def restart(self, fault):
        def again():
            self.driven.close()
            self.driven = Driven(self.driven.path, NAMED)

        self._do(again, self.points, fault)

    @rule()
    def crash(self):
        self._crashed(self._copied(), [self.points])

    @rule(
        asked=st.sampled_from(list(VECTOR_OF)).flatmap(lambda name: st.tuples(st.just(name), VECTOR_OF[name])),
        k=st.integers(1, 8),
        wanted=WANTED,
    )
    def search(self, asked, k, wanted):
        name, query = asked
        among = {each: self.points[each][0] for each in (self.points if wanted is None else self._of_class(wanted))}
        assert nearest(self.driven, query, k, _filter(wanted), name) == nearest_by(name, query, among, k)

    @invariant()
    def agrees(self):
        if hasattr(self, "driven"):
            assert stored(self.driven) == _stored(self.points)
            assert count(self.driven) == len(self.points)
            assert count(self.driven, In(("class",), (1,))) == len(self._of_class(1))
            for name, index in self.driven.engine.searched.items():
                assert index.index.view().points == sum(name in vectors for vectors, _ in self.points.values())
            assert len({index.index.view().seq for index in self.driven.engine.indexes}) == 1, "all views are of one moment"

    def _do(self, operation, after, fault):
        """Do an operation that changes the model to `after`. If it crashes, the model is as before or `after`."""
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
        self.driven = Driven(path, NAMED)
        with contextlib.suppress(ShoalError, SimulatedCrash):
            abandoned.close()
        found, expected = stored(self.driven), [_stored(points) for points in may_be]
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

    def _changed(self, ids, wanted):
        return [each for each in ids if each in self.points and (wanted is None or each in self._of_class(wanted))]

    def _of_class(self, wanted):
        return sorted((each for each, (_, payload) in self.points.items() if (payload or {}).get("class") == wanted), key=id_order)

    def teardown(self):
        if hasattr(self, "driven"):
            self.driven.close()


def _filter(wanted):
    return None if wanted is None else In(("class",), (wanted,))


def _stored(points):
    return {each: (row_of(vectors), payload) for each, (vectors, payload) in points.items()}


def test_a_replica_with_named_vectors_is_a_dictionary(tmp_path_factory):
    NamedReplicaModel.folder_factory = tmp_path_factory
    case = NamedReplicaModel.TestCase
    case.settings = settings(max_examples=15, stateful_step_count=16, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    case().runTest()
