"""Reads the bytes of searches of a form that was seen before in one step: only the numbers of the queries are new.

Two searches that have the same bytes before and behind the numbers of their queries differ in nothing else.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from google.protobuf.message import DecodeError

from shoal.core.errors import InvalidArgument
from shoal.core.points import Matrix
from shoal.core.requests import SearchForm
from shoal.v1 import search_pb2
from shoal.wire.filters import has_long_filters
from shoal.wire.search_bytes import FLOAT32, IS_USED
from shoal.wire.searches import search_from_message

_MOST_KEPT = 1_024
"""Forms that are kept. When there are more, all of them are learnt anew."""

_MOST_FORM_BYTES = 2_048
"""A form with more bytes beside the queries than these is not kept."""

_MOST_PLACES = 4
"""Of searches of one length, so many places of the queries are tried."""


class SearchForms:
    """The forms of searches that were read lately. most_bytes: longest search that is read here."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._forms: dict[tuple[int, int, bytes], SearchForm] = {}
        self._places: dict[int, tuple[tuple[int, int], ...]] = {}

    def read(self, data: bytes) -> tuple[SearchForm, Matrix] | None:
        """Return the form of a search and its queries, (n, dim) float32.

        Return None for bytes that are no search, for a search with long filters, and for one that is too long.
        """
        size = len(data)
        for start, end in self._places.get(size, ()):
            form = self._forms.get((start, end, data[:start] + data[end:]))
            if form is not None:
                # A copy of the bytes, because numbers in the middle of others may lie across their boundaries.
                return form, np.frombuffer(data[start:end], FLOAT32).reshape(form.search.queries.shape)
        return None if size > self._most_bytes else self._learnt(data)

    def _learnt(self, data: bytes) -> tuple[SearchForm, Matrix] | None:
        """Read a search in the usual way, and keep its form if its bytes end with the numbers of its queries."""
        try:
            message = search_pb2.SearchRequest.FromString(data)
            if ((message.groups or message.HasField("filter")) and has_long_filters(message)) or not message.legs:
                return None
            search = search_from_message(message)
        except (DecodeError, InvalidArgument):
            return None
        queries, numbers = search.queries, message.legs[0].vectors.data
        # The numbers are not kept: all of them are one number in memory.
        form = SearchForm(dataclasses.replace(search, queries=np.broadcast_to(np.zeros(1, FLOAT32), queries.shape)))
        start = data.find(numbers) if IS_USED and numbers else -1
        if start >= 0:
            self._keep(data, start, start + len(numbers), form)
        return form, queries

    def _keep(self, data: bytes, start: int, end: int, form: SearchForm) -> None:
        size, beside = len(data), data[:start] + data[end:]
        if len(beside) > _MOST_FORM_BYTES or not _are_numbers(data[:start], end - start, data[end:]):
            return
        if len(self._forms) >= _MOST_KEPT:
            self._forms.clear()
            self._places.clear()
        self._forms[start, end, beside] = form
        self._places[size] = ((start, end), *(each for each in self._places.get(size, ()) if each != (start, end)))[:_MOST_PLACES]


def _are_numbers(before: bytes, length: int, behind: bytes) -> bool:
    """Return whether any `length` bytes between these are the numbers of the queries.

    What a parser expects there depends only on the bytes before. So if two different fillings come back as the numbers,
    every filling does.
    """
    for byte in (b"\x00", b"\xff"):
        filling = byte * length
        try:
            legs = search_pb2.SearchRequest.FromString(before + filling + behind).legs
        except DecodeError:
            return False
        if len(legs) != 1 or legs[0].vectors.data != filling:
            return False
    return True
