"""LlamaIndex nodes as points and back. Pure.

A payload has the metadata, so that filters find it, the node without its text as JSON (`_node_content`), the text in a
text field (`_node_text`), and the id of the document that the node is of (`_ref_doc_id`; also, unless metadata has
these keys, ref_doc_id, doc_id and document_id, as other stores have them). Metadata comes back from the JSON, so it is
what it was.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from llama_index.core.schema import BaseNode, Document, MetadataMode, Node, TextNode
from llama_index.core.vector_stores.utils import metadata_dict_to_node

from shoal.client.one_collection import Rows
from shoal.core.errors import InvalidArgument
from shoal.core.points import PointId

TEXT_KEY = "_node_text"
REF_DOC_KEY = "_ref_doc_id"
_CONTENT_KEY, _TYPE_KEY = "_node_content", "_node_type"
_WITH_THEIR_TEXT = (Node.class_name(), Document.class_name())
"""Nodes of several media: their JSON keeps the text, since it has a type and a source of its own."""
_USUAL_REF_DOC_KEYS = ("ref_doc_id", "doc_id", "document_id")


def rows_of(nodes: Sequence[BaseNode]) -> Rows:
    """Return the points of nodes with embeddings. Raises ValueError for a node without one, as LlamaIndex does."""
    return [node.node_id for node in nodes], [node.get_embedding() for node in nodes], [payload_of(node) for node in nodes]


def payload_of(node: BaseNode) -> dict[str, Any]:
    """Return the payload of a node. Filters see an empty list of its metadata as a missing value."""
    whole = node.model_dump(mode="json")
    metadata: dict[str, Any] = whole.get("metadata") or {}
    whole["embedding"] = None
    payload = dict.fromkeys(_USUAL_REF_DOC_KEYS, node.ref_doc_id) if node.ref_doc_id is not None else {}
    payload |= {key: value for key, value in metadata.items() if value != []}
    payload[TEXT_KEY] = node.get_content(MetadataMode.NONE)
    if isinstance(node, TextNode):
        whole["text"] = ""
    payload[_CONTENT_KEY] = json.dumps(whole, ensure_ascii=False)
    payload[_TYPE_KEY] = node.class_name()
    if node.ref_doc_id is not None:
        payload[REF_DOC_KEY] = node.ref_doc_id
    return payload


def node_of(id: PointId, payload: Mapping[str, Any] | None) -> BaseNode:
    """Return the node of a point. A point that no node store wrote, without `_node_content`, raises InvalidArgument."""
    if not payload or not isinstance(payload.get(_CONTENT_KEY), str):
        raise InvalidArgument(f"the point {id!r} has no {_CONTENT_KEY} in its payload: it was not written as a node of LlamaIndex")
    text = None if payload.get(_TYPE_KEY) in _WITH_THEIR_TEXT else payload.get(TEXT_KEY)
    return metadata_dict_to_node(dict(payload), text=text)
