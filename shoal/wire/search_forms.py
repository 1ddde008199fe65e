"""Reads the bytes of searches of a form that was seen before in one step: only the numbers of the queries are new.

Two searches that have the same bytes before and behind the numbers of their queries differ in nothing else.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from google.protobuf.message import DecodeError

from shoal.core.errors import InvalidArgument
from shoal.core.points import Matrix
from shoal.core.requests import SearchForm
from shoal.core.shard_calls import ShardsSearch
from shoal.v1 import search_pb2, worker_pb2
from shoal.wire.filters import has_long_filters
from shoal.wire.fused_searches import is_fused
from shoal.wire.search_bytes import FLOAT32, IS_USED
from shoal.wire.searches import search_from_message, shards_search_from_message
from shoal.wire.shards_search_bytes import answered_bytes

_MOST_KEPT = 1_024
"""Forms that are kept. When there are more, all of them are learnt anew."""

_MOST_FORM_BYTES = 2_048
"""A form with more bytes beside the queries than these is not kept."""

_MOST_PLACES = 4
"""Of searches of one length, so many places of the queries are tried."""

F = TypeVar("F")


@dataclass(frozen=True, slots=True)
class LearntForm(Generic[F]):
    """What the usual way has read. queries: (n, dim) float32; numbers: their bytes in the message."""

    form: F
    queries: Matrix
    numbers: bytes


class QueryForms(Generic[F]):
    """The forms of messages that were read lately. most_bytes: longest message that is read here.

    learn: reads a message in the usual way, None if it is not read here. numbers_in: returns the bytes of the numbers
    of the queries in a message, None if there is no such place; raises DecodeError for other bytes.
    """

    def __init__(
        self,
        most_bytes: int,
        learn: Callable[[bytes], LearntForm[F] | None],
        numbers_in: Callable[[bytes], bytes | None],
    ) -> None:
        self._most_bytes, self._learn, self._numbers_in = most_bytes, learn, numbers_in
        self._forms: dict[tuple[int, int, bytes], tuple[F, tuple[int, ...]]] = {}
        self._places: dict[int, tuple[tuple[int, int], ...]] = {}

    def read(self, data: bytes) -> tuple[F, Matrix] | None:
        """Return the form of a message and its queries, (n, dim) float32; None for a message that is not read here."""
        size = len(data)
        for start, end in self._places.get(size, ()):
            found = self._forms.get((start, end, data[:start] + data[end:]))
            if found is not None:
                # A copy of the bytes, because numbers in the middle of others may lie across their boundaries.
                return found[0], np.frombuffer(data[start:end], FLOAT32).reshape(found[1])
        return None if size > self._most_bytes else self._learnt(data)

    def _learnt(self, data: bytes) -> tuple[F, Matrix] | None:
        """Read a message in the usual way, and keep its form if the numbers of its queries have one place in it."""
        learnt = self._learn(data)
        if learnt is None:
            return None
        start = data.find(learnt.numbers) if IS_USED and learnt.numbers else -1
        if start >= 0:
            self._keep(data, start, start + len(learnt.numbers), learnt.form, learnt.queries.shape)
        return learnt.form, learnt.queries

    def _keep(self, data: bytes, start: int, end: int, form: F, shape: tuple[int, ...]) -> None:
        size, beside = len(data), data[:start] + data[end:]
        if len(beside) > _MOST_FORM_BYTES or not self._are_numbers(data[:start], end - start, data[end:]):
            return
        if len(self._forms) >= _MOST_KEPT:
            self._forms.clear()
            self._places.clear()
        self._forms[start, end, beside] = form, shape
        self._places[size] = ((start, end), *(each for each in self._places.get(size, ()) if each != (start, end)))[:_MOST_PLACES]

    def _are_numbers(self, before: bytes, length: int, behind: bytes) -> bool:
        """Return whether any `length` bytes between these are the numbers of the queries.

        What a parser expects there depends only on the bytes before. So if two different fillings come back as the
        numbers, every filling does.
        """
        try:
            return all(self._numbers_in(before + filling + behind) == filling for filling in (b"\x00" * length, b"\xff" * length))
        except DecodeError:
            return False


class SearchForms(QueryForms[SearchForm]):
    """The forms of public searches by vectors only. It reads no searches with long filters."""

    def __init__(self, most_bytes: int) -> None:
        super().__init__(most_bytes, _learnt_search, _numbers_of_search)


class ShardsForm(NamedTuple):
    """What searches of several shards have in common that differ only in their queries.

    call: one of them, of whose queries only the shape counts; answered: bytes behind the hits in an answer by all.
    """

    call: ShardsSearch
    answered: bytes


class ShardsSearchForms(QueryForms[ShardsForm]):
    """The forms of searches of several shards. It reads no searches with long filters."""

    def __init__(self, most_bytes: int) -> None:
        super().__init__(most_bytes, _learnt_shards_search, _numbers_of_shards_search)


def without_numbers(queries: Matrix) -> Matrix:
    """Return queries of the same shape that are not kept: all their numbers are one number in memory."""
    return np.broadcast_to(np.zeros(1, FLOAT32), queries.shape)


def _learnt_search(data: bytes) -> LearntForm[SearchForm] | None:
    try:
        message = search_pb2.SearchRequest.FromString(data)
        if ((message.groups or message.HasField("filter")) and has_long_filters(message)) or not message.legs or is_fused(message):
            return None
        search = search_from_message(message)
    except (DecodeError, InvalidArgument):
        return None
    form = SearchForm(dataclasses.replace(search, queries=without_numbers(search.queries)))
    return LearntForm(form, search.queries, message.legs[0].vectors.data)


def _numbers_of_search(data: bytes) -> bytes | None:
    legs = search_pb2.SearchRequest.FromString(data).legs
    return legs[0].vectors.data if len(legs) == 1 else None


def _learnt_shards_search(data: bytes) -> LearntForm[ShardsForm] | None:
    try:
        message = worker_pb2.SearchShardsRequest.FromString(data)
        if has_long_filters(message.search):
            return None
        call = shards_search_from_message(message)
    except (DecodeError, InvalidArgument):
        return None
    form = ShardsForm(dataclasses.replace(call, queries=without_numbers(call.queries)), answered_bytes(call))
    return LearntForm(form, call.queries, message.search.queries.data)


def _numbers_of_shards_search(data: bytes) -> bytes | None:
    return worker_pb2.SearchShardsRequest.FromString(data).search.queries.data
