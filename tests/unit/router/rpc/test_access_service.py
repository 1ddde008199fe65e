"""Test that the public service Access hands requests about keys on to the leading coordinator, and waits for its own
view of them.
"""

from __future__ import annotations

import asyncio
from typing import Any

from shoal.core.access import scope_from_text
from shoal.core.api_keys import CreateKey, KeyInfo, ListKeys, NewKey, RevokeKey
from shoal.router.rpc.access_service import AccessService
from shoal.wire.access import CALLS
from tests.twins.cluster import TwinCluster

INFO = KeyInfo(
    id="0a" * 6, name="app", scopes=(scope_from_text("*:read"),), created_ms=1, expires_ms=0, rate_per_s=0.0, burst=0, concurrency=0
)
ANSWERS: dict[Any, Any] = {CreateKey: NewKey(key=INFO, text="text"), ListKeys: (INFO,), RevokeKey: INFO}


class Context:
    def time_remaining(self) -> float | None:
        return 10.0

    def peer(self) -> str:
        return "ipv4:10.0.0.7:5000"


class Operators:
    """Operations that answer, and note what they were asked."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, str]] = []

    async def answer(self, request: Any, caller: str, timeout_s: float) -> Any:
        self.told.append((request, caller))
        return ANSWERS[type(request)]


def test_requests_go_to_the_leader_and_end_when_this_router_sees_them() -> None:
    operators, settled = Operators(), []

    async def wait(id: str, known: bool) -> None:
        settled.append((id, known))

    service = AccessService(operators=operators, default_timeout_s=5.0, settled=wait)  # type: ignore[arg-type]
    for request in (CreateKey(name="app", scopes=INFO.scopes), ListKeys(), RevokeKey(id=INFO.id)):
        call = CALLS[type(request)]
        message = asyncio.run(getattr(service, call.name)(call.to_message(request), Context()))
        assert call.from_message(message) == ANSWERS[type(request)]
        assert operators.told[-1] == (request, "ipv4:10.0.0.7:5000")
    assert settled == [(INFO.id, True), (INFO.id, False)]


def test_a_key_is_asked_for_with_one_id_however_often_and_with_who_asks() -> None:
    cluster = TwinCluster()
    operations = cluster.router.operations
    named = operations._named(CreateKey(name="app", scopes=INFO.scopes, asked_by="me"), "ipv4:10.0.0.7:5000 with key 0a")
    assert named.request_id
    assert named.asked_by == "me from ipv4:10.0.0.7:5000 with key 0a"
