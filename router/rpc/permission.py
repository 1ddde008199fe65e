"""Puts what a caller may do in front of a call: its collection, its calls at the same time, and the audit.

A caller that may do it everywhere is not checked again, so its calls keep all their doors as they are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from typing import Any

from google.protobuf.message import DecodeError

from shoal.core.access import Caller, InAnswer, InRequest, Rule, Verb, WholeCluster, may_everywhere, may_nowhere, sees
from shoal.core.errors import BUSY_RETRY_S, ErrorDetails, PermissionDenied, ResourceExhausted, ShoalError
from shoal.core.shown import shown
from shoal.router.logic.key_limits import KeyUse
from shoal.router.rpc.audit_lines import AuditLines
from shoal.runtime.calls import AtOnce, CallContext, Handler, Later, Together, UnaryCall
from shoal.runtime.interceptors import Unreadable
from shoal.wire.access import collection_reader

_MOST_READ_TWICE = 64 * 1024
"""A request with more bytes goes to the handler, which reads it anyway: it is not read twice."""

_MOST_SEEN = 1_024
"""Collections that a caller is known to see, of one call."""

_AUDITED = (Verb.MANAGE, Verb.OPERATE)


class KeyContext:
    """The context of a call of administration: its peer tells the key, too."""

    def __init__(self, inner: CallContext, key_id: str) -> None:
        self._inner, self._key_id = inner, key_id

    def time_remaining(self) -> float | None:
        """See CallContext."""
        return self._inner.time_remaining()

    def peer(self) -> str:
        """Return the other end of the connection, with the key behind it."""
        return f"{self._inner.peer()} with key {self._key_id}"

    def invocation_metadata(self) -> Iterable[tuple[str, str | bytes]] | None:
        """See CallContext."""
        return self._inner.invocation_metadata()


Refused = Callable[[UnaryCall, str, str, str, ShoalError], None]
"""Takes note of a refusal: the call, the id of the key, the peer, the collection ("" for none each), and why."""


@dataclass(frozen=True, kw_only=True)
class Permission:
    """What a caller may do with one call. use: counts its calls. refused: is told of each refusal."""

    caller: Caller
    rule: Rule
    use: KeyUse
    audit: AuditLines
    refused: Refused

    def before(self, call: UnaryCall) -> UnaryCall:
        """Return the call as the caller may make it. Raises PermissionDenied if it never may."""
        if may_nowhere(self.caller, self.rule):
            raise _denial(self.caller, self.rule)
        if self.use.is_limited:
            call = self._counted(call)
        if self.rule.verb in _AUDITED:
            call = self._told(call)
        if may_everywhere(self.caller, self.rule):
            return call
        match self.rule.place:
            case InRequest(path):
                return self._checked(call, path)
            case InAnswer(items, path):
                return call.behind(self._filtered(call.handle, items, attrgetter(path)), None)
            case WholeCluster():
                raise _denial(self.caller, self.rule)

    def _checked(self, call: UnaryCall, path: str) -> UnaryCall:
        read, refused = collection_reader(call.request, path), partial(self._refuse, call)
        named, seen = attrgetter(path), set[str]()

        def allowed(request: bytes) -> bool:
            """Return whether a request is surely allowed. If not, its handler decides."""
            if len(request) > _MOST_READ_TWICE:
                return False
            try:
                collection = read(request)
            except DecodeError:
                return False
            if collection in seen:
                return True
            if not sees(self.caller, self.rule.verb, collection):
                return False
            if len(seen) < _MOST_SEEN:
                seen.add(collection)
            return True

        async def handle(request: Any, context: CallContext) -> Any:
            # What cannot be read is refused further in.
            if type(request) is not Unreadable and not sees(self.caller, self.rule.verb, named(request)):
                raise refused(context.peer(), named(request), _denial(self.caller, self.rule, named(request)))
            return await call.handle(request, context)

        return call.behind(
            handle,
            None if call.at_once is None else _at_once_if(allowed, call.at_once),
            None if call.together is None else _together_if(allowed, call.together),
        )

    def _refuse(self, call: UnaryCall, peer: str, collection: str, error: ShoalError) -> ShoalError:
        """Take note of a refusal, and return its error."""
        self.refused(call, self.caller.key_id, peer, collection, error)
        return error

    def _filtered(self, inner: Handler, items: str, named: Any) -> Handler:
        async def handle(request: Any, context: CallContext) -> Any:
            answer = await inner(request, context)
            listed = getattr(answer, items)
            kept = [each for each in listed if sees(self.caller, self.rule.verb, named(each))]
            del listed[:]
            listed.extend(kept)
            return answer

        return handle

    def _counted(self, call: UnaryCall) -> UnaryCall:
        """Bound the calls that run at the same time. What is answered without waiting does not count."""
        use, inner = self.use, call.at_once

        @contextmanager
        def counted(context: CallContext) -> Iterator[None]:
            if not use.begin():
                message = f"the key {self.caller.key_id} may make {use.most} calls at the same time at each router"
                error = ResourceExhausted(message, ErrorDetails(limit="concurrency", retry_after_s=BUSY_RETRY_S))
                raise self._refuse(call, context.peer(), "", error)
            try:
                yield
            finally:
                use.end()

        async def handle(request: Any, context: CallContext) -> Any:
            with counted(context):
                return await call.handle(request, context)

        async def later(work: Later, context: CallContext) -> bytes:
            with counted(context):
                return await work()

        def at_once(request: bytes, context: CallContext) -> bytes | Later | None:
            assert inner is not None
            answer = inner(request, context)
            return answer if answer is None or isinstance(answer, bytes) else partial(later, answer, context)

        return call.behind(handle, None if inner is None else at_once, call.together)

    def _told(self, call: UnaryCall) -> UnaryCall:
        """Tell the audit log how each call ends, and the handler whose it is."""
        named = attrgetter(self.rule.place.path) if isinstance(self.rule.place, InRequest) else None

        async def handle(request: Any, context: CallContext) -> Any:
            outcome = "UNKNOWN"
            try:
                answer = await call.handle(request, KeyContext(context, self.caller.key_id))
                outcome = "OK"
                return answer
            except ShoalError as error:
                outcome = error.status
                raise
            except asyncio.CancelledError:
                outcome = "CANCELLED"
                raise
            finally:
                collection = "" if named is None or type(request) is Unreadable else named(request)
                self.audit.done(key=self.caller.key_id, peer=context.peer(), method=call.path, collection=collection, outcome=outcome)

        return call.behind(handle, None)


def _denial(caller: Caller, rule: Rule, collection: str | None = None) -> PermissionDenied:
    """Return the error of a caller that may not do it. collection: that the request names; None if it is not read."""
    where = "" if collection is None else f" in collection {shown(collection)}"
    if isinstance(rule.place, WholeCluster):
        where = " in the cluster: that needs the pattern '*'"
    return PermissionDenied(f"the key {caller.key_id} may not {rule.verb}{where}")


def _at_once_if(allowed: Callable[[bytes], bool], inner: AtOnce) -> AtOnce:
    def at_once(request: bytes, context: CallContext) -> bytes | Later | None:
        return inner(request, context) if allowed(request) else None

    return at_once


def _together_if(allowed: Callable[[bytes], bool], inner: Together) -> Together:
    def together(asked: Sequence[tuple[bytes, CallContext]]) -> Sequence[bytes | None]:
        numbers = [number for number, (request, _) in enumerate(asked) if allowed(request)]
        answers: list[bytes | None] = [None] * len(asked)
        for number, answer in zip(numbers, inner([asked[number] for number in numbers]) if numbers else (), strict=True):
            answers[number] = answer
        return answers

    return together
