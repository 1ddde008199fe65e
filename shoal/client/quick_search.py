"""Usual searches in few steps: from the arguments of a user to bytes, and from bytes to hits.

A search is usual if its queries are a numpy array and its options have their plain types. Everything else takes the
general way through `verbs`, which also tells what is wrong with bad input. Tests compare the two ways.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from shoal.client.identity import Session
from shoal.client.results import Hits, hits_of, hits_of_lists
from shoal.client.routers import Routers
from shoal.client.search_input import DEFAULT_K
from shoal.core.errors import Internal, InvalidArgument
from shoal.core.limits import DEFAULT_LIMITS
from shoal.core.points import Matrix
from shoal.core.replies import Found
from shoal.core.requests import Search
from shoal.core.shard_calls import Consistency
from shoal.wire.public_calls import METHODS, decoded
from shoal.wire.search_bytes import FLOAT32, IS_USED, bytes_before_queries, bytes_of_search, head_of, lists_of_answer

_FLOATS = {float}
_NUMBERS = frozenset(np.typecodes["AllInteger"] + "ed")
"""Kinds of numbers, beside float32, that are converted as the general way converts them."""

_MOST_KEPT = 1_024
"""Heads and lengths that are kept. When there are more, all of them are made anew."""

_MOST_CONDITIONS = 4
_PLAIN = frozenset({int, str, bool})
_K, _RECALL = frozenset({int, type(None)}), frozenset({float, type(None)})


class QuickSearch(NamedTuple):
    """The first attempt of a search. address, timeout_s: as the general way chooses them; queries: number of them;
    routers: are told that one of them has answered.
    """

    address: str
    data: bytes
    timeout_s: float
    queries: int
    routers: Routers | None = None

    def hits(self, answer: bytes) -> list[Hits]:
        """Return the hits of each query. Raises Internal if the answer cannot be read."""
        if self.routers is not None:
            self.routers.answered = True
        lists = lists_of_answer(answer)
        if lists is not None:
            hits = hits_of_lists(lists)
        else:
            found: Found = decoded(METHODS[Search], answer, self.address)
            hits = hits_of(found.hits, found.missing_shards)
        check_queries(len(hits), self.queries)
        return hits


class QuickSearches:
    """Makes the bytes of usual searches. Thread-safe.

    general: returns the search of these arguments as the general way makes it, or raises InvalidArgument.
    message_bytes: largest request.
    """

    def __init__(self, session: Session, general: Callable[..., Search], message_bytes: int) -> None:
        self._session, self._general, self._message_bytes = session, general, message_bytes
        self._heads: dict[Any, bytes] = {}
        self._before: dict[tuple[int, int, str], bytes] = {}

    def data(self, name: Any, queries: Matrix, k: Any, filter: Any, using: Any, options: Mapping[str, Any]) -> bytes | None:
        """Return the bytes of a search; None for one that is not usual. queries: as `one_query` or `several_queries`
        returns them. using: name of the vector, None if it has none; options: those of a client's `search`, but for
        timeout.
        """
        if using is not None and (type(using) is not str or not using or not using.isprintable()):
            return None
        head = self._head(name, k, filter, options)
        if head is None:
            return None
        rows, dim = (1, len(queries)) if queries.ndim == 1 else queries.shape
        if rows > 1 and (rows > DEFAULT_LIMITS.batch_queries or rows * (k or DEFAULT_K) > DEFAULT_LIMITS.batch_hits):
            return None
        shape = (rows, dim, using or "")
        before = self._before.get(shape)
        if before is None:
            before = _kept(self._before, shape, bytes_before_queries(*shape))
        tokens = self._session.encoded(name) if options["consistency"] == Consistency.SESSION else b""
        data = bytes_of_search(head, tokens, before, queries)
        return data if len(data) <= self._message_bytes else None

    def _head(self, name: Any, k: Any, filter: Any, options: Mapping[str, Any]) -> bytes | None:
        """Return the part that is the same for all searches with these arguments. It is made on the general way."""
        recall, exact, consistency = options["recall"], options["exact"], options["consistency"]
        allow_partial, with_payload = options["allow_partial"], options["with_payload"]
        conditions = None if filter is None else _conditions(filter)
        # Values that are equal but of another type (1 and True) have another meaning, or none.
        if (
            type(name) is not str
            or type(k) not in _K
            or type(recall) not in _RECALL
            or type(consistency) is not str
            or not type(exact) is type(allow_partial) is type(with_payload) is bool
            or (filter is not None and conditions is None)
            or options["with_vectors"] is not False
            or options["explain"] is not False
            or options["params"] is not None
        ):
            return None
        key = (name, k, conditions, recall, exact, consistency, allow_partial, with_payload)
        head = self._heads.get(key)
        if head is None:
            try:
                head = _kept(self._heads, key, head_of(self._general(name, k, filter, options)))
            except InvalidArgument:
                return None
        return head


def check_queries(answered: int, asked: int) -> None:
    """Raise Internal if an answer has not the hits of each query."""
    if answered != asked:
        raise Internal(f"the answer has the hits of {answered} queries, {asked} were asked for")


def one_query(vector: Any) -> Matrix | None:
    """Return a vector, (dim,) float32, if it is a usual one: an array of finite numbers, or a list of finite floats."""
    if type(vector) is list and set(map(type, vector)) == _FLOATS:
        vector = np.array(vector)
    return _plain(vector) if type(vector) is np.ndarray and vector.ndim == 1 else None


def several_queries(vectors: Any) -> Matrix | None:
    """Return a matrix, (n, dim) float32 with n > 0, if it is a usual one: an array of finite numbers."""
    return _plain(vectors) if type(vectors) is np.ndarray and vectors.ndim == 2 else None


def _plain(array: npt.NDArray[Any]) -> Matrix | None:
    """Return an array as float32 numbers in one piece of memory; None if it is empty or holds anything else."""
    if not IS_USED or not array.size:
        return None
    if array.dtype != FLOAT32:
        if array.dtype.char not in _NUMBERS:
            return None
        with np.errstate(over="ignore"):
            array = np.ascontiguousarray(array, FLOAT32)
    elif not array.flags.c_contiguous:
        return None
    # The square of one vector is faster than to look at each number, and finite for nearly all usual ones.
    flat = array.reshape(-1)
    if not math.isfinite(np.vdot(flat, flat)) and not np.isfinite(array).all():
        return None
    return array


def _conditions(filter: Any) -> tuple[tuple[str, type, Any], ...] | None:
    """Return what a short filter without operators says, with the types of its values; None for another filter."""
    if type(filter) is not dict or len(filter) > _MOST_CONDITIONS:
        return None
    found = tuple((name, type(value), value) for name, value in filter.items())
    return found if all(type(name) is str and kind in _PLAIN for name, kind, _ in found) else None


def _kept(kept: dict[Any, bytes], key: Any, made: bytes) -> bytes:
    if len(kept) >= _MOST_KEPT:
        kept.clear()
    kept[key] = made
    return made
