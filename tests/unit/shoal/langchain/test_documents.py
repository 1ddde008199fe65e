"""Documents as payloads and back, and what is refused before anything is sent."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.documents import Document

from shoal.core.errors import InvalidArgument
from shoal.langchain.documents import document_of, ids_of, payloads_of

METADATA = st.dictionaries(st.text(max_size=5), st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.lists(st.integers()))


@given(st.lists(st.tuples(st.text(), METADATA), max_size=4))
def test_a_document_comes_back(rows):
    kept = [(text, {key: value for key, value in metadata.items() if key != "body"}) for text, metadata in rows]
    payloads = payloads_of([text for text, _ in kept], [metadata for _, metadata in kept], "body")
    back = [document_of("id", payload, "body") for payload in payloads]
    assert back == [Document(id="id", page_content=text, metadata=metadata) for text, metadata in kept]


def test_metadata_may_be_missing():
    assert payloads_of(["a", "b"], None, "t") == [{"t": "a"}, {"t": "b"}]
    assert payloads_of(["a", "b"], [None, {"x": 1}], "t") == [{"t": "a"}, {"x": 1, "t": "b"}]


@pytest.mark.parametrize(
    ("metadatas", "told"),
    [([{}], "1 metadatas are given for 2 texts"), ([{}, {"t": 1}], r"metadatas\[1\] has the key 't'"), ([{}] * 3, "3 metadatas")],
)
def test_bad_metadata_is_refused(metadatas, told):
    with pytest.raises(InvalidArgument, match=told):
        payloads_of(["a", "b"], metadatas, "t")


def test_ids_are_made_where_none_is_given():
    assert ids_of(None, 2, ["x", "y", "z"]) == ["x", "y"]
    assert ids_of(["a", None, "c", None], 4, ["x", "y"]) == ["a", "x", "c", "y"]
    with pytest.raises(InvalidArgument, match="1 ids are given for 2 texts"):
        ids_of(["a"], 2, [])


def test_points_of_others_can_be_read():
    assert document_of(7, {"x": 1}, "t") == Document(id="7", page_content="", metadata={"x": 1})
    assert document_of("a", None, "t") == Document(id="a", page_content="", metadata={})
    with pytest.raises(InvalidArgument, match="the point 'a' has 3 under 't', a text is expected"):
        document_of("a", {"t": 3}, "t")
