import pytest
import typer

from shoal.cli.vector_options import cells_of, indexes_of, named_vectors_of, names_of_vectors, pairs_of, vector_from, vectors_in_words
from shoal.core.collection import CollectionSpec
from shoal.core.errors import InvalidArgument
from shoal.core.metric import Metric
from shoal.core.named_vectors import NamedVector


def test_vectors_have_a_dim_and_may_have_a_metric_and_an_index_in_any_order():
    given = ["image=512", "text=384,cosine,hnsw", "a=8,flat", "b=128,IVF1024,PQ64,ip", " c = 4 , l2 "]
    assert named_vectors_of(given) == {
        "image": {"dim": 512},
        "text": {"dim": 384, "metric": "cosine", "index": "hnsw"},
        "a": {"dim": 8, "index": "flat"},
        "b": {"dim": 128, "metric": "ip", "index": "IVF1024,PQ64"},
        "c": {"dim": 4, "metric": "l2"},
    }
    assert named_vectors_of(None) == {}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["image"], "--vector is 'image': write NAME=DIM"),
        (["=4"], "is '=4'"),
        (["image="], "has '' as its dimension"),
        (["image=x"], "has 'x' as its dimension"),
        (["image=-4"], "has '-4' as its dimension"),
        (["image=4.5"], "has '4.5' as its dimension"),
        (["image=cosine,4"], "has 'cosine' as its dimension"),
        (["image=4,"], "has nothing behind a comma"),
        (["image=4,hsnw"], "--vector 'image=4,hsnw': index 'hsnw': .*, and it is no metric .l2, ip, cosine."),
        (["image=4,IVF4,PQ3"], "--vector 'image=4,IVF4,PQ3': index 'IVF4,PQ3': PQ cannot cut dimension 4 into 3"),
        (["image=4,ip,cosine"], "has several metrics, ip and cosine"),
        (["image=4", "image=5"], "names the vector 'image' again"),
    ],
)
def test_what_cannot_be_read_is_refused_with_an_example(given, words):
    with pytest.raises(InvalidArgument, match=words) as refused:
        named_vectors_of(given)
    assert refused.value.details.field == "vector"


def test_an_index_is_of_the_collection_or_of_named_vectors():
    assert indexes_of(None) is None
    assert indexes_of(["IVF1024,PQ64"]) == "IVF1024,PQ64"
    assert indexes_of(["image=hnsw"]) == {"image": "hnsw"}
    assert indexes_of(["image=hnsw", "text=IVF16,Flat"]) == {"image": "hnsw", "text": "IVF16,Flat"}
    for given, words in ((["hnsw", "flat"], "--index is 'hnsw'"), (["a=hnsw", "a=flat"], "names 'a' twice"), (["=flat"], "is '=flat'")):
        with pytest.raises(InvalidArgument, match=words):
            indexes_of(given)


def test_pairs_keep_their_order_and_an_empty_value():
    assert list(pairs_of("vector-column", ["b=x", "a="], "NAME=COLUMN").items()) == [("b", "x"), ("a", "")]


SPEC = CollectionSpec(
    name="c",
    dim=0,
    vectors=(NamedVector(name="image", dim=512), NamedVector(name="text", dim=384, metric=Metric.COSINE)),
)


def test_a_table_tells_a_metric_and_an_index_once_if_all_have_the_same():
    assert cells_of(CollectionSpec(name="c", dim=4, index="flat")) == ("4", "l2", "flat")
    assert cells_of(SPEC) == ("image=512 text=384", "image=l2 text=cosine", "auto")
    assert vectors_in_words(SPEC) == "image=512,l2,auto  text=384,cosine,auto"
    assert vectors_in_words(CollectionSpec(name="c", dim=4)) == ""


def test_words_of_vectors_are_read_back_as_they_were():
    read = named_vectors_of(vectors_in_words(SPEC).split())
    assert read == {each.name: {"dim": each.dim, "metric": each.metric.value, "index": each.index} for each in SPEC.vectors}


def test_each_vector_that_is_given_has_a_name_or_there_is_one_without():
    assert names_of_vectors(None, 1) == [None]
    assert names_of_vectors(None, 0) == []
    assert names_of_vectors(["a", "b"], 2) == ["a", "b"]
    for using, count in ((["a"], 2), (None, 2), (["a", "b"], 1), (["a"], 0)):
        with pytest.raises(typer.BadParameter, match="--using names"):
            names_of_vectors(using, count)


@pytest.mark.parametrize(("text", "words"), [("[1", "--vector is not JSON"), ("{}", "must be a list of numbers, not dict"), ("7", "int")])
def test_a_vector_is_a_json_list(text, words):
    assert vector_from("[0.5, 1]") == [0.5, 1]
    with pytest.raises(InvalidArgument, match=words):
        vector_from(text)
