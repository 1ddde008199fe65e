from __future__ import annotations

import asyncio
import dataclasses
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.coordinator.administer import Administrator
from shoal.coordinator.key_requests import KeyRequests
from shoal.coordinator.operate import Operator
from shoal.coordinator.recover import Recoverer
from shoal.coordinator.service import UNBOUNDED_CALL_S, CoordinatorService, timeout_s_of
from shoal.core import operations
from shoal.core.alteration import Alteration
from shoal.core.collection import CollectionSpec
from shoal.core.errors import InvalidArgument
from shoal.core.ids import CollectionId, WorkerId
from shoal.core.limits import Limits
from shoal.core.metric import Metric
from shoal.core.named_vectors import NamedVector
from shoal.core.recovery import AuditEntry, Recovery, RecoveryRequest
from shoal.core.requests import DEFAULT_AUDIT_ENTRIES, RecoverShard, Request
from shoal.runtime.calls import CallContext
from shoal.v1 import collections_pb2
from shoal.wire.operations import CALLS
from shoal.wire.recovery import audit_from_message, recover_to_message, recovery_from_message
from tests.support.examples.rebalances import answers, requests
from tests.twins.router_answers import AUDITED, RECOVERY


class Clerk:
    """Records the calls that it gets."""

    def __init__(self) -> None:
        self.asked: list[tuple[object, ...]] = []

    async def create(self, spec: CollectionSpec, request_id: str, timeout_s: float) -> CollectionId:
        self.asked.append((spec, request_id, timeout_s))
        return CollectionId("made")

    async def alter(self, name: str, alteration: Alteration, timeout_s: float) -> None:
        self.asked.append((name, alteration, timeout_s))

    async def drop(self, name: str, collection: CollectionId | None, timeout_s: float) -> None:
        self.asked.append((name, collection, timeout_s))

    async def recover(self, request: RecoveryRequest, timeout_s: float) -> tuple[Recovery, bool]:
        self.asked.append((request, timeout_s))
        return RECOVERY, request.accept_data_loss

    async def audit(self, limit: int, before: str, timeout_s: float) -> tuple[tuple[AuditEntry, ...], str]:
        self.asked.append((limit, before, timeout_s))
        return (AUDITED,), "next"


OPERATOR_METHODS = {
    operations.PlanRebalance: "plan",
    operations.ApplyRebalance: "apply",
    operations.DescribeRebalance: "describe",
    operations.ControlRebalance: "control",
    operations.SetBalance: "set_balance",
    operations.ListRebalances: "history",
    operations.ListWorkers: "workers",
    operations.DrainWorker: "drain",
    operations.UndrainWorker: "undrain",
    operations.ForgetWorker: "forget",
}


class Caller:
    def __init__(self, remaining_s: float | None) -> None:
        self._remaining_s = remaining_s

    def time_remaining(self) -> float | None:
        return self._remaining_s


def served(clerk: Clerk, limits: Limits | None = None) -> CoordinatorService:
    administrator, recoverer, operator = cast(Administrator, clerk), cast(Recoverer, clerk), cast(Operator, clerk)
    return CoordinatorService(administrator, recoverer, operator, cast(KeyRequests, clerk), limits or Limits())


def creating(remaining_s: float | None = None, limits: Limits | None = None, **fields: object) -> tuple[object, ...]:
    clerk = Clerk()
    request = collections_pb2.CreateCollectionRequest(spec=collections_pb2.CollectionSpec(**fields), request_id="r")  # type: ignore[arg-type]
    answer = asyncio.run(served(clerk, limits).CreateCollection(request, cast(CallContext, Caller(remaining_s))))
    assert answer.collection_id == "made"
    return clerk.asked[0]


def test_what_is_left_out_takes_its_default() -> None:
    assert creating(name="c", dim=4) == (CollectionSpec(name="c", dim=4), "r", UNBOUNDED_CALL_S)


def test_what_is_said_is_taken() -> None:
    spec, _, timeout_s = creating(
        remaining_s=10.0, name="c", dim=8, metric="cosine", shards=3, replicas=3, min_isr=1, index="hnsw", recall=0.9
    )
    assert spec == CollectionSpec(name="c", dim=8, metric=Metric.COSINE, shards=3, replicas=3, min_isr_set=1, index="hnsw", recall=0.9)
    assert timeout_s == pytest.approx(9.8)


def test_named_vectors_are_taken_and_their_indexes_altered_by_name() -> None:
    spec, *_ = creating(name="c", metric="ip", vectors=[{"name": "image", "dim": 8}, {"name": "text", "dim": 4, "index": "flat"}])
    vectors = (NamedVector(name="image", dim=8, metric=Metric.IP), NamedVector(name="text", dim=4, metric=Metric.IP, index="flat"))
    assert spec == CollectionSpec(name="c", dim=0, vectors=vectors)
    clerk = Clerk()
    request = collections_pb2.AlterCollectionRequest(name="c", indexes={"text": "hnsw"})
    asyncio.run(served(clerk).AlterCollection(request, cast(CallContext, Caller(1.0))))
    assert clerk.asked[0][:2] == ("c", Alteration(indexes={"text": "hnsw"}))


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"name": "bad name", "dim": 4}, "name"),
        ({"name": "c"}, "dim"),
        ({"name": "c", "dim": 4, "shards": 9}, "shards"),
        ({"name": "c", "dim": 4, "metric": "l3"}, "metric"),
        ({"name": "c", "dim": 4, "replicas": 8}, "replicas"),
        ({"name": "c", "dim": 4, "replicas": 3, "min_isr": 4}, "min_isr"),
        ({"name": "c", "dim": 4, "index": "magic"}, "index"),
        ({"name": "c", "dim": 4, "recall": 1.5}, "recall"),
        ({"name": "c", "dim": 4, "vectors": [{"name": "a", "dim": 4}]}, "dim"),
        ({"name": "c", "vectors": [{"name": "a", "dim": 0}]}, "vectors"),
    ],
)
def test_bad_specifications_are_refused_naming_the_field(fields: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        creating(limits=Limits(shards=8), **fields)
    assert caught.value.details.field == field


def test_a_drop_is_handed_on() -> None:
    clerk = Clerk()
    for request in (collections_pb2.DropCollectionRequest(name="c"), collections_pb2.DropCollectionRequest(name="c", collection_id="i")):
        asyncio.run(served(clerk).DropCollection(request, cast(CallContext, Caller(1.0))))
    assert clerk.asked == [("c", None, pytest.approx(0.9)), ("c", "i", pytest.approx(0.9))]


def test_an_alteration_is_handed_on_and_what_it_leaves_out_is_none() -> None:
    clerk = Clerk()
    for fields in ({}, {"index": "flat"}, {"recall": 0.8}, {"index": "", "recall": 0.0}, {"replicas": 3, "min_isr": 0}):
        request = collections_pb2.AlterCollectionRequest(name="c", **fields)  # type: ignore[arg-type]
        asyncio.run(served(clerk).AlterCollection(request, cast(CallContext, Caller(1.0))))
    assert [asked[:2] for asked in clerk.asked] == [
        ("c", Alteration()),
        ("c", Alteration(index="flat")),
        ("c", Alteration(recall=0.8)),
        ("c", Alteration(index="", recall=0.0)),
        ("c", Alteration(replicas=3, min_isr=0)),
    ]


def test_a_caller_that_gives_no_time_is_given_none() -> None:
    assert timeout_s_of(0.0) == 0.0
    assert timeout_s_of(None) == UNBOUNDED_CALL_S


def test_a_recovery_is_handed_on_and_its_answer_comes_back() -> None:
    clerk = Clerk()
    asked = RecoveryRequest(name="c", number=3, worker=WorkerId("w"), accept_data_loss=True, reason="why", asked_by="who", request_id="r")
    for request in (asked, dataclasses.replace(asked, worker=None, accept_data_loss=False)):
        answer = asyncio.run(served(clerk).RecoverShard(recover_to_message(RecoverShard(asked=request)), cast(CallContext, Caller(1.0))))
        assert (recovery_from_message(answer.recovery), answer.done) == (RECOVERY, request.accept_data_loss)
        assert clerk.asked[-1] == (request, pytest.approx(0.9))


def test_the_audit_is_handed_out_in_pages() -> None:
    clerk = Clerk()
    for request in (collections_pb2.ListAuditRequest(), collections_pb2.ListAuditRequest(limit=7, before="b")):
        answer = asyncio.run(served(clerk).ListAudit(request, cast(CallContext, Caller(1.0))))
        assert (list(map(audit_from_message, answer.entries)), answer.next) == ([AUDITED], "next")
    assert clerk.asked == [(DEFAULT_AUDIT_ENTRIES, "", pytest.approx(0.9)), (7, "b", pytest.approx(0.9))]


@settings(max_examples=5)
@given(st.data())
@pytest.mark.parametrize("kind", OPERATOR_METHODS, ids=lambda kind: kind.__name__)
def test_what_operators_ask_is_handed_on_and_its_answer_comes_back(kind: type[Request], data: st.DataObject) -> None:
    asked, answer, handed = data.draw(requests[kind]), data.draw(answers[kind]), []

    async def answered(request: Request, timeout_s: float) -> object:
        handed.append((request, timeout_s))
        return answer

    operator = SimpleNamespace(**{OPERATOR_METHODS[kind]: answered})
    none: Any = None
    service = CoordinatorService(none, none, cast(Operator, operator), none, Limits())
    call = CALLS[kind]
    message = asyncio.run(getattr(service, call.name)(call.to_message(asked), cast(CallContext, Caller(1.0))))
    assert call.from_message(message) == answer
    assert handed == [(asked, pytest.approx(0.9))]


def test_operators_are_served_all_their_requests() -> None:
    assert set(OPERATOR_METHODS) == set(CALLS)
