"""The texts of payloads, cut into words: which fields a collection has, how each is analyzed, what its index was made
with.

A text field is a payload path, read as a filter reads it. Its text is a string there, or the strings of a list. Several
strings are cut one by one, and ELEMENT_GAP positions lie between two of them, so that no phrase goes from one into the
next. Everything else at the path has no words. This is the one file of the room that knows both analyzers and tables.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from shoal.core.errors import InvalidArgument
from shoal.core.filter import Path
from shoal.core.filter_truth import occurrences
from shoal.core.text_fields import TextField, analyzer_from_input, options_to_input, text_path
from shoal.shard_worker.text.analysis.analyzer import Analyzer, analyzer_of
from shoal.shard_worker.text.analysis.pieces import do_not_rest
from shoal.shard_worker.text.indexing import BatchOfTexts, CodedTexts
from shoal.shard_worker.text.part import TextPart
from shoal.shard_worker.text.vocabulary import starts_of

TextBatch = Mapping[str, BatchOfTexts]
"""The words of some rows, by field; each field has as many texts as there are rows."""

ELEMENT_GAP = 100
"""Positions between the last word of a string and the first word of the next one in the same field."""

_MOST_COLLECTIONS = 256
"""Collections whose texts are kept: their replicas share them."""


class FieldTexts:
    """The text fields of a collection. Immutable, for any thread. Replicas share one: make it with `field_texts`.

    fields: by name; analyzers: of each; fingerprint: of all of them, what the head of a file says.
    """

    def __init__(self, fields: Sequence[TextField]) -> None:
        self.fields: Mapping[str, TextField] = {field.name: field for field in sorted(fields, key=lambda field: field.name)}
        self.analyzers: Mapping[str, Analyzer] = {name: analyzer_of(field.analyzer) for name, field in self.fields.items()}
        self._made_with = {name: _made_with(field, self.analyzers[name]) for name, field in self.fields.items()}
        self.fingerprint = json.dumps(self._made_with, sort_keys=True, separators=(",", ":"))
        self._paths = {name: text_path(name) for name in self.fields}

    def __len__(self) -> int:
        return len(self.fields)

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the fields, ascending."""
        return tuple(self.fields)

    def usable(self, fingerprint: str) -> tuple[str, ...]:
        """Return the names of its fields that an index with this fingerprint holds as they are wanted here."""
        made_with = _parsed(fingerprint)
        return tuple(name for name, wanted in self._made_with.items() if _words_of(made_with.get(name)) == wanted["words"])

    def usable_part(self, part: TextPart | None) -> TextPart | None:
        """Return a part with those of its fields that are wanted, as they are wanted; None without any.

        Its fingerprint is the wanted one if all fields are there.
        """
        names = () if part is None else [name for name in self.usable(part.fingerprint) if name in part.fields]
        if part is None or not names:
            return None
        fingerprint = self.fingerprint if len(names) == len(self) else part.fingerprint
        return TextPart(rows=part.rows, fields={name: part.fields[name] for name in names}, fingerprint=fingerprint)

    def indexed(self, payloads: Sequence[Any], rest: Callable[[], None] = do_not_rest) -> dict[str, CodedTexts]:
        """Return the words of each field of payloads, by name. payloads: values of JSON texts; only a dict has texts.

        rest: called between pieces of work that keep the interpreter for some milliseconds.
        """
        return {name: self._indexed(self.analyzers[name], path, payloads, rest) for name, path in self._paths.items()}

    def strings(self, name: str, payload: Any) -> list[str]:
        """Return the strings of a field of one payload, in order."""
        return _strings(payload, self._paths[name])

    def _indexed(self, analyzer: Analyzer, path: Path, payloads: Sequence[Any], rest: Callable[[], None]) -> CodedTexts:
        strings = [_strings(payload, path) for payload in payloads]
        cut = analyzer.coded([text for texts in strings for text in texts], rest)
        return joined_texts(cut, [len(texts) for texts in strings])


@lru_cache(maxsize=_MOST_COLLECTIONS)
def field_texts(fields: tuple[TextField, ...]) -> FieldTexts:
    """Return the texts of a collection with these fields. The same fields share one."""
    return FieldTexts(fields)


def texts_of(fields: tuple[TextField, ...]) -> FieldTexts | None:
    """Return the texts of a collection with these fields, None without any. The same fields share one."""
    return field_texts(fields) if fields else None


def fields_made_with(fingerprint: str) -> tuple[TextField, ...] | None:
    """Return the fields that an index with this fingerprint was made with; None if this version cannot tell, or would
    make other words."""
    made_with = _parsed(fingerprint)
    try:
        fields = tuple(TextField(name=name, analyzer=analyzer_from_input(each["analyzer"])) for name, each in made_with.items())
        found = FieldTexts(fields)
    except (InvalidArgument, KeyError, TypeError):
        return None
    return fields if fields and len(found.usable(fingerprint)) == len(fields) else None


def joined_texts(strings: CodedTexts, counts: Sequence[int]) -> CodedTexts:
    """Return the words of rows that have several strings each. counts: strings of each row, in order."""
    row_of = np.repeat(np.arange(len(counts)), counts)
    positions = strings.positions
    if len(row_of) and max(counts) > 1:
        taken = np.zeros(len(strings), dtype=np.int64)
        np.maximum.at(taken, strings.rows, positions + 1 + ELEMENT_GAP)
        before = np.cumsum(taken) - taken
        firsts = starts_of(np.array(counts, dtype=np.int64))[:-1][row_of]
        positions = positions + (before - before[firsts])[strings.rows]
    return replace(strings, rows=row_of[strings.rows], positions=positions, count=len(counts))


def _strings(payload: Any, path: Path) -> list[str]:
    if type(payload) is not dict:
        return []
    if len(path) == 1:
        found = payload.get(path[0])
        if type(found) is str:
            return [found]
        return [each for each in found if type(each) is str] if type(found) is list else []
    strings: list[str] = []
    for found in occurrences(payload, path):
        strings += [found] if type(found) is str else [each for each in found if type(each) is str] if type(found) is list else []
    return strings


def _made_with(field: TextField, analyzer: Analyzer) -> dict[str, Any]:
    return {"analyzer": options_to_input(field.analyzer), "words": analyzer.fingerprint}


def _words_of(made_with: Any) -> Any:
    return made_with.get("words") if isinstance(made_with, dict) else None


def _parsed(fingerprint: str) -> Mapping[str, Any]:
    try:
        found = json.loads(fingerprint)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
