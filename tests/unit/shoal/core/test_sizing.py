from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.core.errors import InvalidArgument
from shoal.core.index_spec import CODED_DIM, parse_index
from shoal.core.named_vectors import NamedVector
from shoal.core.sizing import (
    INDEXED_TEXT_RATIO,
    MIB,
    REPLICA_BASE_BYTES,
    TEXT_BUILD_BYTES,
    built_spec,
    id_text_bytes,
    merge_bytes,
    size_of,
    store_bytes,
    store_cache_bytes,
)

# Bytes of store.db for each row, measured with 5,000 rows. Key: dimension, bytes of the payload, bytes of a string id
# (0: integer ids).
MEASURED = {
    (32, 0, 0): 193.3,
    (128, 0, 0): 580.0,
    (128, 100, 0): 688.1,
    (128, 0, 24): 622.6,
    (384, 0, 0): 1671.2,
    (784, 0, 0): 3309.6,
    (768, 1000, 0): 5495.2,
    (900, 0, 0): 4128.8,
    (1536, 500, 36): 8267.4,
    (2000, 0, 0): 8231.3,
}


@pytest.mark.parametrize(("row", "measured"), MEASURED.items())
def test_the_store_takes_what_was_measured(row: tuple[int, int, int], measured: float) -> None:
    assert store_bytes(5_000, *row) / 5_000 == pytest.approx(measured, rel=0.1)


def test_a_collection_is_its_replicas() -> None:
    one = size_of(points=100_000, dim=64)
    four = size_of(points=400_000, dim=64, shards=4)
    assert four.replica == one.replica
    assert (four.replicas, four.memory, four.disk) == (4, 4 * one.memory, 4 * one.disk)
    copies = size_of(points=400_000, dim=64, shards=4, replicas=3)
    assert (copies.replicas, copies.memory) == (12, 3 * four.memory)


def test_the_parts_of_a_graph_of_a_million() -> None:
    replica = size_of(points=1_000_000, dim=768, index="hnsw", payload_bytes=100).replica
    assert replica.index == pytest.approx(1_000_000 * (4 * 768 + 4 * 33 + 12), rel=0.01)
    assert replica.payloads == 100_000_000
    assert replica.ids == 0
    assert replica.memory == replica.index + replica.tables + replica.payloads + replica.growing + replica.base
    assert replica.build > 2 * replica.index
    assert replica.disk == replica.store + replica.log + replica.segments


def test_codes_take_less_memory_and_their_vectors_lie_on_disk() -> None:
    plain, coded = (size_of(points=1_000_000, dim=128, index=index).replica for index in ("HNSW16,Flat", "HNSW16,SQ8"))
    assert coded.index < 0.5 * plain.index
    assert coded.segments > 1_000_000 * (4 * 128 + 128)


def test_an_automatic_graph_of_many_dimensions_has_codes_beside_its_vectors() -> None:
    rows = 1_000_000
    for dim, codes in ((CODED_DIM, rows * CODED_DIM), (CODED_DIM - 1, 0)):
        auto, plain = (size_of(points=rows, dim=dim, index=index).replica for index in ("auto", "hnsw"))
        assert (auto.index - plain.index, auto.segments - plain.segments) == (codes, codes)
        assert auto.build == plain.build
    assert size_of(points=100, dim=CODED_DIM).replica.index == size_of(points=100, dim=CODED_DIM, index="flat").replica.index


def test_auto_is_exact_when_small_and_a_graph_when_large_and_too_few_rows_are_exact() -> None:
    assert built_spec(parse_index("auto", 8), 100).text == "flat"
    assert built_spec(parse_index("auto", 8), 100_000).text == "HNSW16,Flat"
    assert built_spec(parse_index("IVF100", 8), 100).text == "flat"
    assert built_spec(parse_index("IVF100", 8), 100_000).text == "IVF100,Flat"


def test_string_ids_take_whole_pieces_of_memory() -> None:
    assert [id_text_bytes(size) for size in (0, 1, 15, 16, 36)] == [0, 64, 64, 80, 96]


def test_caches_grow_with_the_store_to_their_bounds() -> None:
    assert store_cache_bytes(0) == 0
    assert store_cache_bytes(MIB) == 5 * MIB
    assert store_cache_bytes(1 << 40) == 24 * MIB


def test_nothing_takes_the_base() -> None:
    replica = size_of(points=0, dim=16).replica
    assert REPLICA_BASE_BYTES < replica.memory < REPLICA_BASE_BYTES + 2 * MIB


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"points": -1}, "points"),
        ({"dim": 0}, "dim"),
        ({"shards": 0}, "shards"),
        ({"replicas": 0}, "replicas"),
        ({"payload_bytes": -1.0}, "payload_bytes"),
        ({"id_bytes": float("nan")}, "id_bytes"),
        ({"points": 10**12 + 1}, "points"),
        ({"points": 10**400}, "points"),
        ({"dim": 65_537}, "dim"),
        ({"shards": 1_025}, "shards"),
        ({"replicas": 8}, "replicas"),
        ({"payload_bytes": float("inf")}, "payload_bytes"),
        ({"payload_bytes": 1e308}, "payload_bytes"),
        ({"id_bytes": 513}, "id_bytes"),
        ({"index": "magic"}, "index"),
        ({"index": "PQ3"}, "index"),
    ],
)
def test_impossible_sizes_are_refused_by_name(changes: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        size_of(**{"points": 1, "dim": 8, **changes})  # type: ignore[arg-type]
    assert caught.value.details.field == field


def test_the_error_of_a_size_names_the_bounds_and_is_short() -> None:
    with pytest.raises(InvalidArgument, match=r"^points is 1000+\.\.\., it must be from 0 to 1000000000000$") as caught:
        size_of(points=10**400, dim=8)
    assert len(caught.value.message) < 100


def test_the_largest_sizes_are_told() -> None:
    most = size_of(points=10**12, dim=65_536, payload_bytes=1024 * 1024, id_bytes=512, shards=1, replicas=7)
    assert most.memory > 7 * 10**12 * 4 * 65_536
    assert size_of(points=10**12, dim=65_536, shards=1_024, replicas=7, index="flat").replicas == 7_168


@given(
    points=st.integers(1, 10**8),
    more=st.integers(0, 10**8),
    dim=st.integers(1, 4096),
    payload=st.integers(0, 100_000),
    index=st.sampled_from(["flat", "HNSW16,Flat", "HNSW16,SQ8", "SQ8"]),
)
def test_more_points_never_take_less(points: int, more: int, dim: int, payload: int, index: str) -> None:
    few, many = (size_of(points=count, dim=dim, index=index, payload_bytes=payload).replica for count in (points, points + more))
    if built_spec(parse_index(index, dim), points) == built_spec(parse_index(index, dim), points + more):
        assert few.memory <= many.memory
        assert few.build <= many.build
    assert few.store <= many.store


def test_a_merge_needs_the_index_twice_and_its_tables() -> None:
    spec = parse_index("HNSW16,Flat", 100)
    index = size_of(points=50_000, dim=100, index="hnsw").replica.index
    assert merge_bytes(spec, 100, 50_000) == 2 * index + 50_000 * 28 + 16 * MIB
    assert merge_bytes(spec, 100, 50_000, 10) == merge_bytes(spec, 100, 50_000) + 50_000 * 20


def test_texts_take_memory_while_they_are_not_sealed_and_in_builds_and_disk() -> None:
    bare, texts = (size_of(points=100_000, dim=8, payload_bytes=500, text_bytes=size).replica for size in (0, 400))
    assert texts.growing - bare.growing == round(10_000 * 400 * INDEXED_TEXT_RATIO)
    assert texts.segments - bare.segments == round(100_000 * 400 * INDEXED_TEXT_RATIO)
    assert texts.build - bare.build == TEXT_BUILD_BYTES
    assert (texts.index, texts.payloads, texts.store) == (bare.index, bare.payloads, bare.store)
    with pytest.raises(InvalidArgument, match="text_bytes"):
        size_of(points=1, dim=8, text_bytes=-1)


def test_named_vectors_take_an_index_each_and_one_row_in_the_store() -> None:
    vectors = (NamedVector(name="image", dim=512), NamedVector(name="text", dim=96, index="hnsw"))
    both = size_of(points=100_000, vectors=vectors, payload_bytes=100, id_bytes=20).replica
    image, text = (size_of(points=100_000, dim=each.dim, index=each.index, payload_bytes=100, id_bytes=20).replica for each in vectors)
    ids = size_of(points=100_000, dim=1, index="flat", payload_bytes=100, id_bytes=20).replica
    for part in ("index", "tables", "ids", "payloads", "growing", "segments"):
        assert getattr(both, part) == getattr(image, part) + getattr(text, part) + getattr(ids, part), part
    assert (both.build, both.merge) == (image.build, image.merge)
    assert both.store == store_bytes(100_000, 1 + 512 + 96, 100, 20)
    assert both.index == pytest.approx(100_000 * (4 + 512 * 5 + 96 * 4 + 2 * (4 * 33 + 12)), rel=0.05)


def test_texts_are_indexed_once_beside_named_vectors() -> None:
    vectors = (NamedVector(name="image", dim=8), NamedVector(name="text", dim=8))
    without, texts = (size_of(points=50_000, vectors=vectors, payload_bytes=300, text_bytes=each).replica for each in (0, 200))
    assert texts.segments - without.segments == 50_000 * 200 * INDEXED_TEXT_RATIO
    assert texts.growing - without.growing == 10_000 * 200 * INDEXED_TEXT_RATIO
