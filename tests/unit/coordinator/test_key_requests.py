"""API keys are made and revoked once or not at all, with an entry in the audit, and their texts stay nowhere."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable

import pytest

from shoal.coordinator import key_requests
from shoal.coordinator.audit_log import AuditLog
from shoal.coordinator.key_requests import KeyRequests
from shoal.core.access import scope_from_text
from shoal.core.api_keys import ApiKey, CreateKey, ListKeys, RevokeKey, id_for, proves
from shoal.core.errors import AlreadyExists, DataLoss, NotFound, ResourceExhausted, Unavailable
from shoal.store.interface import Put
from shoal.store.key_codecs import decode_key, encode_key
from tests.twins.coordinator.bare_coordinator import BareCoordinator, ManualClock
from tests.twins.coordinator.operated import Operated, operated
from tests.twins.coordinator.world import KEYS
from tests.twins.store.client import CommitFault
from tests.twins.store.cluster import MemoryCluster

ASKED = CreateKey(name="app", scopes=(scope_from_text("docs-*:read"),), lifetime_s=60.0, rate_per_s=5.0, asked_by="me", request_id="r1")


class Desk:
    """The requests about keys of a cluster, with secrets that are counted."""

    def __init__(self, one: BareCoordinator, now_ms: Callable[[], int]) -> None:
        self.one, self.made = one, 0
        audit = AuditLog(keys=KEYS, wall_ms=now_ms, new_id=self.new_id)
        self.requests = KeyRequests(
            requests=one.requests, keys=KEYS, audit=audit, wall_ms=now_ms, new_id=self.new_id, new_secret=self.new_secret
        )

    def new_id(self) -> str:
        self.made += 1
        return f"id {self.made:06}"

    def new_secret(self) -> bytes:
        self.made += 1
        return self.made.to_bytes(32, "big")

    async def stored(self) -> dict[str, ApiKey]:
        listing = await self.one.store.list(KEYS.api_keys, 1.0)
        return {entry.key: decode_key(entry.key, entry.value) for entry in listing.entries}

    async def everything(self) -> bytes:
        """What the store holds."""
        listing = await self.one.store.list(KEYS.prefix, 1.0)
        return b"".join(entry.key.encode() + entry.value for entry in listing.entries)


def test_a_key_is_made_listed_and_revoked_and_only_its_digest_is_kept() -> None:
    async def scenario(it: Operated) -> None:
        desk = Desk(it.one, it.op.now_ms)
        made = await desk.requests.create(ASKED, 5.0)
        (stored,) = (await desk.stored()).values()
        assert proves(made.text, stored)
        assert made.text.encode() not in await desk.everything()
        assert made.text.rsplit("_", 1)[1].encode() not in await desk.everything()
        assert (made.key.name, made.key.scopes, made.key.rate_per_s, made.key.burst) == ("app", ASKED.scopes, 5.0, 5)
        assert made.key.expires_ms == made.key.created_ms + 60_000
        assert await desk.requests.list(ListKeys(), 5.0) == (made.key,)
        assert await desk.requests.revoke(RevokeKey(id=made.key.id, asked_by="you"), 5.0) == made.key
        assert await desk.stored() == {}
        with pytest.raises(NotFound):
            await desk.requests.revoke(RevokeKey(id=made.key.id), 5.0)
        assert await it.actions() == [("create-key", made.key.id, "me"), ("revoke-key", made.key.id, "you")]

    operated(scenario)


def test_a_request_that_comes_again_has_one_key_with_the_new_text() -> None:
    async def scenario(it: Operated) -> None:
        desk = Desk(it.one, it.op.now_ms)
        first, second = await desk.requests.create(ASKED, 5.0), await desk.requests.create(ASKED, 5.0)
        (stored,) = (await desk.stored()).values()
        assert first.key.id == second.key.id == stored.id
        assert (proves(first.text, stored), proves(second.text, stored)) == (False, True)

    operated(scenario)


@pytest.mark.parametrize("fault", [CommitFault.LOST_BEFORE, CommitFault.LOST_AFTER])
def test_a_lost_answer_of_the_store_changes_nothing(fault: CommitFault) -> None:
    async def scenario(it: Operated) -> None:
        desk = Desk(it.one, it.op.now_ms)
        it.one.store.fail_next_commit(fault)
        made = await desk.requests.create(ASKED, 5.0)
        (stored,) = (await desk.stored()).values()
        assert proves(made.text, stored)
        it.one.store.fail_next_commit(fault)
        assert await desk.requests.revoke(RevokeKey(id=made.key.id), 5.0) == made.key
        assert await desk.stored() == {}

    operated(scenario)


def test_requests_without_an_id_have_keys_of_their_own() -> None:
    async def scenario(it: Operated) -> None:
        desk = Desk(it.one, it.op.now_ms)
        anonymous = dataclasses.replace(ASKED, request_id="")
        assert (await desk.requests.create(anonymous, 5.0)).key.id != (await desk.requests.create(anonymous, 5.0)).key.id
        assert len(await desk.stored()) == 2

    operated(scenario)


def test_the_key_of_another_request_is_not_written_over() -> None:
    async def scenario(it: Operated) -> None:
        desk = Desk(it.one, it.op.now_ms)
        made = await desk.requests.create(ASKED, 5.0)
        name = KEYS.api_key(made.key.id)
        other = dataclasses.replace((await desk.stored())[name], request="0" * 64)
        await it.put(Put(key=name, value=encode_key(other)))
        with pytest.raises(AlreadyExists, match=id_for("r1")):
            await desk.requests.create(ASKED, 5.0)

    operated(scenario)


def test_there_are_not_more_keys_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(it: Operated) -> None:
        desk = Desk(it.one, it.op.now_ms)
        await desk.requests.create(ASKED, 5.0)
        with pytest.raises(ResourceExhausted, match="at most 1 "):
            await desk.requests.create(dataclasses.replace(ASKED, request_id="r2"), 5.0)

    monkeypatch.setattr(key_requests, "MOST_KEYS", 1)
    operated(scenario)


def test_a_key_that_cannot_be_read_can_be_revoked() -> None:
    async def scenario(it: Operated) -> None:
        desk = Desk(it.one, it.op.now_ms)
        await it.put(Put(key=KEYS.api_key("0a" * 6), value=b"?"))
        with pytest.raises(DataLoss):
            await desk.requests.list(ListKeys(), 5.0)
        assert (await desk.requests.revoke(RevokeKey(id="0a" * 6), 5.0)).name == ""
        assert await desk.requests.list(ListKeys(), 5.0) == ()

    operated(scenario)


def test_who_does_not_lead_refuses() -> None:
    async def scenario() -> None:
        clock = ManualClock()
        one = BareCoordinator(MemoryCluster(clock), clock)
        desk = Desk(one, lambda: 0).requests
        try:
            for call in (desk.create(ASKED, 1.0), desk.list(ListKeys(), 1.0), desk.revoke(RevokeKey(id="0a" * 6), 1.0)):
                with pytest.raises(Unavailable, match="no coordinator leads now"):
                    await call
        finally:
            await one.stop()

    asyncio.run(scenario())
