"""Converts what operators ask about API keys, and the answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any

from google.protobuf.message import Message

from shoal.core.access import Scope, scope_of
from shoal.core.api_keys import CreateKey, KeyInfo, ListKeys, NewKey, RevokeKey, check_id
from shoal.core.requests import Request
from shoal.v1 import access_pb2
from shoal.wire.method import Method, Methods, serialized
from shoal.wire.operations import OperationCall


def collection_reader(request: type[Message], path: str) -> Callable[[bytes], str]:
    """Return the function that reads the collection in the bytes of a request. It raises DecodeError for other bytes.

    request: class of the message; path: of the field. Where the field allows it, nothing else is parsed; a field that
    comes twice counts as in the whole message.
    """
    described = request.DESCRIPTOR.fields_by_name.get(path)
    if described is not None and described.number == 1:
        short = access_pb2.InCollection.FromString
        return lambda data: short(data).collection
    whole, named = request.FromString, attrgetter(path)
    return lambda data: named(whole(data))


def create_to_message(request: CreateKey) -> access_pb2.CreateKeyRequest:
    """Return the request for a key as a message."""
    return access_pb2.CreateKeyRequest(
        name=request.name,
        scopes=map(_scope_to_message, request.scopes),
        lifetime_s=request.lifetime_s,
        rate_per_s=request.rate_per_s,
        burst=request.burst,
        concurrency=request.concurrency,
        asked_by=request.asked_by,
        request_id=request.request_id,
    )


def create_from_message(message: access_pb2.CreateKeyRequest) -> CreateKey:
    """Return the request for a key. Raises InvalidArgument for one that cannot be made."""
    return CreateKey(
        name=message.name,
        scopes=tuple(map(_scope_from_message, message.scopes)),
        lifetime_s=message.lifetime_s,
        rate_per_s=message.rate_per_s,
        burst=message.burst,
        concurrency=message.concurrency,
        asked_by=message.asked_by,
        request_id=message.request_id,
    )


def created_to_message(made: NewKey) -> access_pb2.CreateKeyResponse:
    """Return a new key as a message."""
    return access_pb2.CreateKeyResponse(key=_info_to_message(made.key), text=made.text)


def created_from_message(message: access_pb2.CreateKeyResponse) -> NewKey:
    """Return a new key."""
    return NewKey(key=_info_from_message(message.key), text=message.text)


def list_to_message(_: ListKeys) -> access_pb2.ListKeysRequest:
    """Return the request for the keys as a message."""
    return access_pb2.ListKeysRequest()


def list_from_message(_: access_pb2.ListKeysRequest) -> ListKeys:
    """Return the request for the keys."""
    return ListKeys()


def listed_to_message(keys: tuple[KeyInfo, ...]) -> access_pb2.ListKeysResponse:
    """Return the keys as a message."""
    return access_pb2.ListKeysResponse(keys=map(_info_to_message, keys))


def listed_from_message(message: access_pb2.ListKeysResponse) -> tuple[KeyInfo, ...]:
    """Return the keys."""
    return tuple(map(_info_from_message, message.keys))


def revoke_to_message(request: RevokeKey) -> access_pb2.RevokeKeyRequest:
    """Return the request to revoke a key as a message."""
    return access_pb2.RevokeKeyRequest(id=request.id, asked_by=request.asked_by)


def revoke_from_message(message: access_pb2.RevokeKeyRequest) -> RevokeKey:
    """Return the request to revoke a key. Raises InvalidArgument for what is no id."""
    return RevokeKey(id=check_id(message.id), asked_by=message.asked_by)


def revoked_to_message(key: KeyInfo) -> access_pb2.RevokeKeyResponse:
    """Return the key that was revoked as a message."""
    return access_pb2.RevokeKeyResponse(key=_info_to_message(key))


def revoked_from_message(message: access_pb2.RevokeKeyResponse) -> KeyInfo:
    """Return the key that was revoked."""
    return _info_from_message(message.key)


def _info_to_message(key: KeyInfo) -> access_pb2.KeyInfo:
    return access_pb2.KeyInfo(
        id=key.id,
        name=key.name,
        scopes=map(_scope_to_message, key.scopes),
        created_ms=key.created_ms,
        expires_ms=key.expires_ms,
        rate_per_s=key.rate_per_s,
        burst=key.burst,
        concurrency=key.concurrency,
    )


def _info_from_message(message: access_pb2.KeyInfo) -> KeyInfo:
    return KeyInfo(
        id=message.id,
        name=message.name,
        scopes=tuple(map(_scope_from_message, message.scopes)),
        created_ms=message.created_ms,
        expires_ms=message.expires_ms,
        rate_per_s=message.rate_per_s,
        burst=message.burst,
        concurrency=message.concurrency,
    )


def _scope_to_message(scope: Scope) -> access_pb2.KeyScope:
    return access_pb2.KeyScope(collections=scope.collections, verbs=sorted(scope.verbs))


def _scope_from_message(message: access_pb2.KeyScope) -> Scope:
    return scope_of(message.collections, message.verbs)


def _call(name: str, to_message: Any, read: Any, written: Any, from_message: Any, answer: Any) -> OperationCall:
    return OperationCall(name=name, to_message=to_message, read=read, written=written, from_message=from_message, answer=answer)


CALLS: Mapping[type[Request], OperationCall] = {
    CreateKey: _call(
        "CreateKey", create_to_message, create_from_message, created_to_message, created_from_message, access_pb2.CreateKeyResponse
    ),
    ListKeys: _call("ListKeys", list_to_message, list_from_message, listed_to_message, listed_from_message, access_pb2.ListKeysResponse),
    RevokeKey: _call(
        "RevokeKey", revoke_to_message, revoke_from_message, revoked_to_message, revoked_from_message, access_pb2.RevokeKeyResponse
    ),
}
"""The RPC of each class of request."""

METHODS: Methods = {
    kind: Method(path=f"/shoal.v1.Access/{call.name}", encode=serialized(call.to_message), answer=call.answer, decode=call.from_message)
    for kind, call in CALLS.items()
}
