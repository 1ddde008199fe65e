"""Which columns hold the named vectors of a collection."""

import numpy as np
import pytest

from shoal.cli.guessing import GivenColumns, column_of, guessed_columns
from shoal.core.errors import InvalidArgument

V4, V2 = [0.5, 1, 2, 3], [1, 2]
DIMS = {"image": 4, "text": 2}


def found(first, dims=DIMS, **given):
    columns, said = guessed_columns(GivenColumns(dims=dims, **given), first, "f")
    return columns, said


@pytest.mark.parametrize(
    ("first", "named"),
    [
        ({"id": 1, "image": V4, "text": V2, "payload": {}}, {"image": "image", "text": "text"}),
        ({"id": 1, "image": V4, "text": None}, {"image": "image", "text": "text"}),
        ({"id": 1, "text": V2, "year": 7}, {"image": "image", "text": "text"}),
        ({"id": 1, "img": V4, "words": V2}, {"image": "img", "text": "words"}),
        ({"id": 1, "img": np.zeros(4, np.float32), "words": "[1, 2]"}, {"image": "img", "text": "words"}),
        ({"id": 1, "text": V2, "Image_Emb": V4, "box": V4}, {"image": "Image_Emb", "text": "text"}),
        ({"id": 1, "text": V2, "box": [1, 2, 3], "image_name": "x"}, {"image": "image", "text": "text"}),
    ],
)
def test_a_vector_is_in_the_column_of_its_name_or_the_only_one_that_fits(first, named):
    columns, said = found(first)
    assert (columns.named, columns.id, columns.payload) == (named, "id", "payload")
    for name, column in named.items():
        assert (f"{column!r} as vector {name!r} (--vector-column" in said) == (column != name)


def test_columns_that_the_user_names_are_taken():
    columns, said = found({"pk": 1, "a": V4, "b": V4, "c": V2}, vectors={"image": "b"}, id="pk")
    assert (columns.named, said) == (
        {"image": "b", "text": "c"},
        "f: taking column 'c' as vector 'text' (--vector-column names another one)",
    )
    none, _ = found({"id": 1, "a": V4, "b": V4, "text": V2}, vectors={"image": ""})
    assert none.named == {"text": "text"}
    # The dimension of a vector that is to be created is not known.
    assert found({"id": 1, "a": V4}, {"x": 0}, vectors={"x": "a"})[0].named == {"x": "a"}


def test_vectors_named_like_ids_and_payloads_have_columns_of_their_own():
    assert [column_of(name) for name in ("id", "payload", "image", "vector")] == ["vector.id", "vector.payload", "image", "vector"]
    first = {"id": 1, "vector.id": V2, "vector.payload": V2, "vector": V2, "payload": None}
    columns, said = found(first, {"payload": 2, "id": 2, "vector": 2})
    assert columns.named == {"payload": "vector.payload", "id": "vector.id", "vector": "vector"}
    assert (columns.id, columns.payload, said) == ("id", "payload", "")


def test_vectors_of_one_dimension_are_told_apart_by_their_names_only():
    dims = {"title": 2, "body": 2}
    assert found({"id": 1, "emb_body": V2, "emb_title": V2}, dims)[0].named == {"title": "emb_title", "body": "emb_body"}
    with pytest.raises(InvalidArgument, match="f: 'a', 'b' may hold the vector 'title': --vector-column title=COLUMN names"):
        found({"id": 1, "a": V2, "b": V2}, dims)
    with pytest.raises(InvalidArgument, match="'a' may hold the vector 'title'"):
        found({"id": 1, "a": V2}, dims)


@pytest.mark.parametrize(
    ("first", "given", "words"),
    [
        ({"id": 1, "a": V4, "b": V4, "text": V2}, {}, "'a', 'b' may hold the vector 'image'"),
        ({"id": 1, "a": V4, "text": V2}, {"vectors": {"pic": "a"}}, "names the vector 'pic', the collection has image, text"),
        ({"id": 1, "a": V4}, {"vectors": {"image": "a", "text": "a"}}, "the column 'a' cannot hold two things"),
        ({"id": 1, "text": V4}, {"vectors": {"image": "text"}}, "the column 'text' cannot hold two things"),
        ({"id": 1, "image": V4}, {"id": "image"}, "the column 'image' cannot hold two things"),
        ({"id": 1, "image": V4}, {"payload": "image"}, "the column 'image' cannot hold two things"),
        ({"id": 1, "image": V4}, {"vectors": {"text": "emb"}}, "f has no column 'emb' for the vector 'text' in its first row"),
        ({"id": 1, "year": 7}, {}, "f has no column for any of the vectors image, text \\(it has: id, year\\)"),
        ({"id": 1, "vector": [1, 2, 3]}, {}, "f has no column for any"),
    ],
)
def test_what_is_unclear_is_an_error_that_says_what_to_say(first, given, words):
    with pytest.raises(InvalidArgument, match=words):
        found(first, **given)


def test_a_file_without_rows_says_nothing_about_columns():
    assert found({})[0].named == {"image": "image", "text": "text"}
