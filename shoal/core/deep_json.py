"""JSON without recursion: read and write values that are nested too deeply for `json`.

The limit of `json` depends on the version of Python. This module is far slower: it is for texts that `json` has
refused, to get their value all the same or to find the place of the fault.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from json import JSONDecodeError
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any

Step = str | int
"""A key of an object, or a position in a list."""

_WHITE = re.compile(r"[ \t\n\r]*")
_NUMBER = re.compile(r"(-?(?:0|[1-9][0-9]*))((?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?)")
_WORDS: tuple[tuple[str, Any], ...] = (
    ("true", True),
    ("false", False),
    ("null", None),
    ("NaN", float("nan")),
    ("Infinity", float("inf")),
    ("-Infinity", float("-inf")),
)
_DIGITS_AT_ONCE = 600
"""Python converts an integer of this many digits under every setting of its digit limit."""

_MOST_DIGITS = 20_000
"""Integers with more digits are refused: the time to convert one grows with the square of its digits."""


class DuplicateKey(ValueError):
    """An object has the same key twice. path: steps from the root to the second one."""

    def __init__(self, path: tuple[Step, ...]) -> None:
        super().__init__(f"the key {path[-1]!r} is given twice in one object")
        self.path = path


def read_json(text: str, *, unique_keys: bool = False) -> Any:
    """Return the value of a JSON text, as json.loads does.

    unique_keys: refuse an object that has a key twice; else the last one counts. Raises ValueError for a text that is
    not JSON, DuplicateKey for a repeated key.
    """
    return _JsonReader(text, unique_keys).read()


def write_json(value: Any, scalar: Callable[[Any], str], *, comma: str = ", ", colon: str = ": ") -> str:
    """Return the JSON text of mappings, lists and tuples. scalar: returns the text of any other value."""
    pieces: list[str] = []
    within: list[tuple[Iterator[tuple[str, Any]], str]] = []
    while True:
        if isinstance(value, (Mapping, list, tuple)):
            opening, closing = "{}" if isinstance(value, Mapping) else "[]"
            within.append((_members(value, colon), closing))
            pieces.append(opening)
            before = ""
        else:
            pieces.append(scalar(value))
            before = comma
        while within:
            members, closing = within[-1]
            found = next(members, None)
            if found is not None:
                label, value = found
                pieces.append(before + label)
                break
            pieces.append(closing)
            within.pop()
            before = comma
        else:
            return "".join(pieces)


def _members(value: Any, colon: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        return ((json.dumps(key, ensure_ascii=False) + colon, member) for key, member in value.items())
    return (("", member) for member in value)


class _JsonReader:
    """Reads one text.

    `_within`: the objects and lists that are still open, each with the key whose value comes next (None for a list).
    """

    def __init__(self, text: str, unique_keys: bool) -> None:
        self._text, self._unique = text, unique_keys
        self._at = 0
        self._within: list[tuple[Any, str | None]] = []

    def read(self) -> Any:
        while True:
            value, whole = self._begun()
            while whole:
                if not self._within:
                    self._skip()
                    if self._at < len(self._text):
                        raise self._error("Extra data")
                    return value
                value, whole = self._placed(value)

    def _begun(self) -> tuple[Any, bool]:
        """Read the beginning of a value; return it and whether it is complete.

        An object or list that is not empty is not complete yet.
        """
        self._skip()
        sign = self._text[self._at : self._at + 1]
        if sign not in ("{", "["):
            return self._scalar(sign), True
        value: Any = {} if sign == "{" else []
        self._at += 1
        self._skip()
        if self._text[self._at : self._at + 1] == ("}" if sign == "{" else "]"):
            self._at += 1
            return value, True
        self._within.append((value, None))
        if sign == "{":
            self._take_key(value)
        return value, False

    def _placed(self, value: Any) -> tuple[Any, bool]:
        """Add a value to the innermost open object or list; return that and whether it is complete now."""
        holder, key = self._within[-1]
        if key is None:
            holder.append(value)
        else:
            holder[key] = value
        self._skip()
        sign = self._text[self._at : self._at + 1]
        if sign == ",":
            self._at += 1
            if key is not None:
                self._take_key(holder)
            return holder, False
        if sign != ("]" if key is None else "}"):
            raise self._error("Expecting ',' delimiter")
        self._at += 1
        self._within.pop()
        return holder, True

    def _take_key(self, holder: dict[str, Any]) -> None:
        self._skip()
        if self._text[self._at : self._at + 1] != '"':
            raise self._error("Expecting property name enclosed in double quotes")
        key, self._at = scanstring(self._text, self._at + 1, True)
        self._within[-1] = (holder, key)
        if self._unique and key in holder:
            raise DuplicateKey(tuple(len(each) if step is None else step for each, step in self._within))
        self._skip()
        if self._text[self._at : self._at + 1] != ":":
            raise self._error("Expecting ':' delimiter")
        self._at += 1

    def _scalar(self, sign: str) -> Any:
        if sign == '"':
            value, self._at = scanstring(self._text, self._at + 1, True)
            return value
        for word, meaning in _WORDS:
            if self._text.startswith(word, self._at):
                self._at += len(word)
                return meaning
        number = _NUMBER.match(self._text, self._at)
        if number is None:
            raise self._error("Expecting value")
        self._at = number.end()
        return float(number[0]) if number[2] else _integer(number[0])

    def _skip(self) -> None:
        white = _WHITE.match(self._text, self._at)
        assert white is not None
        self._at = white.end()

    def _error(self, what: str) -> JSONDecodeError:
        return JSONDecodeError(what, self._text, self._at)


def _integer(text: str) -> int:
    """Return an integer, also one of more than the 4,300 digits that int() accepts.

    Raises ValueError for more than _MOST_DIGITS digits.
    """
    digits = text.removeprefix("-")
    if len(digits) > _MOST_DIGITS:
        raise ValueError(f"an integer has {len(digits)} digits, at most {_MOST_DIGITS} are read")
    value = 0
    for start in range(0, len(digits), _DIGITS_AT_ONCE):
        part = digits[start : start + _DIGITS_AT_ONCE]
        value = value * 10 ** len(part) + int(part)
    return -value if text.startswith("-") else value
