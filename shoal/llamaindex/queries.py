"""The query modes of LlamaIndex as searches of Shoal. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode

from shoal.client.legs import Dense, Text
from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.core.fused_search import DEFAULT_CANDIDATES
from shoal.llamaindex.filters import where

_PREFETCH_FACTOR = 4
_MMR_THRESHOLD = 0.5
_MMR_OPTIONS = ("mmr_threshold", "mmr_prefetch_k", "mmr_prefetch_factor")

TEXT_MODES = (VectorStoreQueryMode.TEXT_SEARCH, VectorStoreQueryMode.SPARSE)
DENSE_MODES = (VectorStoreQueryMode.DEFAULT, VectorStoreQueryMode.MMR)


def search_of(query: VectorStoreQuery, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of `shoal.Client.search`, beside the name.

    options: further ones of the search; for MMR also mmr_threshold (1: the best, 0: the most different),
    mmr_prefetch_k and mmr_prefetch_factor. Raises InvalidArgument for a mode that Shoal does not have, and for a query
    without what its mode needs.
    """
    rest = {name: value for name, value in options.items() if name not in _MMR_OPTIONS}
    # An index whose store keeps the nodes asks with an empty list of ids, and means all.
    narrowed = where(query.filters, query.node_ids or None, query.doc_ids or None)
    common = {"k": query.similarity_top_k, "filter": narrowed, **rest}
    match query.mode:
        case VectorStoreQueryMode.DEFAULT:
            return {"vector": _vector(query), **common}
        case VectorStoreQueryMode.MMR:
            return {"vector": _vector(query), **common, **_mmr(query, options)}
        case VectorStoreQueryMode.TEXT_SEARCH | VectorStoreQueryMode.SPARSE:
            k = query.sparse_top_k or query.similarity_top_k
            return {"text": _text(query), **common, "k": k, **_deep_enough(k, rest)}
        case VectorStoreQueryMode.HYBRID:
            common.pop("using", None)
            return {**common, **_hybrid(query, rest)}
        case _:
            known = ", ".join(mode.value for mode in (*DENSE_MODES, VectorStoreQueryMode.HYBRID, *TEXT_MODES))
            raise InvalidArgument(f"mode is {query.mode.value!r}, Shoal has {known}", ErrorDetails(field="mode"))


def _hybrid(query: VectorStoreQuery, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the legs and the depth. alpha: weight of the vectors, that of the text is 1 - alpha; None: what the
    collection's defaults say. A leg of weight 0 is not searched, but with it scores are from 0 to 1, as ever.
    """
    alpha = query.alpha
    if alpha is not None and not 0 <= alpha <= 1:
        _refuse(f"alpha is {alpha!r}, it must be from 0 (text) to 1 (vectors)", "alpha")
    k = query.hybrid_top_k or query.similarity_top_k
    legs: list[Any] = []
    if alpha != 0 or query.query_embedding is not None:
        legs.append(Dense(_vector(query), weight=alpha, using=options.get("using")))
    if alpha != 1 or query.query_str:
        legs.append(Text(_text(query), weight=None if alpha is None else 1.0 - alpha))
    return {"legs": legs, "k": k, **_deep_enough(max(k, query.similarity_top_k, query.sparse_top_k or 0), options)}


def _mmr(query: VectorStoreQuery, options: Mapping[str, Any]) -> dict[str, Any]:
    given = query.mmr_threshold if options.get("mmr_threshold") is None else options["mmr_threshold"]
    threshold = _MMR_THRESHOLD if given is None else given
    if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not 0 <= threshold <= 1:
        _refuse(f"mmr_threshold is {threshold!r}, it must be a number from 0 to 1", "mmr_threshold")
    factor = options.get("mmr_prefetch_factor") or _PREFETCH_FACTOR
    fetched = options.get("mmr_prefetch_k") or int(factor * query.similarity_top_k)
    return {"candidates": max(fetched, query.similarity_top_k), "diversity": 1.0 - threshold}


def _deep_enough(k: int, options: Mapping[str, Any]) -> dict[str, Any]:
    return {} if options.get("candidates") is not None else {"candidates": max(k, DEFAULT_CANDIDATES)}


def _vector(query: VectorStoreQuery) -> list[float]:
    if query.query_embedding is None:
        _refuse(f"query_embedding is missing, mode {query.mode.value} needs it", "query_embedding")
    return query.query_embedding


def _text(query: VectorStoreQuery) -> str:
    if not query.query_str:
        _refuse(f"query_str is missing, mode {query.mode.value} needs it", "query_str")
    return query.query_str


def _refuse(message: str, field: str) -> NoReturn:
    raise InvalidArgument(message, ErrorDetails(field=field))
