"""Read .json files of points: one array of objects. They are read piece by piece; the whole file is never in memory."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from shoal.cli.matrix_files import bad
from shoal.cli.point_files import AnyColumns, Numbered, batches_of, chunks_of, named, object_of
from shoal.client.batch_pipeline import PointBatch
from shoal.core.errors import InvalidArgument

_SIGNS = re.compile(r'["\\{}\[\]]')
_STRING_SIGNS = re.compile(r'["\\]')
_NO_ARRAY = "is no array of objects: --format jsonl reads one object a line"
_MOST_CHARS = 64 * 1024 * 1024
"""Most characters of one object: a payload of 1 MiB and a vector, with any spaces between."""


def json_batches(path: Path, columns: AnyColumns) -> Iterator[PointBatch]:
    """Yield the points of a .json file in batches. path: STDIN for the standard input.

    Raises InvalidArgument that names the line on which the first object begins that is not a point.
    """
    return batches_of(path, _points(path), columns)


def _points(path: Path) -> Iterator[Numbered]:
    name = named(path)
    for line, text in elements_of(chunks_of(path), name):
        yield line, len(text), object_of(text, f"{name} line {line}")


def elements_of(chunks: Iterable[str], name: str) -> Iterator[tuple[int, str]]:
    """Yield each object or list of an array, as its text, with the line (from 1) on which it begins.

    Raises InvalidArgument for anything else between them, and if the array does not end.
    """
    text = ArrayText(name)
    for chunk in chunks:
        yield from text.take(chunk)
    text.end()


class ArrayText:
    """The text of an array, as far as it came: cuts it into its elements.

    Depth 0 is outside of the array, 1 between its elements. `_begin` is where the text begins that was not looked at.
    """

    def __init__(self, name: str) -> None:
        """name: of the file, for errors."""
        self._name, self._held, self._line = name, "", 1
        self._depth = self._begin = self._at = self._count = 0
        self._in_string = self._ended = False

    def take(self, chunk: str) -> Iterator[tuple[int, str]]:
        """Add a part of the text; yield the elements that end in it. Raises InvalidArgument."""
        self._held += chunk
        while (sign := self._next_sign()) is not None:
            if self._in_string:
                self._in_string = sign != '"'
            elif sign in "{[":
                self._open(sign)
            elif sign in "}]":
                yield from self._close()
            else:
                if self._depth < 2:
                    raise self._between()
                self._in_string = sign == '"'
        if len(self._held) > _MOST_CHARS:
            raise bad(f"{self._name} line {self._line}: an object of more than {_MOST_CHARS} characters")

    def end(self) -> None:
        """Raise InvalidArgument unless the array has ended, and nothing follows."""
        if self._depth:
            raise bad(f"{self._name} line {self._line}: the array does not end, the file is cut short")
        if not self._ended:
            raise bad(f"{self._name} {_NO_ARRAY}" if self._held.strip() else "the file holds no points")
        self._check_between("")

    def _next_sign(self) -> str | None:
        """Return the next sign that matters, and go behind it and what it escapes; None: more text is needed."""
        found = (_STRING_SIGNS if self._in_string else _SIGNS).search(self._held, self._at)
        if found is None or (found[0] == "\\" and found.end() == len(self._held)):
            self._at = len(self._held) if found is None else found.start()
            return None
        self._at = found.end() + (self._in_string and found[0] == "\\")
        return found[0]

    def _open(self, sign: str) -> None:
        if self._depth < 2:
            if self._ended or (self._depth == 0 and sign == "{"):
                raise bad(f"{self._name} {_NO_ARRAY}")
            self._check_between("," if self._count else "", self._at - 1)
            self._line += self._held.count("\n", self._begin, self._at - 1)
            self._begin = self._at - self._depth
        self._depth += 1

    def _close(self) -> Iterator[tuple[int, str]]:
        self._depth -= 1
        if self._depth == 1:
            element, self._held = self._held[self._begin : self._at], self._held[self._at :]
            self._begin = self._at = 0
            self._count += 1
            yield self._line, element
            self._line += element.count("\n")
        elif self._depth == 0:
            self._check_between("", self._at - 1)
            self._begin, self._ended = self._at, True
        elif self._depth < 0:
            raise self._between()

    def _check_between(self, wanted: str, end: int | None = None) -> None:
        """Raise InvalidArgument unless the text that was not looked at, up to `end`, is `wanted`."""
        if self._held[self._begin : end].strip() != wanted:
            raise self._between(end)

    def _between(self, end: int | None = None) -> InvalidArgument:
        line = self._line + self._held.count("\n", self._begin, self._at if end is None else end)
        return bad(f"{self._name} line {line}: there must be objects with one comma between each two, in one array")
