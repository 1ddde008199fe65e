from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.core.errors import InvalidArgument
from shoal.core.index_spec import (
    AUTO,
    FLAT,
    Codec,
    IndexFamily,
    IndexSpec,
    build_bytes,
    default_pq_m,
    index_from_input,
    parse_index,
    vector_bytes,
    waiting_reason,
)

DIM = 48
HNSW, IVF, CODES = IndexFamily.HNSW, IndexFamily.IVF, IndexFamily.CODES


@pytest.mark.parametrize(
    ("text", "canonical", "spec"),
    [
        ("auto", "auto", AUTO),
        ("AUTO", "auto", AUTO),
        ("Flat", "flat", FLAT),
        ("hnsw", "hnsw", IndexSpec(family=HNSW, m=16)),
        ("HNSW", "hnsw", IndexSpec(family=HNSW, m=16)),
        ("HNSW32", "HNSW32,Flat", IndexSpec(family=HNSW, m=32)),
        (" hnsw32 , flat ", "HNSW32,Flat", IndexSpec(family=HNSW, m=32)),
        ("HNSW,SQ8", "HNSW16,SQ8", IndexSpec(family=HNSW, m=16, codec=Codec.SQ8)),
        ("HNSW8,PQ12", "HNSW8,PQ12", IndexSpec(family=HNSW, m=8, codec=Codec.PQ, pq_m=12, pq_bits=8)),
        ("ivf", "ivf", IndexSpec(family=IVF)),
        ("IVF,Flat", "IVF,Flat", IndexSpec(family=IVF)),
        ("IVF100", "IVF100,Flat", IndexSpec(family=IVF, nlist=100)),
        ("ivf100,sq8", "IVF100,SQ8", IndexSpec(family=IVF, nlist=100, codec=Codec.SQ8)),
        ("IVF,PQ", "IVF,PQ12", IndexSpec(family=IVF, codec=Codec.PQ, pq_m=12, pq_bits=8)),
        ("IVF7,PQ6x4", "IVF7,PQ6x4", IndexSpec(family=IVF, nlist=7, codec=Codec.PQ, pq_m=6, pq_bits=4)),
        ("IVF,PQ6x8", "IVF,PQ6", IndexSpec(family=IVF, codec=Codec.PQ, pq_m=6, pq_bits=8)),
        ("IVF,RaBitQ", "IVF,RaBitQ", IndexSpec(family=IVF, codec=Codec.RABITQ)),
        ("rabitq", "RaBitQ", IndexSpec(family=CODES, codec=Codec.RABITQ)),
        ("SQ8", "SQ8", IndexSpec(family=CODES, codec=Codec.SQ8)),
        ("PQ", "PQ12", IndexSpec(family=CODES, codec=Codec.PQ, pq_m=12, pq_bits=8)),
    ],
)
def test_what_is_understood(text: str, canonical: str, spec: IndexSpec) -> None:
    assert parse_index(text, DIM) == spec
    assert index_from_input(text, dim=DIM) == canonical
    assert parse_index(canonical, DIM) == spec
    assert index_from_input(canonical, dim=DIM) == canonical


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "'' is not a supported component"),
        ("annoy", "'annoy' is not a supported component"),
        ("HNSW16,", "'' is not a supported component"),
        ("HNSW1", "links of HNSW are 1, they must be from 2 to 512"),
        ("HNSW513,Flat", "links of HNSW are 513"),
        ("HNSW16,RaBitQ", "'RaBitQ' cannot follow 'HNSW16', allowed are Flat, SQ8, PQ"),
        ("HNSW16x4", "only PQ takes x bits"),
        ("HNSW16,HNSW16", "'HNSW16' cannot follow 'HNSW16'"),
        ("IVF0,Flat", "lists of IVF are 0, they must be from 1 to 16,384"),
        ("IVF16385", "lists of IVF are 16385"),
        ("IVF-1,Flat", "'IVF-1' is not a supported component"),
        ("IVF100_HNSW32,Flat", "'IVF100_HNSW32' is not a supported component"),
        ("IVF100,PQ7", "PQ cannot cut dimension 48 into 7 equal sub-vectors, allowed are 1, 2, 3, 4, 6, 8, 12, 16, 24, 48"),
        ("PQ96", "PQ cannot cut dimension 48 into 96"),
        ("PQ0", "PQ cannot cut dimension 48 into 0"),
        ("PQ12x3", "bits of PQ are 3, they must be from 4 to 8"),
        ("PQ12x16", "bits of PQ are 16"),
        ("PQ12x4fs", "'PQ12x4fs' is not a supported component"),
        ("SQ4", "'SQ4' is not a supported component"),
        ("SQ8,Flat", "'Flat' cannot follow 'SQ8'"),
        ("RaBitQ4", "RaBitQ takes no number"),
        ("Flat2", "Flat takes no number"),
        ("OPQ16,IVF100,PQ16", "has 3 components, at most 2"),
        ("PCA24,Flat", "'PCA24' is not a supported component"),
        ("auto,Flat", "'auto' is not a supported component"),
        ("IVF9999999999", "is not a supported component"),
    ],
)
def test_what_cannot_work_is_refused_with_what_can(text: str, said: str) -> None:
    with pytest.raises(InvalidArgument, match=r"allowed|must be|PQ takes") as raised:
        index_from_input(text, dim=DIM)
    assert said in raised.value.message
    assert raised.value.details.field == "index"


@pytest.mark.parametrize("text", [None, 3, b"hnsw"])
def test_an_index_is_a_string(text: object) -> None:
    with pytest.raises(InvalidArgument, match="must be a string"):
        index_from_input(text, dim=DIM)  # type: ignore[arg-type]


@given(st.text(alphabet="HNSWIVFPQRaBitlx,0123456789 ", max_size=16), st.integers(1, 2_000))
def test_any_text_is_understood_the_same_twice_or_refused(text: str, dim: int) -> None:
    try:
        canonical = index_from_input(text, dim=dim)
    except InvalidArgument:
        return
    assert index_from_input(canonical, dim=dim) == canonical
    assert parse_index(canonical, dim) == parse_index(text, dim)


@given(st.integers(1, 65_536))
def test_the_sub_vectors_chosen_divide_the_dimension(dim: int) -> None:
    chosen, least = default_pq_m(dim), 8 if dim >= 64 else 4
    fitting = [count for count in range(1, dim // least + 1) if dim % count == 0]
    assert chosen == max(fitting, default=1)


def test_lists_follow_the_rows() -> None:
    spec = parse_index("ivf", DIM)
    assert spec.for_rows(60_000).nlist == round(4 * math.sqrt(60_000))
    assert spec.for_rows(1_000).nlist == 1_000 // 39
    assert spec.for_rows(1).nlist == 1
    assert spec.for_rows(10**10).nlist == 16_384
    assert parse_index("IVF7", DIM).for_rows(10**6).nlist == 7
    assert parse_index("hnsw", DIM).for_rows(10**6).nlist == 0


@pytest.mark.parametrize(
    ("text", "least"),
    [
        ("hnsw", 0),
        ("flat", 0),
        ("IVF4096", 159_744),
        ("ivf", 312),
        ("IVF10,PQ", 9_984),
        ("IVF1000,PQ12x4", 39_000),
        ("PQ12x4", 624),
        ("SQ8", 256),
    ],
)
def test_too_few_rows_are_told(text: str, least: int) -> None:
    spec = parse_index(text, DIM)
    assert spec.min_rows == least
    assert waiting_reason(spec, least) == ""
    if least:
        assert waiting_reason(spec, least - 1) == f"{spec.text} needs at least {least:,} rows, there are {least - 1:,}"


_SPECS = st.sampled_from(
    ["flat", "hnsw", "HNSW64", "HNSW,SQ8", "HNSW,PQ", "ivf", "IVF77", "IVF,SQ8", "IVF,PQ", "IVF,PQx5", "IVF,RaBitQ", "PQ", "SQ8", "RaBitQ"]
)


@given(_SPECS, st.integers(1, 2_048), st.integers(1, 10**7))
def test_a_sample_is_bounded_and_large_enough_to_train_on(text: str, dim: int, rows: int) -> None:
    spec = parse_index(text, dim).for_rows(rows)
    sample = spec.training_rows(rows, dim)
    assert sample <= min(rows, 100_000)
    assert bool(sample) == spec.trained
    if not waiting_reason(spec, rows):
        assert sample >= spec.nlist
        assert spec.codec is not Codec.PQ or sample >= 1 << spec.pq_bits
    assert 4 * sample * dim <= 256 * 1024 * 1024 or sample == max(spec.nlist, 1 << spec.pq_bits)


@given(_SPECS, st.integers(1, 2_048), st.integers(1, 10**6), st.integers(0, 10**6))
def test_more_rows_take_more_memory_and_building_takes_more_than_holding(text: str, dim: int, rows: int, more: int) -> None:
    spec = parse_index(text, dim)
    assert vector_bytes(spec, dim, rows) <= vector_bytes(spec, dim, rows + more)
    assert vector_bytes(spec, dim, rows) <= build_bytes(spec, dim, rows)


def test_what_quantising_saves() -> None:
    graph, byte, bit = (vector_bytes(parse_index(text, 784), 784, 1_000_000) for text in ("hnsw", "HNSW,SQ8", "IVF,RaBitQ"))
    assert graph == pytest.approx(1_000_000 * (784 * 4 + 144), rel=0.01)
    assert byte < 0.3 * graph
    assert bit < 0.06 * graph
