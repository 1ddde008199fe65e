"""LangChain documents as points and back. Pure.

A payload is flat: the metadata, and the text under one more key. So a filter names metadata as it is, and collections
that other programs wrote can be read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat
from typing import Any

from langchain_core.documents import Document

from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.core.points import PointId


def payloads_of(texts: Sequence[str], metadatas: Iterable[Mapping[str, Any] | None] | None, content_key: str) -> list[dict[str, Any]]:
    """Return a payload for each text.

    Raises InvalidArgument when there are not as many metadatas as texts, or one has the key that is the text's.
    """
    given = list(repeat(None, len(texts)) if metadatas is None else metadatas)
    if len(given) != len(texts):
        raise InvalidArgument(f"{len(given)} metadatas are given for {len(texts)} texts", ErrorDetails(field="metadatas"))
    for at, metadata in enumerate(given):
        if metadata and content_key in metadata:
            raise InvalidArgument(
                f"metadatas[{at}] has the key {content_key!r}, under which the text is stored: rename it, or give another content_key",
                ErrorDetails(field="metadatas", index=at),
            )
    return [{**(metadata or {}), content_key: text} for text, metadata in zip(texts, given, strict=True)]


def ids_of(ids: Sequence[str | None] | None, count: int, new: Iterable[str]) -> list[str]:
    """Return an id for each of `count` texts; new: ids for those without one. Raises InvalidArgument for another
    number of ids.
    """
    given: list[str | None] = [None] * count if ids is None else list(ids)
    if len(given) != count:
        raise InvalidArgument(f"{len(given)} ids are given for {count} texts", ErrorDetails(field="ids"))
    fresh = iter(new)
    return [next(fresh) if each is None else each for each in given]


def document_of(id: PointId, payload: Mapping[str, Any] | None, content_key: str) -> Document:
    """Return a point as a document. Its text is empty when the payload has no text under the key."""
    metadata = dict(payload or {})
    text = metadata.pop(content_key, "")
    if not isinstance(text, str):
        raise InvalidArgument(
            f"the point {id!r} has {text!r} under {content_key!r}, a text is expected: name the key of texts with content_key",
            ErrorDetails(field="content_key"),
        )
    return Document(id=str(id), page_content=text, metadata=metadata)
