"""One public RPC as the SDK calls it. Each module of `shoal.wire` lists its own; `public_calls` has all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message

from shoal.core.requests import Request


@dataclass(frozen=True, kw_only=True, slots=True)
class Method:
    """A public RPC. path: its gRPC path. encode: returns the bytes of a request's message.

    answer: class of the answer's message. decode: returns the value of this message.
    """

    path: str
    encode: Callable[[Any], bytes]
    answer: Any
    decode: Callable[[Any], Any]


Methods = Mapping[type[Request], Method]


def serialized(to_message: Callable[[Any], Message]) -> Callable[[Any], bytes]:
    """Return a function that returns the bytes of the message that `to_message` makes."""
    return lambda request: to_message(request).SerializeToString()


def nothing(_: Message) -> None:
    """Return None, the value of an answer without fields."""
