from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.core.index_spec import CODED_DIM, parse_index, vector_bytes
from shoal.core.metric import Metric
from shoal.core.sizing import merge_bytes
from shoal.shard_worker.logic.segments.segment_form import FLAT_ROWS, RETRAIN_RATIO, Saving, SealedForm, saving_for

DIM = 48
INDEXES = ["auto", "flat", "hnsw", "HNSW8,SQ8", "HNSW,PQ", "ivf", "IVF77", "IVF,SQ8", "IVF100,PQ", "IVF,RaBitQ", "PQ", "SQ8", "RaBitQ"]
SAVINGS: list[Saving] = ["none", "sq8", "ivf"]


def _form(text: str, *, saving: Saving = "none", flat_rows: int = FLAT_ROWS, dim: int = DIM, coded: bool = True) -> SealedForm:
    return SealedForm(dim=dim, metric=Metric.L2, spec=parse_index(text, dim), saving=saving, flat_rows=flat_rows, coded=coded)


@pytest.mark.parametrize(
    ("text", "rows", "wanted"),
    [
        ("auto", 3_999, "flat"),
        ("auto", 4_000, "HNSW16,Flat"),
        ("flat", 10**6, "flat"),
        ("hnsw", 1, "HNSW16,Flat"),
        ("ivf", 311, "flat"),
        ("ivf", 10_000, "IVF256,Flat"),
        ("IVF4096", 159_743, "flat"),
        ("IVF4096", 159_744, "IVF4096,Flat"),
        ("IVF,PQ", 60_000, "IVF980,PQ12"),
    ],
)
def test_what_is_wanted(text: str, rows: int, wanted: str) -> None:
    assert _form(text).wanted(rows).text == wanted


def test_an_automatic_index_gives_up_what_it_is_told_to() -> None:
    assert _form("auto", saving="sq8").wanted(10_000).text == "HNSW16,SQ8"
    assert _form("auto", saving="ivf").wanted(10_000).text == "IVF256,RaBitQ"
    assert _form("hnsw", saving="ivf").wanted(10_000).text == "HNSW16,Flat"


@pytest.mark.parametrize(
    ("text", "dim", "saving", "coded", "wanted", "dearest"),
    [
        ("auto", CODED_DIM - 1, "none", True, "HNSW16,Flat", "HNSW16,Flat"),
        ("auto", CODED_DIM, "none", True, "HNSW16,SQ8", "HNSW16,Flat"),
        ("auto", CODED_DIM, "none", False, "HNSW16,Flat", "HNSW16,Flat"),
        ("auto", CODED_DIM, "sq8", False, "HNSW16,SQ8", "HNSW16,SQ8"),
        ("auto", CODED_DIM, "ivf", True, "IVF256,RaBitQ", "IVF256,RaBitQ"),
        ("hnsw", CODED_DIM, "none", True, "HNSW16,Flat", "HNSW16,Flat"),
        ("HNSW16,SQ8", CODED_DIM, "none", True, "HNSW16,SQ8", "HNSW16,SQ8"),
    ],
)
def test_when_an_automatic_graph_tries_bytes(text: str, dim: int, saving: Saving, coded: bool, wanted: str, dearest: str) -> None:
    form = _form(text, dim=dim, saving=saving, coded=coded)
    assert form.wanted(10_000).text == wanted
    assert form.dearest(form.wanted(10_000)).text == dearest
    assert form.tries_codes == (wanted != dearest)
    assert form.wanted(100).text in ("flat", wanted)


def test_both_kinds_of_automatic_graph_stay_unless_bytes_were_found_to_fail() -> None:
    for coded in (True, False):
        form = _form("auto", dim=CODED_DIM, coded=coded)
        for label in ("HNSW16,Flat", "HNSW16,SQ8"):
            for live in (100, 10_000, 10**6):
                assert not form.outdated(label, live=live, trained_rows=0)
                assert form.outdated(label, live=live, trained_rows=0, unable=True) == (label == "HNSW16,SQ8")
    for other in (_form("auto"), _form("HNSW16,SQ8", dim=CODED_DIM), _form("auto", dim=CODED_DIM, saving="sq8")):
        assert not other.fails("HNSW16,SQ8", unable=True), "memory is short, or this index was named"
    assert _form("hnsw", dim=CODED_DIM).outdated("HNSW16,SQ8", live=10_000, trained_rows=0)


def test_only_named_indexes_count_the_rows_they_were_trained_for() -> None:
    for saving in SAVINGS[:2]:
        form = _form("auto", dim=CODED_DIM, saving=saving)
        assert form.trained_rows(form.wanted(10_000), 10_000) == 0
    named, lists = _form("HNSW16,SQ8", dim=CODED_DIM), _form("auto", saving="ivf")
    assert named.trained_rows(named.wanted(10_000), 10_000) == lists.trained_rows(lists.wanted(10_000), 10_000) == 10_000
    assert _form("hnsw").trained_rows(_form("hnsw").wanted(10_000), 10_000) == 0


def test_who_waits_says_why() -> None:
    assert _form("IVF4096").waiting_reason(1_000) == "IVF4096,Flat needs at least 159,744 rows, there are 1,000"
    assert _form("IVF4096").waiting_reason(200_000) == ""
    assert _form("auto").waiting_reason(10) == ""


@pytest.mark.parametrize(
    ("text", "label", "live", "trained", "outdated"),
    [
        ("hnsw", "HNSW16,Flat", 10, 0, False),
        ("hnsw", "HNSW32,Flat", 10_000, 0, True),
        ("flat", "HNSW16,Flat", 10_000, 0, True),
        ("auto", "flat", 3_999, 0, False),
        ("auto", "flat", 4_000, 0, True),
        ("auto", "HNSW16,Flat", 100, 0, False),
        ("auto", "HNSW16,SQ8", 10_000, 10_000, True),
        ("IVF4096", "flat", 159_743, 0, False),
        ("IVF4096", "flat", 159_744, 0, True),
        ("IVF4096", "IVF4096,Flat", 100, 160_000, False),
        ("IVF4096", "HNSW16,Flat", 100, 0, True),
        ("IVF4096", "IVF100,Flat", 200_000, 200_000, True),
        ("ivf", "IVF256,Flat", 40_000, 10_000, False),
        ("ivf", "IVF256,Flat", 40_001, 10_000, True),
        ("ivf", "IVF256,SQ8", 10_000, 10_000, True),
        ("ivf", "IVF256,Flat", 100, 10_000, False),
        ("IVF,PQ", "IVF256,PQ6", 10_000, 10_000, True),
        ("SQ8", "a kind of the future", 10_000, 10_000, True),
    ],
)
def test_what_is_out_of_date(text: str, label: str, live: int, trained: int, outdated: bool) -> None:
    assert _form(text).outdated(label, live=live, trained_rows=trained) is outdated


@given(
    st.sampled_from(INDEXES),
    st.sampled_from(SAVINGS),
    st.sampled_from([DIM, 512]),
    st.booleans(),
    st.integers(0, 10**6),
    st.integers(1, 10**6),
)
def test_what_was_just_made_is_not_out_of_date_nor_after_growing_a_little(
    text: str, saving: Saving, dim: int, coded: bool, rows: int, grown: int
) -> None:
    form = _form(text, saving=saving, dim=dim, coded=coded)
    made = form.wanted(rows)
    trained = rows if made.trained else 0
    assert not form.outdated(made.text, live=rows, trained_rows=trained)
    if made.trained and rows <= grown <= RETRAIN_RATIO * rows:
        assert not form.outdated(made.text, live=grown, trained_rows=trained)


@given(st.sampled_from(INDEXES), st.sampled_from(INDEXES), st.integers(0, 10**6))
def test_a_change_of_index_marks_segments_of_another_kind_as_outdated(before: str, after: str, rows: int) -> None:
    old, new = _form(before).wanted(rows), _form(after).wanted(rows)
    if _form(after).outdated(old.text, live=rows, trained_rows=0):
        assert old != new
    elif old != new:
        # An old segment may stay although the new index would be made in another way: its number of lists differs, or
        # the segment now has too few rows for this kind.
        assert parse_index(after, DIM).family in (old.family, parse_index("auto", DIM).family)


@given(st.integers(0, 10**7), st.integers(1, 4_096), st.integers(0, 10**11), st.sampled_from(SAVINGS))
def test_an_automatic_index_gives_up_what_it_must_and_takes_it_back_with_room(rows: int, dim: int, room: int, before: Saving) -> None:
    def least(count: int) -> int:
        specs = [parse_index(text, dim) for text in ("HNSW16,Flat", "HNSW16,SQ8", "IVF,RaBitQ")]
        needs = [vector_bytes(spec, dim, count) + merge_bytes(spec, dim, count) for spec in specs]
        return min((number for number, need in enumerate(needs) if need <= room), default=2)

    found, was = SAVINGS.index(saving_for(rows, dim, room, before)), SAVINGS.index(before)
    assert found >= least(rows * 3 // 2)
    assert found <= max(was, least(rows * 3 // 2))
    assert found >= was or least(rows * 3) < was
    settled = saving_for(rows, dim, room, SAVINGS[found])
    assert saving_for(rows, dim, room, settled) == settled, "it goes back and forth"


def test_the_automatic_index_by_room() -> None:
    assert saving_for(60_000, 784, 10**9, "none") == "none"
    assert saving_for(60_000, 784, 5 * 10**8, "none") == "sq8"
    assert saving_for(60_000, 784, 10**8, "none") == "ivf"
    assert saving_for(60_000, 784, 10**9, "sq8") == "sq8"
    assert saving_for(60_000, 784, 2 * 10**9, "sq8") == "none"
