from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

import shoal
from shoal import InvalidArgument, KeyInfo, NewKey, Scope, Verb
from shoal.core.api_keys import CreateKey
from tests.twins.router_answers import DictCluster, async_client_with, client_with

READ = Scope(collections="docs-*", verbs=frozenset({Verb.READ}))


def test_a_key_is_made_listed_and_revoked() -> None:
    cluster = DictCluster()
    with client_with(cluster) as client:
        made = client.keys.create("app", "docs-*:read", expires=60, rate=2.5, burst=3, concurrency=4, asked_by="me")
        assert made.text.startswith("shoal_000000000001_")
        assert made.text not in repr(made)
        key = made.key
        assert (key.scopes, key.expires_ms - key.created_ms, key.rate_per_s, key.burst, key.concurrency) == ((READ,), 60_000, 2.5, 3, 4)
        assert client.keys.list() == [key]
        assert client.keys.revoke(key.id) == key
        assert client.keys.list() == []
    (asked, _) = cluster.keys.asked
    assert isinstance(asked, CreateKey)
    assert len(asked.request_id) == 32


@pytest.mark.parametrize("scopes", ["docs-*:read", READ, ["docs-*:read"], [READ], iter([READ])])
def test_scopes_are_given_in_several_ways(scopes: Any) -> None:
    with client_with(DictCluster()) as client:
        assert client.keys.create("app", scopes).key.scopes == (READ,)


@pytest.mark.parametrize(
    ("ask", "field"),
    [
        (lambda keys: keys.create("", "*:read"), "name"),
        (lambda keys: keys.create("a\nb", "*:read"), "name"),
        (lambda keys: keys.create("app", []), "scopes"),
        (lambda keys: keys.create("app", "read"), "scopes"),
        (lambda keys: keys.create("app", 7), "scopes"),
        (lambda keys: keys.create("app", [7]), "scopes"),
        (lambda keys: keys.create("app", "*:read", expires=0), "expires"),
        (lambda keys: keys.create("app", "*:read", expires=float("inf")), "expires"),
        (lambda keys: keys.create("app", "*:read", rate=-1), "rate"),
        (lambda keys: keys.create("app", "*:read", rate=1, burst=0), "burst"),
        (lambda keys: keys.create("app", "*:read", burst=1), "burst"),
        (lambda keys: keys.create("app", "*:read", concurrency=1.5), "concurrency"),
        (lambda keys: keys.revoke("a\nb"), "id"),
    ],
)
def test_bad_input_is_refused_before_anything_is_sent(ask: Callable[[Any], Any], field: str) -> None:
    with client_with(DictCluster()) as client:
        with pytest.raises(InvalidArgument) as refused:
            ask(client.keys)
        assert refused.value.details.field == field
        assert client.mock.sent == []


def test_the_asyncio_client_does_the_same() -> None:
    async def story() -> tuple[NewKey, list[KeyInfo]]:
        async with async_client_with(DictCluster()) as client:
            made = await client.keys.create("app", "docs-*:read")
            return made, await client.keys.list()

    made, listed = asyncio.run(story())
    assert listed == [made.key]


@pytest.mark.parametrize("connect", [shoal.connect, shoal.connect_async])
def test_a_key_is_not_shown_by_a_client_and_a_bad_one_is_refused_at_once(connect: Callable[..., Any]) -> None:
    assert "secret" not in repr(connect("localhost:1", api_key="secret"))
    with pytest.raises(InvalidArgument) as refused:
        connect("localhost:1", api_key="secret\r\nx: y")
    assert "secret" not in refused.value.message
