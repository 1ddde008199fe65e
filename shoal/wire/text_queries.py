"""Converts what public and internal messages share about text fields: queries, shares of words, spans, explanations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields

from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.core.fused_search import FieldSpans
from shoal.core.text_calls import TextExplain, WordShare
from shoal.core.text_query import Match, TextAsk
from shoal.v1 import search_pb2

_EXPLAIN_FIELDS = tuple(each.name for each in fields(TextExplain))


def ask_to_message(ask: TextAsk) -> search_pb2.TextQuery:
    """Return a query on text fields as a message."""
    return search_pb2.TextQuery(
        text=ask.text,
        fields=dict(ask.fields),
        match=ask.match.value,
        must=ask.must,
        must_not=ask.must_not,
        phrases=ask.phrases,
        prefix=ask.prefix,
    )


def ask_from_message(message: search_pb2.TextQuery) -> TextAsk:
    """Return the query of a message, its fields by name. Raises InvalidArgument for a `match` that is unknown.

    It checks nothing else: see shoal.core.text_check.
    """
    match = message.match or Match.ANY
    if match not in tuple(Match):
        raise InvalidArgument(f"match is {match[:60]!r}, it must be one of {', '.join(Match)}", ErrorDetails(field="match"))
    return TextAsk(
        text=message.text,
        fields=tuple(sorted(message.fields.items())),
        match=Match(match),
        must=tuple(message.must),
        must_not=tuple(message.must_not),
        phrases=tuple(message.phrases),
        prefix=message.prefix,
    )


def shares_to_messages(shares: Iterable[WordShare]) -> list[search_pb2.WordShare]:
    """Return what words gave to a hit as messages. A lone surrogate, which they cannot hold, becomes U+FFFD."""
    return [search_pb2.WordShare(field=each.field, word=shown_word(each.word), share=each.share, prefix=each.prefix) for each in shares]


def shares_from_messages(messages: Iterable[search_pb2.WordShare]) -> tuple[WordShare, ...]:
    """Return what words gave to a hit."""
    return tuple(WordShare(field=each.field, word=each.word, share=each.share, prefix=each.prefix) for each in messages)


def shown_word(word: str) -> str:
    """Return a word as UTF-8 can hold it: with U+FFFD for each lone surrogate."""
    return word if word.isascii() else "".join("\ufffd" if "\ud800" <= each <= "\udfff" else each for each in word)


def marks_to_message(marks: Sequence[FieldSpans]) -> search_pb2.Highlights:
    """Return the spans of the words in the texts of one point as a message."""
    return search_pb2.Highlights(
        fields=[
            search_pb2.FieldSpans(field=each.field, begins=[begin for begin, _ in each.spans], ends=[end for _, end in each.spans])
            for each in marks
        ]
    )


def marks_from_message(message: search_pb2.Highlights) -> tuple[FieldSpans, ...]:
    """Return the spans of a message. Raises InvalidArgument unless there are as many begins as ends."""
    for each in message.fields:
        if len(each.begins) != len(each.ends):
            raise InvalidArgument(
                f"{len(each.begins)} begins and {len(each.ends)} ends are given for field {each.field!r}", ErrorDetails(field="highlights")
            )
    return tuple(FieldSpans(each.field, tuple(zip(each.begins, each.ends, strict=True))) for each in message.fields)


def text_explain_to_message(explain: TextExplain) -> search_pb2.TextExplain:
    """Return how a segment was searched for a text as a message."""
    return search_pb2.TextExplain(**{name: getattr(explain, name) for name in _EXPLAIN_FIELDS})


def text_explain_from_message(message: search_pb2.TextExplain) -> TextExplain:
    """Return how a segment was searched for a text."""
    return TextExplain(**{name: getattr(message, name) for name in _EXPLAIN_FIELDS})
