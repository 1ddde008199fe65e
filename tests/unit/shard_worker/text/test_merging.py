from __future__ import annotations

from itertools import pairwise
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.core.errors import Internal
from shoal.shard_worker.text.indexing import IndexedText, table_of
from shoal.shard_worker.text.merging import MergeSource, TableMerge, merged_table
from shoal.shard_worker.text.word_ranges import cuts_of, range_bytes
from tests.unit.shard_worker.text.letters import content, text
from tests.unit.shard_worker.text.worlds import random_text


def drawn(random: Random) -> tuple[list[MergeSource], list[IndexedText]]:
    """Return tables of which some rows are kept, and the texts of these rows, in order."""
    sources, kept = [], []
    for _ in range(random.randint(0, 4)):
        texts = [random_text(random) for _ in range(random.randint(0, 8))]
        rows = np.flatnonzero([random.random() < random.choice((0.5, 1.0)) for _ in texts])
        sources.append(MergeSource.some(table_of(texts), len(kept), rows))
        kept += [texts[row] for row in rows.tolist()]
    return sources, kept


@given(st.integers(0, 2**32))
def test_a_merge_is_the_index_of_the_rows_that_are_kept(seed: int) -> None:
    sources, kept = drawn(Random(seed))
    merged = content(merged_table(sources))
    expected = content(table_of(kept))
    assert merged == expected


@given(seed=st.integers(0, 2**32), most_bytes=st.sampled_from((1, 300, 1_000, 5_000, 2**30)))
def test_ranges_of_words_make_up_the_same(seed: int, most_bytes: int) -> None:
    sources, kept = drawn(Random(seed))
    merge = TableMerge(sources, most_bytes)
    expected = table_of(kept)
    pieces = list(merge.postings())
    assert [word for piece in pieces for word in piece.words] == list(expected.words)
    for name in ("rows", "counts", "positions", "most", "shortest"):
        assert [value for piece in pieces for value in getattr(piece, name).tolist()] == getattr(expected, name).tolist(), name
    assert [count for piece in pieces for count in piece.row_counts.tolist()] == np.diff(expected.starts).tolist()
    assert [count for piece in pieces for count in piece.token_counts.tolist()] == np.diff(expected.position_starts).tolist()
    size = merge.size()
    assert (size.rows, size.words, size.postings, size.positions) == (
        len(kept),
        len(expected.words),
        len(expected.rows),
        len(expected.positions),
    )
    assert (size.word_bytes, size.tokens, size.filled) == (len(expected.words.blob), expected.tokens, expected.filled)


@given(seed=st.integers(0, 2**32), most_bytes=st.sampled_from((1, 300, 1_000, 5_000)))
def test_a_range_fits_or_has_a_single_word(seed: int, most_bytes: int) -> None:
    random = Random(seed)
    tables = [table_of([random_text(random) for _ in range(random.randint(0, 30))]) for _ in range(random.randint(1, 4))]
    cuts = cuts_of(tables, most_bytes)
    assert cuts[0] == tuple(0 for _ in tables)
    assert cuts[-1] == tuple(len(table.words) for table in tables)
    for start, end in pairwise(cuts):
        words = {word for table, first, last in zip(tables, start, end, strict=True) for word in table.words.between(first, last)}
        assert range_bytes(tables, start, end) <= most_bytes or len(words) == 1


def test_the_arrays_of_one_step_stay_below_the_bound() -> None:
    """Of a word in all rows beside a hundred rare ones, from several sources."""
    texts = [text(f"all w{row % 100}") for row in range(20_000)]
    sources = [MergeSource.whole(table_of(texts), first) for first in range(0, 60_000, 20_000)]
    most_bytes = 400_000
    pieces = list(TableMerge(sources, most_bytes).postings())
    taken = [sum(array.nbytes for array in piece if isinstance(array, np.ndarray)) for piece in pieces]
    assert len(pieces) > 8
    assert max(taken) <= most_bytes / 4
    assert sum(len(piece.rows) for piece in pieces) == 120_000


@pytest.mark.parametrize("rows", [[1, 0], [0, 0], [0, 3], [-1, 0]])
def test_rows_that_do_not_ascend_are_refused(rows: list[int]) -> None:
    with pytest.raises(Internal, match="ascending"):
        MergeSource.some(table_of([text("a")] * 3), 0, np.array(rows))
