"""Nodes as payloads and back."""

from __future__ import annotations

import pytest
from llama_index.core.schema import (
    Document,
    ImageNode,
    IndexNode,
    MediaResource,
    Node,
    NodeRelationship,
    RelatedNodeInfo,
    TextNode,
)

from shoal.core.errors import InvalidArgument
from shoal.llamaindex.nodes import REF_DOC_KEY, TEXT_KEY, node_of, payload_of, rows_of

SOURCE = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id="d1")}
NODES = (
    TextNode(
        id_="a",
        text="hello 世界",
        metadata={"x": [1, 2], "empty": [], "doc_id": "mine", "a.b": 2, "deep": {"y": 1}},
        relationships=SOURCE,
        start_char_idx=3,
        end_char_idx=9,
        text_template="{content}",
        excluded_llm_metadata_keys=["x"],
    ),
    TextNode(id_="b", text=""),
    TextNode(id_="c", text="<p>hi</p>", mimetype="text/html"),
    IndexNode(id_="d", text="summary", index_id="other"),
    ImageNode(id_="e", text="caption", image_path="/x/y.png"),
    Node(id_="f", text_resource=MediaResource(text="media", mimetype="text/markdown")),
)


@pytest.mark.parametrize("node", NODES, ids=lambda node: node.node_id)
def test_a_node_comes_back_as_it_was(node):
    payload = payload_of(node)
    assert payload[TEXT_KEY] == node.get_content()
    back = node_of(node.node_id, payload)
    assert (type(back), back) == (type(node), node)


def test_a_document_comes_back_as_a_text():
    back = node_of("g", payload_of(Document(id_="g", text="whole", metadata={"x": 1})))
    assert (back.node_id, back.get_content(), back.metadata) == ("g", "whole", {"x": 1})


def test_filters_see_metadata_and_the_document():
    payload = payload_of(NODES[0])
    seen = {key: value for key, value in payload.items() if not key.startswith("_node")}
    assert seen == {
        "x": [1, 2],
        "doc_id": "mine",
        "a.b": 2,
        "deep": {"y": 1},
        "ref_doc_id": "d1",
        "document_id": "d1",
        REF_DOC_KEY: "d1",
    }
    assert payload_of(NODES[1]).keys() == {TEXT_KEY, "_node_content", "_node_type"}
    assert "hello" not in payload["_node_content"], "a text is stored once"


def test_rows_have_vectors():
    with_vector = TextNode(id_="a", text="t", embedding=[1.0, 2.0])
    assert rows_of([with_vector]) == (["a"], [[1.0, 2.0]], [payload_of(TextNode(id_="a", text="t"))])
    with pytest.raises(ValueError, match="embedding not set"):
        rows_of([NODES[0]])


@pytest.mark.parametrize("payload", [None, {}, {"x": 1}, {"_node_content": 3}])
def test_points_of_others_are_typed_errors(payload):
    with pytest.raises(InvalidArgument, match="the point 'a' has no _node_content"):
        node_of("a", payload)
