"""API keys: their text, what is stored of them, and what a new one may be. Pure.

The text of a key is `shoal_<id>_<secret>`: 12 hexadecimal digits, which are no secret, and 256 random bits in
base64url. Only the SHA-256 of the text is stored. A slow hash such as argon2 protects secrets that can be guessed;
these cannot, and 0.2 s of work for each call would let anyone occupy a router.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from shoal.core.access import ALL_SCOPES, Caller, Scope
from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.core.requests import Request
from shoal.core.shown import shown

MOST_KEYS = 4_096
"""Most keys of a cluster."""

MOST_SCOPES = 64
MOST_NAME = 64
MOST_LIFETIME_S = 100 * 366 * 86_400.0
MOST_RATE_PER_S = 1e9
MOST_CALLS = 1_000_000

SECRET_BYTES = 32
ID_DIGITS = 12

_TEXT = re.compile(rf"shoal_([0-9a-f]{{{ID_DIGITS}}})_[A-Za-z0-9_-]{{43}}", re.ASCII)
_ID = re.compile(rf"[0-9a-f]{{{ID_DIGITS}}}", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class ApiKey:
    """A key as the store keeps it.

    digest: SHA-256 of its text, hexadecimal; created_ms, expires_ms: since 1970, expires_ms 0 for never; rate_per_s:
    calls a second at each router, 0 for no limit; burst: calls that may come at once, 0 without a rate; concurrency:
    calls at the same time at each router, 0 for no limit; request: SHA-256 of the id of the request that made it;
    unknown: fields of a newer version.
    """

    id: str
    name: str
    digest: str = field(repr=False)
    scopes: tuple[Scope, ...]
    created_ms: int
    expires_ms: int = 0
    rate_per_s: float = 0.0
    burst: int = 0
    concurrency: int = 0
    request: str = field(default="", repr=False)
    unknown: Mapping[str, Any] = field(default_factory=dict)

    @property
    def caller(self) -> Caller:
        """Who calls with it."""
        return Caller(key_id=self.id, scopes=self.scopes)

    def expired(self, now_ms: float) -> bool:
        """Return whether it has expired. now_ms: since 1970."""
        return 0 < self.expires_ms <= now_ms


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyInfo:
    """A key as operators see it: without its text and its digest. Fields: see ApiKey."""

    id: str
    name: str
    scopes: tuple[Scope, ...]
    created_ms: int
    expires_ms: int
    rate_per_s: float
    burst: int
    concurrency: int


@dataclass(frozen=True, kw_only=True, slots=True)
class NewKey:
    """A key that was just made. text: the whole key; nobody can show it again."""

    key: KeyInfo
    text: str = field(repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class CreateKey(Request):
    """Answered by NewKey. lifetime_s: 0 for a key that does not expire; burst: 0 for the calls of one second; the other
    limits: see ApiKey; request_id: the same for each attempt of a call. The text of the last attempt is the key's.

    Raises InvalidArgument for a value that is not allowed.
    """

    writes: ClassVar[bool] = True
    name: str
    scopes: tuple[Scope, ...]
    lifetime_s: float = 0.0
    rate_per_s: float = 0.0
    burst: int = 0
    concurrency: int = 0
    asked_by: str = ""
    request_id: str = ""

    def __post_init__(self) -> None:
        if not (1 <= len(self.name) <= MOST_NAME and self.name.isprintable()):
            raise _bad("name", self.name, f"1 to {MOST_NAME} printable characters")
        if not 1 <= len(self.scopes) <= MOST_SCOPES:
            raise _bad("scopes", len(self.scopes), f"1 to {MOST_SCOPES} scopes")
        for name, most in (("lifetime_s", MOST_LIFETIME_S), ("rate_per_s", MOST_RATE_PER_S)):
            value = getattr(self, name)
            if not (math.isfinite(value) and 0 <= value <= most):
                raise _bad(name, value, f"a number from 0 to {most:g}")
        for name in ("burst", "concurrency"):
            if not 0 <= getattr(self, name) <= MOST_CALLS:
                raise _bad(name, getattr(self, name), f"from 0 to {MOST_CALLS:,}")
        if self.burst and not self.rate_per_s:
            raise _bad("burst", self.burst, "0 for a key without rate_per_s")


@dataclass(frozen=True, kw_only=True, slots=True)
class ListKeys(Request):
    """Answered by KeyInfos, by id."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RevokeKey(Request):
    """Answered by the KeyInfo of the key that is no more."""

    writes: ClassVar[bool] = True
    id: str
    asked_by: str = ""


def info_of(key: ApiKey) -> KeyInfo:
    """Return a key as operators see it."""
    return KeyInfo(
        id=key.id,
        name=key.name,
        scopes=key.scopes,
        created_ms=key.created_ms,
        expires_ms=key.expires_ms,
        rate_per_s=key.rate_per_s,
        burst=key.burst,
        concurrency=key.concurrency,
    )


def made_key(request: CreateKey, *, text: str, now_ms: int, request_id: str = "") -> ApiKey:
    """Return the key that a request makes. text: its text; now_ms: since 1970; request_id: of the request."""
    return ApiKey(
        id=id_of(text),
        name=request.name,
        digest=digest_of(text),
        scopes=request.scopes,
        created_ms=now_ms,
        expires_ms=now_ms + round(1000 * request.lifetime_s) if request.lifetime_s else 0,
        rate_per_s=request.rate_per_s,
        burst=request.burst or max(1, min(MOST_CALLS, math.ceil(request.rate_per_s))) if request.rate_per_s else 0,
        concurrency=request.concurrency,
        request=hashed(request_id),
    )


def admin_key(text: str) -> ApiKey:
    """Return the key with every right that a router takes from a file. Raises InvalidArgument for another text."""
    return ApiKey(id=id_of(text), name="admin_key_file", digest=digest_of(text), scopes=ALL_SCOPES, created_ms=0)


def key_text(id: str, secret: bytes) -> str:
    """Return the text of a key. id: 12 hexadecimal digits; secret: 32 random bytes."""
    if len(secret) != SECRET_BYTES:
        raise ValueError(f"a secret has {SECRET_BYTES} bytes, not {len(secret)}")
    return f"shoal_{check_id(id)}_{base64.urlsafe_b64encode(secret).decode('ascii').rstrip('=')}"


def id_for(request_id: str) -> str:
    """Return the id of the key that a request with this id makes."""
    return hashed(request_id)[:ID_DIGITS]


def id_of(text: str) -> str:
    """Return the id in the text of a key. Raises InvalidArgument, which never holds the text."""
    found = _TEXT.fullmatch(text)
    if found is None:
        raise InvalidArgument("this is no key: a key is shoal_, 12 hexadecimal digits, _ and 43 characters", ErrorDetails(field="api_key"))
    return found[1]


def check_id(id: str) -> str:
    """Return the id of a key. Raises InvalidArgument for another text."""
    if _ID.fullmatch(id) is None:
        raise _bad("id", id, f"{ID_DIGITS} hexadecimal digits")
    return id


def digest_of(text: str) -> str:
    """Return what is stored of the text of a key."""
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def proves(text: str, key: ApiKey) -> bool:
    """Return whether a text is that of a key. The time that this takes tells nothing of the key."""
    return hmac.compare_digest(digest_of(text), key.digest)


def hashed(request_id: str) -> str:
    """Return the SHA-256 of the id of a request, hexadecimal."""
    return hashlib.sha256(request_id.encode("utf-8", "replace")).hexdigest()


def _bad(name: str, value: object, allowed: str) -> InvalidArgument:
    return InvalidArgument(f"{name} of a key is {shown(value)}, it must be {allowed}", ErrorDetails(field=name))
