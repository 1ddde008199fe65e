"""Converts text fields and defaults of searches between values and messages."""

from __future__ import annotations

from collections.abc import Iterable

from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.core.fusion_choice import DEFAULT_RANK_CONSTANT, Fusion, FusionKind, SearchDefaults
from shoal.core.text_fields import AnalyzerKind, AnalyzerOptions, TextField, analyzer_from_input
from shoal.v1 import collections_pb2


def text_field_to_message(field: TextField) -> collections_pb2.TextField:
    """Return a text field as a message."""
    options = field.analyzer
    return collections_pb2.TextField(
        name=field.name,
        kind=options.kind.value,
        stem=options.stem,
        stop_words=options.stop_words,
        own_words=options.own_words,
        fold=options.fold,
    )


def text_fields_from_messages(messages: Iterable[collections_pb2.TextField]) -> tuple[TextField, ...]:
    """Return the text fields of messages, in their order. Raises InvalidArgument (field "text") for a bad option."""
    return tuple(TextField(name=message.name, analyzer=_analyzer(message)) for message in messages)


def _analyzer(message: collections_pb2.TextField) -> AnalyzerOptions:
    options = {
        "kind": message.kind or AnalyzerKind.AUTO.value,
        "stem": message.stem,
        "stop_words": tuple(message.stop_words),
        "own_words": tuple(message.own_words),
        "fold": message.fold if message.HasField("fold") else True,
    }
    try:
        return analyzer_from_input(options)
    except InvalidArgument as error:
        raise InvalidArgument(f"text field {message.name!r}: {error.message}", ErrorDetails(field="text")) from error


def defaults_to_message(defaults: SearchDefaults) -> collections_pb2.SearchDefaults:
    """Return defaults of searches as a message."""
    return collections_pb2.SearchDefaults(
        fusion=defaults.fusion.kind.value,
        c=defaults.fusion.c,
        dense_weight=defaults.dense_weight,
        text_weight=defaults.text_weight,
        boosts=dict(defaults.boosts),
    )


def defaults_from_message(message: collections_pb2.SearchDefaults) -> SearchDefaults:
    """Return the defaults of a message; what it leaves out is the usual.

    Raises InvalidArgument (field "defaults") for an unknown fusion. Numbers are checked with the collection.
    """
    try:
        kind = FusionKind(message.fusion or FusionKind.ZSCORE.value)
    except ValueError:
        raise InvalidArgument(
            f"defaults has fusion {message.fusion!r}, it must be one of {', '.join(FusionKind)}", ErrorDetails(field="defaults")
        ) from None
    usual = SearchDefaults()
    return SearchDefaults(
        fusion=Fusion(kind=kind, c=message.c if message.HasField("c") else DEFAULT_RANK_CONSTANT),
        dense_weight=message.dense_weight if message.HasField("dense_weight") else usual.dense_weight,
        text_weight=message.text_weight if message.HasField("text_weight") else usual.text_weight,
        boosts=tuple(sorted(message.boosts.items())),
    )
