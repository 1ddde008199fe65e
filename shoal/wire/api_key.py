"""The header by which a client shows its API key."""

from __future__ import annotations

from shoal.core.errors import ErrorDetails, InvalidArgument

AUTHORIZATION = "authorization"

_MOST_CHARACTERS = 4_096


def check_api_key(given: object) -> str:
    """Return an API key as a client gives it. Raises InvalidArgument, which does not show it, for what is no header."""
    if not isinstance(given, str):
        raise _unusable(f"a {type(given).__name__}")
    if not 1 <= len(given) <= _MOST_CHARACTERS:
        raise _unusable(f"a text of {len(given)} characters")
    if not (given.isascii() and given.isprintable()) or " " in given:
        raise _unusable("a text with a space, a line end or another sign that no header holds")
    return given


def bearer(api_key: str) -> str:
    """Return the value of the header."""
    return f"Bearer {api_key}"


def bearer_metadata(api_key: str) -> tuple[tuple[str, str], ...]:
    """Return the header as metadata of gRPC."""
    return ((AUTHORIZATION, bearer(api_key)),)


def _unusable(what: str) -> InvalidArgument:
    return InvalidArgument(f"api_key is {what}, it must be a key such as shoal_0123456789ab_...", ErrorDetails(field="api_key"))
