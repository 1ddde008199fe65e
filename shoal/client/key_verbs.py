"""Each verb of API keys as a flow: check the input, build the requests, convert the answers."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any

from shoal.client import inputs
from shoal.client.collection_verbs import READ_TIMEOUT_S, WRITE_TIMEOUT_S
from shoal.client.flow import Flow
from shoal.client.operation_verbs import OperationVerbs
from shoal.core.access import Scope, scope_from_text
from shoal.core.api_keys import MOST_CALLS, MOST_LIFETIME_S, MOST_RATE_PER_S, CreateKey, KeyInfo, ListKeys, NewKey, RevokeKey
from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.core.notebook import Rows
from shoal.core.shown import shown


class KeyVerbs(OperationVerbs):
    """The verbs of API keys. See CollectionVerbs."""

    def create_key(
        self,
        name: str,
        scopes: Any,
        *,
        expires: float | None,
        rate: float | None,
        burst: int | None,
        concurrency: int | None,
        asked_by: str,
        timeout: float | None,
    ) -> Flow[NewKey]:
        """Make a key, only one even if retried."""
        request = CreateKey(
            name=inputs.some_text("name", name),
            scopes=scopes_from_input(scopes),
            lifetime_s=_number("expires", expires, MOST_LIFETIME_S),
            rate_per_s=_number("rate", rate, MOST_RATE_PER_S),
            burst=0 if burst is None else inputs.whole_number("burst", burst, MOST_CALLS),
            concurrency=0 if concurrency is None else inputs.whole_number("concurrency", concurrency, MOST_CALLS),
            asked_by=inputs.some_text("asked_by", asked_by),
            request_id=uuid.uuid4().hex,
        )
        return self._asked(request, timeout, WRITE_TIMEOUT_S)

    def list_keys(self, timeout: float | None) -> Flow[list[KeyInfo]]:
        """Return the keys, by id."""
        return Rows((yield from self._asked(ListKeys(), timeout, READ_TIMEOUT_S)))

    def revoke_key(self, id: str, asked_by: str, timeout: float | None) -> Flow[KeyInfo]:
        """Remove a key."""
        request = RevokeKey(id=inputs.some_text("id", id), asked_by=inputs.some_text("asked_by", asked_by))
        return self._asked(request, timeout, WRITE_TIMEOUT_S)


def scopes_from_input(given: Any) -> tuple[Scope, ...]:
    """Return scopes: a text such as "docs-*:read,write", a Scope, or several of them. Raises InvalidArgument."""
    several = (given,) if isinstance(given, (str, Scope)) else given
    if not isinstance(several, Iterable):
        raise _bad_scopes(given)
    return tuple(map(_scope, several))


def _scope(given: Any) -> Scope:
    if isinstance(given, Scope):
        return given
    if isinstance(given, str):
        return scope_from_text(given)
    raise _bad_scopes(given)


def _bad_scopes(given: Any) -> InvalidArgument:
    message = f"scopes is {shown(given)}, it must be a text such as 'docs-*:read,write', or several of them"
    return InvalidArgument(message, ErrorDetails(field="scopes"))


def _number(field: str, value: Any, most: float) -> float:
    """Return a number above 0, or 0 for None."""
    if value is None:
        return 0.0
    number = inputs.real_number(field, value, f"a number above 0, at most {most:g}", least=0.0, most=most)
    if not number:
        raise InvalidArgument(f"{field} is {shown(value)}, it must be above 0; None is for none", ErrorDetails(field=field))
    return number
