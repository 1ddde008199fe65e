"""Checks of what a search asks of text fields, whatever its source. The SDK, the router and the workers use the same.

Pure. What needs an analyzer, workers check: how many words a text has, whether a prefix is one word.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import NoReturn

from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.core.limits import Limits
from shoal.core.shown import shown
from shoal.core.text_query import Match, TextAsk

LEAST_FIELD_BOOST, MOST_FIELD_BOOST = 1e-3, 1e3
"""Allowed boosts of fields."""

_SHOWN_CHARS = 60
_LISTS = ("must", "must_not", "phrases")


def check_ask(ask: TextAsk, field_names: Collection[str] | None, limits: Limits) -> None:
    """Raise InvalidArgument that names the part of an ask that is not allowed, and what is.

    field_names: the text fields of the collection; None if they are not known here. An ask whose texts have no words
    is allowed: it finds nothing.
    """
    _check_texts(ask, limits)
    if not isinstance(ask.match, Match):
        _refuse(f"match is {shown(ask.match)}, it must be one of {', '.join(Match)}", "match")
    if not (ask.text or ask.must or ask.phrases or ask.prefix):
        only = ", it has must_not only" if ask.must_not else ""
        _refuse(f"a text query asks for nothing{only}: give at least one of text, must, phrases and prefix", "text")
    _check_fields(ask, field_names)


def _check_texts(ask: TextAsk, limits: Limits) -> None:
    for name in _LISTS:
        if not isinstance(getattr(ask, name), tuple):
            _refuse(f"{name} is {_shown(getattr(ask, name))}, it must be a list of strings", name)
    clauses = sum(len(getattr(ask, name)) for name in _LISTS)
    if clauses > limits.text_clauses:
        _refuse(f"{', '.join(_LISTS)} have {clauses:,} texts, at most {limits.text_clauses:,} are allowed", "must", limit="text_clauses")
    size = 0
    for name, text in _texts(ask):
        if not isinstance(text, str):
            _refuse(f"{name} is {_shown(text)}, it must be a string", name)
        try:
            size += len(text.encode())
        except UnicodeEncodeError:
            _refuse(f"{name} is {_shown(text)}, it has a lone surrogate, which is no character", name)
    if size > limits.text_bytes:
        _refuse(f"a text query has {size:,} bytes of text, at most {limits.text_bytes:,} are allowed", "text", limit="text_bytes")
    for name in _LISTS:
        for at, text in enumerate(getattr(ask, name)):
            if not text:
                _refuse(f"{name}[{at}] is empty, it must be a text", name)


def _texts(ask: TextAsk) -> Iterator[tuple[str, object]]:
    """Yield all texts of an ask with their names."""
    yield "text", ask.text
    for name in _LISTS:
        for at, text in enumerate(getattr(ask, name)):
            yield f"{name}[{at}]", text
    yield "prefix", ask.prefix


def _check_fields(ask: TextAsk, field_names: Collection[str] | None) -> None:
    if field_names is not None and not field_names:
        _refuse("the collection has no text field, so it cannot be searched by text: add one with alter", "fields")
    given: set[str] = set()
    for name, boost in ask.fields:
        if not isinstance(name, str):
            _refuse(f"fields has {_shown(name)}, names of fields must be strings", "fields")
        if not _is_text(name):
            _refuse(f"fields has {_shown(name)}, it has a lone surrogate, which is no character", "fields")
        if field_names is not None and name not in field_names:
            _refuse(f"fields has {_shown(name)}, the text fields of the collection are {', '.join(sorted(field_names))}", "fields")
        if name in given:
            _refuse(f"fields has {_shown(name)} twice, each field must be there once", "fields")
        given.add(name)
        if isinstance(boost, bool) or not isinstance(boost, (int, float)) or not _is_allowed(boost):
            allowed = f"a number from {LEAST_FIELD_BOOST:g} to {MOST_FIELD_BOOST:g}"
            _refuse(f"the boost of field {_shown(name)} is {_shown(boost)}, it must be {allowed}", "fields")


def _is_text(name: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in name)


def _is_allowed(boost: float) -> bool:
    return LEAST_FIELD_BOOST <= boost <= MOST_FIELD_BOOST


def _shown(value: object) -> str:
    return shown(value, _SHOWN_CHARS)


def _refuse(message: str, field: str, *, limit: str | None = None) -> NoReturn:
    raise InvalidArgument(message, ErrorDetails(field=field.partition("[")[0], limit=limit))
