"""How the text of a field is cut into words: the options that a user gives, checked.

The words themselves are made by workers (shoal/shard_worker/text/analysis).

    fields    = {name: analyzer, ...}          a name is the path of a field of payloads, as in filters
    analyzer  = kind | {"kind": kind, "stem": language, "stop_words": [...], "own_words": [...], "fold": true | false}
    kind      = "auto" | "cjk" | "words" | "raw"
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, NoReturn
from unicodedata import category

from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.core.filter import Path
from shoal.core.filter_check import FilterPlace
from shoal.core.filter_input import path_from_text, path_to_text
from shoal.core.limits import DEFAULT_LIMITS
from shoal.core.shown import shown


class AnalyzerKind(StrEnum):
    """How words are found.

    AUTO: words of a dictionary and pairs of characters for Han, pairs for other scripts without spaces, stems of other
    words; CJK: as AUTO, but pairs only, without the dictionary; WORDS: whole words, neither pairs nor stems; RAW: the
    whole text is one word, as it is.
    """

    AUTO = "auto"
    CJK = "cjk"
    WORDS = "words"
    RAW = "raw"


NO_STEM = "none"
DEFAULT_STEM = "english"

STEM_LANGUAGES = (
    "arabic", "armenian", "basque", "catalan", "czech", "danish", "dutch", "dutch_porter", "english", "esperanto",
    "estonian", "finnish", "french", "german", "greek", "hindi", "hungarian", "indonesian", "irish", "italian",
    "lithuanian", "nepali", "norwegian", "persian", "polish", "porter", "portuguese", "romanian", "russian", "serbian",
    "sesotho", "spanish", "swedish", "tamil", "turkish", "yiddish",
)  # fmt: skip
"""Snowball's names of the languages whose words can be stemmed."""

MOST_LISTED_WORDS = 1_000
MOST_LISTED_CHARS = 64
"""Bounds of the stop words and of the own words: how many, and the length of each."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AnalyzerOptions:
    """How one field is analyzed. Making one with a value that is not allowed raises InvalidArgument.

    stem: a Snowball language, "none", or "" for the usual of the kind (English for auto and cjk, none for words and
    raw); stop_words: words that are not indexed; own_words: words that are never cut or stemmed, such as names of
    products, in their usual spelling; fold: whether traditional Han characters count as their simplified form.
    """

    kind: AnalyzerKind = AnalyzerKind.AUTO
    stem: str = ""
    stop_words: tuple[str, ...] = ()
    own_words: tuple[str, ...] = ()
    fold: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.kind, AnalyzerKind):
            _refuse(f"analyzer is {shown(self.kind)}, it must be one of {_listed(AnalyzerKind)}", "kind")
        if not isinstance(self.stem, str) or self.stem not in ("", NO_STEM, *STEM_LANGUAGES):
            _refuse(f"stem is {shown(self.stem)}, it must be {NO_STEM} or one of {_listed(STEM_LANGUAGES)}", "stem")
        if not isinstance(self.fold, bool):
            _refuse(f"fold is {shown(self.fold)}, it must be true or false", "fold")
        _check_words("stop_words", self.stop_words)
        _check_words("own_words", self.own_words)
        self._check_together()

    @property
    def stem_language(self) -> str | None:
        """Return the language whose words are stemmed; None without stems."""
        usual = DEFAULT_STEM if self.kind in (AnalyzerKind.AUTO, AnalyzerKind.CJK) else NO_STEM
        language = self.stem or usual
        return None if language == NO_STEM else language

    def _check_together(self) -> None:
        if self.kind is AnalyzerKind.WORDS and self.stem_language:
            _refuse(f"stem is {shown(self.stem)}, but the analyzer words does not stem: allowed is {NO_STEM}; auto stems", "stem")
        if self.kind is AnalyzerKind.RAW:
            for name in ("stem", "stop_words", "own_words"):
                if getattr(self, name) not in ("", NO_STEM, ()):
                    _refuse(
                        f"{name} is {shown(getattr(self, name))}, but the analyzer raw takes the whole text as one word, without {name}",
                        name,
                    )


@dataclass(frozen=True, kw_only=True, slots=True)
class TextField:
    """A text field of a collection. name: a payload path, as in filters; its strings are the text."""

    name: str
    analyzer: AnalyzerOptions = field(default_factory=AnalyzerOptions)


MOST_TEXT_FIELDS = 16
MOST_NAME_CHARS = 1_024
"""Bounds of the text fields of a collection: how many, and the length of each name."""


def text_fields_from_input(value: object) -> tuple[TextField, ...]:
    """Return the text fields that a user gave, by name: a mapping of names to analyzers (see the head of this file), or
    the fields themselves.

    Raises InvalidArgument (field "text") that names the bad value and what is allowed.
    """
    if isinstance(value, (tuple, list)) and all(isinstance(each, TextField) for each in value):
        given: Mapping[Any, Any] = {each.name: each.analyzer for each in value}
        if len(given) < len(value):
            _refuse("text has a field twice", "text")
    elif isinstance(value, Mapping):
        given = value
    else:
        _refuse(f"text is {shown(value)}, it must be a mapping of payload fields to analyzers, such as {{'body': 'auto'}}", "text")
    if len(given) > MOST_TEXT_FIELDS:
        _refuse(f"text has {len(given)} fields, at most {MOST_TEXT_FIELDS} are allowed", "text", limit="text_fields")
    for name in given:
        text_path(name)
    return tuple(TextField(name=name, analyzer=_field_analyzer(name, given[name])) for name in sorted(given))


def text_path(name: object) -> Path:
    """Return the payload path of the text field with this name.

    Raises InvalidArgument (field "text") if there is none.
    """
    if not isinstance(name, str) or not 1 <= len(name) <= MOST_NAME_CHARS:
        _refuse(f"text has the field {shown(name)}, a name must be a string of 1 to {MOST_NAME_CHARS:,} characters", "text")
    try:
        path = path_from_text(name, FilterPlace(), DEFAULT_LIMITS)
    except InvalidArgument as error:
        _refuse(f"text has the field {shown(name)}, which is not the path of a payload field: {error.message}", "text")
    if path_to_text(path) != name:
        _refuse(f"text has the field {shown(name)}, it must be written {path_to_text(path)!r}", "text")
    return path


def _field_analyzer(name: str, value: object) -> AnalyzerOptions:
    try:
        return analyzer_from_input(value)
    except InvalidArgument as error:
        raise InvalidArgument(
            f"text field {shown(name)}: {error.message}", ErrorDetails(field="text", limit=error.details.limit)
        ) from error


def analyzer_from_input(value: object) -> AnalyzerOptions:
    """Return the options that a user gave: a kind, or a mapping (see the head of this file).

    Raises InvalidArgument that names the bad value and what is allowed.
    """
    if isinstance(value, AnalyzerOptions):
        return value
    if isinstance(value, str):
        return AnalyzerOptions(kind=_kind(value))
    if not isinstance(value, Mapping):
        _refuse(f"analyzer is {shown(value)}, it must be one of {_listed(AnalyzerKind)}, or a mapping with kind and options", "kind")
    known = [each.name for each in fields(AnalyzerOptions)]
    for key in value:
        if key not in known:
            _refuse(f"analyzer has the option {shown(key)}, allowed are {_listed(known)}", str(key))
    given: dict[str, Any] = dict(value)
    if "kind" in given:
        given["kind"] = _kind(given["kind"])
    for name in ("stop_words", "own_words"):
        if isinstance(given.get(name), list):
            given[name] = tuple(given[name])
    return AnalyzerOptions(**given)


def options_to_input(options: AnalyzerOptions) -> dict[str, Any]:
    """Return a mapping that analyzer_from_input converts back, of JSON values; what is usual is left out."""
    usual = AnalyzerOptions()
    given = {each.name: getattr(options, each.name) for each in fields(options) if getattr(options, each.name) != getattr(usual, each.name)}
    return {"kind": options.kind.value} | {name: list(value) if isinstance(value, tuple) else value for name, value in given.items()}


def _kind(value: object) -> AnalyzerKind:
    if not isinstance(value, str) or value not in tuple(AnalyzerKind):
        _refuse(f"analyzer is {shown(value)}, it must be one of {_listed(AnalyzerKind)}", "kind")
    return AnalyzerKind(value)


def _check_words(name: str, words: object) -> None:
    if not isinstance(words, tuple):
        _refuse(f"{name} is {shown(words)}, it must be a list of strings", name)
    if len(words) > MOST_LISTED_WORDS:
        _refuse(f"{name} has {len(words):,} words, at most {MOST_LISTED_WORDS:,} are allowed", name, limit=name)
    for word in words:
        if not isinstance(word, str) or not 1 <= len(word) <= MOST_LISTED_CHARS:
            _refuse(f"{name} has {shown(word)}, each must be a string of 1 to {MOST_LISTED_CHARS} characters", name)
        if word.isspace() or any(category(character) in ("Cc", "Cs") for character in word):
            _refuse(f"{name} has {shown(word)}, which is empty or has control characters or lone surrogates", name)


def _listed(names: Sequence[str] | type[AnalyzerKind]) -> str:
    return ", ".join(names)


def _refuse(message: str, field: str, *, limit: str | None = None) -> NoReturn:
    raise InvalidArgument(message, ErrorDetails(field=field, limit=limit))
