from __future__ import annotations

from collections import defaultdict
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.core.errors import Internal
from shoal.shard_worker.text.indexing import NO_TEXT, IndexedText, table_of
from shoal.shard_worker.text.inspection import inspect_texts
from shoal.shard_worker.text.part import FieldPart, TextPart
from shoal.shard_worker.text.table import MOST_COUNT, MOST_POSITION
from tests.unit.shard_worker.text.letters import content, text
from tests.unit.shard_worker.text.worlds import random_text


@given(st.integers(0, 2**32))
def test_a_table_holds_each_word_of_each_row_with_its_positions(seed: int) -> None:
    random = Random(seed)
    texts = [random_text(random) for _ in range(random.randint(0, 12))]
    table = table_of(texts)
    expected: dict[str, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    for row, each in enumerate(texts):
        for word, position in zip(each.words, each.positions, strict=True):
            expected[word][row].append(position)
    found: dict[str, dict[int, list[int]]] = defaultdict(dict)
    for code, word in enumerate(table.words):
        at = int(table.position_starts[code])
        for row, count in zip(table.postings(code).rows.tolist(), table.postings(code).counts.tolist(), strict=True):
            found[word.decode("utf-8", "surrogatepass")][row] = table.positions[at : at + count].tolist()
            at += count
    assert found == {word: {row: sorted(places) for row, places in rows.items()} for word, rows in expected.items()}
    assert table.lengths.tolist() == [len(each.words) for each in texts]
    inspect_texts(TextPart(rows=len(texts), fields={"body": FieldPart([table])}, fingerprint=""))


def test_bounds_of_a_word_are_those_of_its_rows() -> None:
    table = table_of([text("a b a"), NO_TEXT, text("a")])
    assert content(table) == {
        "words": [b"a", b"b"],
        "lengths": [3, 0, 1],
        "starts": [0, 2, 3],
        "rows": [0, 2, 0],
        "counts": [2, 1, 1],
        "position_starts": [0, 3, 4],
        "positions": [0, 2, 0, 1],
        "most": [2, 1],
        "shortest": [1, 3],
        "sums": [4, 2],
    }


def test_beyond_the_largest_count_a_word_counts_no_more() -> None:
    often = MOST_COUNT + 3
    table = table_of([text("b"), IndexedText(["a"] * often + ["b"], range(often + 1)), text("a")])
    assert table.postings(0).counts.tolist() == [MOST_COUNT, 1]
    assert table.lengths.tolist() == [1, often + 1, 1]
    assert table.positions.tolist() == [*range(MOST_COUNT), 0, 0, often]
    inspect_texts(TextPart(rows=3, fields={"body": FieldPart([table])}, fingerprint=""))


def test_positions_take_four_bytes_only_where_they_must() -> None:
    assert table_of([IndexedText(["a"], [2**16 - 1])]).positions.dtype == np.uint16
    assert table_of([IndexedText(["a"], [2**16])]).positions.dtype == np.uint32


def test_more_words_than_sixteen_bits_count() -> None:
    words = [f"{number:05}" for number in range(70_000)]
    table = table_of([IndexedText(words, range(len(words))), IndexedText(words[::-1], range(len(words)))])
    assert len(table.words) == len(words)
    assert table.postings(69_999).rows.tolist() == [0, 1]
    assert table.positions[-2:].tolist() == [69_999, 0]


@pytest.mark.parametrize("positions", [[0], [0, -1], [0, MOST_POSITION + 1]])
def test_words_without_fit_positions_are_refused(positions: list[int]) -> None:
    with pytest.raises(Internal, match="position"):
        table_of([text("a"), IndexedText(["a", "b"], positions)])
