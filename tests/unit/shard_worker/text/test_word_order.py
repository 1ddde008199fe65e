from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from shoal.shard_worker.text.vocabulary import Vocabulary
from shoal.shard_worker.text.word_order import chosen, stable_order, united

words = st.one_of(st.binary(max_size=24), st.text(st.sampled_from("ab\0数据\U0001f41f"), max_size=12).map(str.encode))
"""Among them words that begin with the same seven, eight and fourteen bytes, and that differ by zeros at the end."""


@given(st.lists(st.lists(words, max_size=12), max_size=5))
def test_different_words_of_lists_ascend(lists: list[list[bytes]]) -> None:
    found, ranks = united([Vocabulary.of(each) for each in lists])
    assert list(found) == sorted({word for each in lists for word in each})
    assert [[found[rank] for rank in each] for each in ranks if len(each)] == [each for each in lists if each]


@given(st.lists(words, min_size=1, max_size=12), st.data())
def test_words_are_chosen_by_code(listed: list[bytes], data: st.DataObject) -> None:
    codes = data.draw(st.lists(st.integers(0, len(listed) - 1), max_size=20))
    assert list(chosen(Vocabulary.of(listed), np.array(codes, dtype=np.int64))) == [listed[code] for code in codes]


@given(st.lists(st.one_of(st.integers(0, 3), st.integers(0, 2**16), st.integers(0, 2**50)), max_size=50))
def test_equal_keys_keep_their_order(keys: list[int]) -> None:
    order = stable_order(np.array(keys, dtype=np.int64), max(keys, default=0))
    assert order.tolist() == sorted(range(len(keys)), key=keys.__getitem__)
