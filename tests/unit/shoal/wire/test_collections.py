from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.core.collection import CollectionSpec
from shoal.core.errors import Internal, InvalidArgument
from shoal.core.fusion_choice import Fusion, FusionKind, SearchDefaults
from shoal.core.limits import DEFAULT_LIMITS
from shoal.core.metric import Metric
from shoal.core.named_vectors import NamedVector
from shoal.core.replies import CollectionInfo, CollectionSummary
from shoal.core.requests import AlterCollection, CreateCollection, DescribeCollection, DropCollection, ListCollections, OptimizeCollection
from shoal.core.text_fields import AnalyzerKind, AnalyzerOptions, TextField
from shoal.v1 import collections_pb2
from shoal.wire import collections as wire
from tests.unit.shoal.wire.strategies import over_the_wire

texts = st.text(max_size=8)
counts = st.integers(0, 2**64 - 1)
text_fields = st.lists(
    st.builds(
        TextField,
        name=st.from_regex(r"[a-z]{1,3}(\.[a-z]{1,3})?", fullmatch=True),
        analyzer=st.builds(
            AnalyzerOptions,
            kind=st.sampled_from([AnalyzerKind.AUTO, AnalyzerKind.CJK]),
            stem=st.sampled_from(["", "none", "german"]),
            stop_words=st.lists(st.sampled_from(["a", "the", "\u7684"]), max_size=2).map(tuple),
            own_words=st.lists(st.just("node.js"), max_size=1).map(tuple),
            fold=st.booleans(),
        ),
    ),
    unique_by=lambda field: field.name,
    max_size=3,
).map(lambda fields: tuple(sorted(fields, key=lambda field: field.name)))
numbers = st.floats(0.001, 1e3)
defaults_of_searches = st.builds(
    SearchDefaults,
    fusion=st.builds(Fusion, kind=st.sampled_from(list(FusionKind)), c=numbers),
    dense_weight=st.floats(0, 1e6),
    text_weight=numbers,
)
searching = text_fields.flatmap(
    lambda fields: st.tuples(
        st.just(fields),
        defaults_of_searches.flatmap(
            lambda defaults: st.lists(numbers, min_size=len(fields), max_size=len(fields)).map(
                lambda boosts: dataclasses.replace(defaults, boosts=tuple(zip([each.name for each in fields], boosts, strict=True)))
            )
        ),
    )
)
parts = {
    "dim": st.integers(1, 65_536),
    "shards": st.integers(1, 1_024),
    "index": st.sampled_from(["auto", "flat", "hnsw"]),
    "recall": st.floats(0.001, 1.0),
    "replicas": st.integers(3, 7),
}
names = st.from_regex(r"[a-zA-Z0-9_-]{1,8}", fullmatch=True)
named_vectors = st.lists(
    st.builds(NamedVector, name=names, dim=st.integers(1, 1_000), metric=st.sampled_from(Metric), index=st.sampled_from(["auto", "flat"])),
    unique_by=lambda each: each.name,
    min_size=1,
    max_size=3,
).map(tuple)


def either(drawn: Any, vectors: tuple[NamedVector, ...]) -> Any:
    """Return a specification or a creation with named vectors, or as it is without them."""
    return dataclasses.replace(drawn, dim=0, vectors=vectors) if vectors else drawn


one_vector_specs = st.builds(
    lambda searching, **given: CollectionSpec(text=searching[0], defaults=searching[1], **given),
    searching=searching,
    name=names,
    metric=st.sampled_from(list(Metric)),
    min_isr_set=st.integers(0, 3),
    **parts,
)
specs = st.builds(either, one_vector_specs, st.just(()) | named_vectors)
one_vector_creations = st.builds(
    lambda searching, **given: CreateCollection(text=searching[0], defaults=searching[1], **given),
    searching=searching,
    name=names,
    metric=st.sampled_from([each.value for each in Metric]),
    min_isr=st.integers(0, 3),
    request_id=texts,
    **parts,
)
creations = st.builds(either, one_vector_creations, st.just(()) | named_vectors)
summaries = st.builds(CollectionSummary, id=texts, spec=specs, state=texts)
infos = st.builds(
    CollectionInfo,
    id=texts,
    spec=specs,
    state=texts,
    waiting=texts,
    **dict.fromkeys(("points", "growing_rows", "sealed_rows", "segments", "builds_pending", "bytes", "memory_bytes"), counts),
)


@settings(deadline=None)
@given(creations)
def test_a_creation_comes_back(request: CreateCollection) -> None:
    got = wire.create_from_message(over_the_wire(wire.create_to_message(request)))
    assert got == request
    spec = got.spec(DEFAULT_LIMITS)
    assert (spec.dim, spec.text, spec.defaults, spec.vectors) == (request.dim, request.text, request.defaults, request.vectors)


@settings(deadline=None)
@given(
    st.builds(
        AlterCollection,
        name=texts,
        index=st.none() | st.sampled_from(["", "flat"]),
        recall=st.none() | st.floats(0.0, 1.0),
        replicas=st.none() | st.integers(0, 9),
        min_isr=st.none() | st.integers(0, 9),
        text=st.none() | text_fields,
        defaults=st.none() | defaults_of_searches,
        indexes=st.none() | st.dictionaries(texts, texts, min_size=1, max_size=3),
    )
)
def test_an_alteration_comes_back_with_what_it_leaves_out(request: AlterCollection) -> None:
    assert wire.alter_from_message(over_the_wire(wire.alter_to_message(request))) == request


@given(st.builds(DropCollection, name=texts, collection_id=texts))
def test_a_drop_comes_back(request: DropCollection) -> None:
    assert wire.drop_from_message(over_the_wire(wire.drop_to_message(request))) == request


@settings(deadline=None)
@given(st.lists(summaries, max_size=3).map(tuple), infos, texts)
def test_what_is_told_of_collections_comes_back(listed: tuple[CollectionSummary, ...], info: CollectionInfo, created: str) -> None:
    assert wire.listed_from_message(over_the_wire(wire.listed_to_message(listed))) == listed
    assert wire.info_from_message(over_the_wire(wire.info_to_message(info))) == info
    assert wire.created_from_message(over_the_wire(wire.created_to_message(created))) == created


def test_questions_name_their_collection() -> None:
    assert wire.describe_to_message(DescribeCollection(name="c")).name == "c"
    assert wire.optimize_to_message(OptimizeCollection(name="c")).name == "c"
    assert wire.list_to_message(ListCollections()).ByteSize() == 0


def test_what_is_not_given_takes_its_default() -> None:
    asked = wire.create_from_message(collections_pb2.CreateCollectionRequest(spec=collections_pb2.CollectionSpec(name="a", dim=3)))
    assert asked == CreateCollection(name="a", dim=3)
    assert asked.spec(DEFAULT_LIMITS) == CollectionSpec(name="a", dim=3)


def test_a_named_vector_has_what_the_specification_says_of_all() -> None:
    vectors = [collections_pb2.NamedVector(name="a", dim=3), collections_pb2.NamedVector(name="b", dim=2, metric="l2", index="flat")]
    spec = collections_pb2.CollectionSpec(name="c", metric="ip", index="hnsw", vectors=vectors)
    asked = wire.create_from_message(collections_pb2.CreateCollectionRequest(spec=spec))
    assert asked.spec(DEFAULT_LIMITS).vectors == (
        NamedVector(name="a", dim=3, metric=Metric.IP, index="hnsw"),
        NamedVector(name="b", dim=2, metric=Metric.L2, index="flat"),
    )
    vectors[0].metric = "hamming"
    with pytest.raises(InvalidArgument, match="metric of vector 'a' is 'hamming'"):
        wire.create_from_message(collections_pb2.CreateCollectionRequest(spec=collections_pb2.CollectionSpec(name="c", vectors=vectors)))


@pytest.mark.parametrize("recall", [-0.1, 1.01, float("nan")])
def test_a_recall_that_cannot_be_is_refused(recall: float) -> None:
    spec = collections_pb2.CollectionSpec(name="a", dim=3, recall=recall)
    with pytest.raises(InvalidArgument, match="recall is"):
        wire.create_from_message(collections_pb2.CreateCollectionRequest(spec=spec)).spec(DEFAULT_LIMITS)


def test_a_metric_of_a_newer_server_is_named() -> None:
    summary = collections_pb2.CollectionSummary(id="c", spec=collections_pb2.CollectionSpec(name="a", dim=3, metric="hamming"))
    with pytest.raises(Internal, match="older than the server"):
        wire.listed_from_message(collections_pb2.ListCollectionsResponse(collections=[summary]))


def test_an_analyzer_or_a_fusion_that_is_unknown_is_refused_by_name() -> None:
    spec = collections_pb2.CollectionSpec(name="c", dim=2, text=[collections_pb2.TextField(name="body", kind="magic")])
    with pytest.raises(InvalidArgument, match=r"'body'.*'magic'.*auto, cjk, words, raw") as caught:
        wire.create_from_message(collections_pb2.CreateCollectionRequest(spec=spec))
    assert caught.value.details.field == "text"
    spec = collections_pb2.CollectionSpec(name="c", dim=2, defaults=collections_pb2.SearchDefaults(fusion="dbsf"))
    with pytest.raises(InvalidArgument, match=r"'dbsf'.*zscore, minmax, rrf"):
        wire.create_from_message(collections_pb2.CreateCollectionRequest(spec=spec))
    summary = collections_pb2.CollectionSummary(spec=spec)
    with pytest.raises(Internal, match="older than the server"):
        wire.listed_from_message(collections_pb2.ListCollectionsResponse(collections=[summary]))


def test_what_a_message_leaves_out_of_a_text_field_is_the_usual() -> None:
    spec = collections_pb2.CollectionSpec(name="c", dim=2, text=[collections_pb2.TextField(name="body")])
    request = wire.create_from_message(collections_pb2.CreateCollectionRequest(spec=spec))
    assert (request.text, request.defaults) == ((TextField(name="body"),), SearchDefaults())
