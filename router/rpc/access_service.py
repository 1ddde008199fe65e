"""The public Access service: passes calls to verbs/operations.py."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from shoal.core.api_keys import CreateKey, ListKeys, RevokeKey
from shoal.core.requests import Request
from shoal.router.rpc.caller import caller_of, timeout_of
from shoal.router.verbs.operations import Operations
from shoal.runtime.calls import CallContext, UnaryCall, calls_of
from shoal.wire.access import CALLS
from shoal.wire.services import ACCESS

Settled = Callable[[str, bool], Awaitable[None]]
"""Waits, not for long, until this router knows the key with this id, or does not know it any more."""


async def settled_already(id: str, known: bool) -> None:
    """Settled of a router that does not follow keys."""


class AccessService:
    """API keys. Messages: see proto/shoal/v1/access.proto. A new key may be used at this router when it is answered."""

    def __init__(self, *, operators: Operations, default_timeout_s: float, settled: Settled = settled_already) -> None:
        self._operators, self._default_timeout_s, self._settled = operators, default_timeout_s, settled

    async def CreateKey(self, request: Any, context: CallContext) -> Any:
        """Make a key. Its text is in the answer."""
        answer = await self._answer(CreateKey, request, context)
        await self._settled(answer.key.id, True)
        return answer

    async def ListKeys(self, request: Any, context: CallContext) -> Any:
        """Return the keys without their texts."""
        return await self._answer(ListKeys, request, context)

    async def RevokeKey(self, request: Any, context: CallContext) -> Any:
        """Remove a key. This router refuses it when this is answered."""
        answer = await self._answer(RevokeKey, request, context)
        await self._settled(answer.key.id, False)
        return answer

    def calls(self) -> tuple[UnaryCall, ...]:
        """Return the calls of this service."""
        return calls_of(ACCESS, self)

    async def _answer(self, kind: type[Request], message: Any, context: CallContext) -> Any:
        call = CALLS[kind]
        timeout_s = timeout_of(context, self._default_timeout_s)
        return call.written(await self._operators.answer(call.read(message), caller_of(context), timeout_s))
