"""The unary calls of a process, described once for every wire. Knows no wire.

A service is a class with one async method for each unary RPC of its .proto. `calls_of` makes its calls. `call_table` of
`shoal.runtime.interceptors` puts the interceptors around them. The servers take only such a table, so the same
interceptors serve every wire.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass


class CallContext(Protocol):
    """What a handler may ask about its call. The context of grpc.aio has these methods."""

    def time_remaining(self) -> float | None:
        """Return the seconds until the deadline of the caller, at least 0; None without a deadline."""
        ...

    def peer(self) -> str:
        """Return the other end of the connection, such as "ipv4:127.0.0.1:5000"."""
        ...

    def invocation_metadata(self) -> Iterable[tuple[str, str | bytes]] | None:
        """Return the metadata of the call: pairs of a name in lower case and a value."""
        ...


Handler = Callable[[Any, CallContext], Awaitable[Any]]
"""Takes a request message. Returns the response message, or raises a ShoalError."""

Later = Callable[[], Coroutine[Any, Any, bytes]]
"""Makes the coroutine that returns the bytes of a response, or raises a ShoalError. Nothing has begun before."""

AtOnce = Callable[[bytes, CallContext], bytes | Later | None]
"""Answers as a Handler does, but without waiting, and from the bytes of the request to the bytes of the response. If it
has to wait for the response and knows a shorter way to it than the Handler, it returns a Later. It returns None if it
knows neither: then the Handler is called, which also refuses bytes that cannot be parsed.
"""


Together = Callable[[Sequence[tuple[bytes, CallContext]]], Sequence[bytes | None]]
"""Answers requests that have come at the same moment, without waiting, from the bytes of each to the bytes of its
response. It returns None for a request that the other doors have to answer or to refuse: nothing has begun for it.
"""


Admit = Callable[[str, str], "UnaryCall"]
"""Takes the header `authorization` of a request ("" for none) and its peer, before the request is read. Returns the
call as this caller may make it, or raises a ShoalError.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class UnaryCall:
    """One unary RPC of this process. path: "/package.Service/Method". request, response: classes of its messages.

    admit: a server asks it first, and then serves the call that it returns; None if everybody may call.
    """

    path: str
    request: type[Message]
    response: type[Message]
    handle: Handler
    at_once: AtOnce | None = None
    together: Together | None = None
    admit: Admit | None = None

    def behind(self, handle: Handler, at_once: AtOnce | None, together: Together | None = None) -> UnaryCall:
        """Return this call with other functions in front. at_once: None if every call has to go through `handle`;
        together: None if each has to go alone.
        """
        return replace(self, handle=handle, at_once=at_once, together=together)


def authorization_in(metadata: Iterable[tuple[str, str | bytes]] | None) -> str:
    """Return the header `authorization` of a call, "" if there is none. Several of them are one that nobody accepts."""
    found = [value for name, value in metadata or () if name == "authorization"]
    if len(found) == 1 and isinstance(found[0], str):
        return found[0]
    return ", ".join(map(str, found))


class CallTable(Mapping[str, UnaryCall]):
    """The calls of a process by path, with their interceptors."""

    def __init__(self, calls: Iterable[UnaryCall]) -> None:
        """Raise ValueError if two calls have one path."""
        given = tuple(calls)
        self._calls = {each.path: each for each in given}
        if len(self._calls) < len(given):
            raise ValueError("two calls have one path")

    def __getitem__(self, path: str) -> UnaryCall:
        return self._calls[path]

    def __iter__(self) -> Iterator[str]:
        return iter(self._calls)

    def __len__(self) -> int:
        return len(self._calls)


def calls_of(
    described: ServiceDescriptor,
    service: object,
    at_once: Mapping[str, AtOnce] | None = None,
    together: Mapping[str, Together] | None = None,
) -> tuple[UnaryCall, ...]:
    """Return the unary calls of a service: one for each method of `described` that `service` has.

    at_once: by name of the method ("Search"), functions that may answer without waiting; together: of these methods,
    functions that may answer several requests as one.

    Raises KeyError if at_once has a name that is not one of these methods, or together one that at_once has not.
    """
    doors, shared = dict(at_once or {}), dict(together or {})
    if not shared.keys() <= doors.keys():
        raise KeyError(f"{min(shared.keys() - doors.keys())!r} of {described.full_name} cannot answer one request at once")
    unary = [each for each in described.methods if not (each.client_streaming or each.server_streaming)]
    calls = tuple(
        UnaryCall(
            path=f"/{described.full_name}/{each.name}",
            request=GetMessageClass(each.input_type),
            response=GetMessageClass(each.output_type),
            handle=getattr(service, each.name),
            at_once=doors.pop(each.name, None),
            together=shared.get(each.name),
        )
        for each in unary
        if hasattr(service, each.name)
    )
    if doors:
        raise KeyError(f"{described.full_name} has no unary method {sorted(doors)[0]!r} here")
    return calls
