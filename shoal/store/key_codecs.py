"""Turns API keys into the JSON texts that the store keeps, and back. None of them holds the text of a key."""

from __future__ import annotations

import dataclasses
from typing import Any

from shoal.core.access import Scope, scope_of
from shoal.core.api_keys import ApiKey, check_id
from shoal.store.codecs import decoded, text_of


def encode_key(key: ApiKey) -> bytes:
    """Return an API key as stored."""
    return text_of(
        {
            **key.unknown,
            "id": key.id,
            "name": key.name,
            "digest": key.digest,
            "scopes": [_from_scope(each) for each in key.scopes],
            "created_ms": key.created_ms,
            "expires_ms": key.expires_ms,
            "rate_per_s": key.rate_per_s,
            "burst": key.burst,
            "concurrency": key.concurrency,
            "request": key.request,
        }
    )


def decode_key(key: str, value: bytes) -> ApiKey:
    """Return an API key from its text. Raises DataLoss, also for one that may do what this version does not know."""

    def build(raw: dict[str, Any]) -> ApiKey:
        return ApiKey(
            id=check_id(raw["id"]),
            name=str(raw["name"]),
            digest=_digest(raw["digest"]),
            scopes=tuple(scope_of(each["collections"], each["verbs"]) for each in raw["scopes"]),
            created_ms=int(raw["created_ms"]),
            expires_ms=int(raw["expires_ms"]),
            rate_per_s=float(raw["rate_per_s"]),
            burst=int(raw["burst"]),
            concurrency=int(raw["concurrency"]),
            request=str(raw["request"]),
            unknown={name: kept for name, kept in raw.items() if name not in _FIELDS},
        )

    return decoded(key, value, build)


_FIELDS = frozenset(each.name for each in dataclasses.fields(ApiKey))
_HEX = frozenset("0123456789abcdef")
_DIGEST_DIGITS = 64


def _from_scope(scope: Scope) -> dict[str, Any]:
    return {"collections": scope.collections, "verbs": sorted(scope.verbs)}


def _digest(text: Any) -> str:
    if not (type(text) is str and len(text) == _DIGEST_DIGITS and _HEX.issuperset(text)):
        raise ValueError("the digest is no SHA-256")
    return text
