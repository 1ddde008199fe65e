"""The verbs of both clients for API keys: `client.keys`."""

from __future__ import annotations

import builtins
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from shoal.client.documented import documented_as
from shoal.client.flow import Flow
from shoal.client.verbs import Verbs
from shoal.core.access import Scope
from shoal.core.api_keys import KeyInfo, NewKey


class KeyCalls:
    """The API keys of a cluster whose routers ask for them. Every verb needs a key with the scope "*:operate".

    asked_by: the name of somebody for the audit, at most 64 characters. Every verb raises Unavailable while no
    coordinator leads.
    """

    def __init__(self, verbs: Verbs, run: Callable[[Flow[Any]], Any]) -> None:
        """run: runs a flow and returns its result."""
        self._verbs, self._run = verbs, run

    def create(
        self,
        name: str,
        scopes: str | Scope | Iterable[str | Scope],
        *,
        expires: float | None = None,
        rate: float | None = None,
        burst: int | None = None,
        concurrency: int | None = None,
        asked_by: str = "",
        timeout: float | None = None,
    ) -> NewKey:
        """Make a key; `.text` is the key, and nobody can show it again.

        scopes: what it may do, such as "docs-*:read,write": a pattern of names of collections, in which * stands for
        any characters, and verbs (read, write, manage, operate); operate, and what is about the cluster, need the
        pattern *. expires: seconds from now; rate: calls a second; burst: calls that may come at once, by default those
        of one second; concurrency: calls at the same time. rate, burst and concurrency hold at each router, and None
        sets no bound.
        """
        flow = self._verbs.create_key(
            name, scopes, expires=expires, rate=rate, burst=burst, concurrency=concurrency, asked_by=asked_by, timeout=timeout
        )
        made: NewKey = self._run(flow)
        return made

    def list(self, *, timeout: float | None = None) -> builtins.list[KeyInfo]:
        """Return the keys by id, without their texts, also those that have expired."""
        keys: builtins.list[KeyInfo] = self._run(self._verbs.list_keys(timeout))
        return keys

    def revoke(self, id: str, *, asked_by: str = "", timeout: float | None = None) -> KeyInfo:
        """Remove a key, and return what it was. Routers refuse it within a second. Raises NotFound if it is unknown."""
        key: KeyInfo = self._run(self._verbs.revoke_key(id, asked_by, timeout))
        return key


@documented_as(KeyCalls)
class AwaitedKeyCalls:
    """The verbs of KeyCalls, awaited."""

    def __init__(self, verbs: Verbs, run: Callable[[Flow[Any]], Awaitable[Any]]) -> None:
        """run: runs a flow and returns its result."""
        self._verbs, self._run = verbs, run

    async def create(
        self,
        name: str,
        scopes: str | Scope | Iterable[str | Scope],
        *,
        expires: float | None = None,
        rate: float | None = None,
        burst: int | None = None,
        concurrency: int | None = None,
        asked_by: str = "",
        timeout: float | None = None,
    ) -> NewKey:
        """See Client."""
        flow = self._verbs.create_key(
            name, scopes, expires=expires, rate=rate, burst=burst, concurrency=concurrency, asked_by=asked_by, timeout=timeout
        )
        made: NewKey = await self._run(flow)
        return made

    async def list(self, *, timeout: float | None = None) -> builtins.list[KeyInfo]:
        """See Client."""
        keys: builtins.list[KeyInfo] = await self._run(self._verbs.list_keys(timeout))
        return keys

    async def revoke(self, id: str, *, asked_by: str = "", timeout: float | None = None) -> KeyInfo:
        """See Client."""
        key: KeyInfo = await self._run(self._verbs.revoke_key(id, asked_by, timeout))
        return key
