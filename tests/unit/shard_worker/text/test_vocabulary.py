from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shoal.shard_worker.text.vocabulary import Vocabulary, encoded

letters = st.sampled_from(("a", "b", "é", "中", "\U0001f41f", "\ud800", "\0", "\x7f"))
words = st.lists(letters, min_size=1, max_size=4).map("".join)


@given(held=st.sets(words, max_size=12).map(sorted), wanted=words)
def test_it_finds_what_a_list_finds(held: list[str], wanted: str) -> None:
    vocabulary = Vocabulary.of_texts(held)
    assert list(vocabulary) == [encoded(word) for word in held] == vocabulary.between(0, len(held))
    assert vocabulary.find(wanted) == (held.index(wanted) if wanted in held else -1)
    assert vocabulary.before(encoded(wanted)) == sum(word < wanted for word in held)
    start, end = vocabulary.beginning(wanted)
    assert held[start:end] == [word for word in held if word.startswith(wanted)]
    assert vocabulary.beginning("") == (0, len(held))


def test_words_are_ordered_by_code_point() -> None:
    held = sorted(["\ud800", "\uffff", "\U0001f41f", "z"])
    assert held == ["z", "\ud800", "\uffff", "\U0001f41f"]
    assert [encoded(word) for word in held] == sorted(encoded(word) for word in held)


def test_a_part_of_it() -> None:
    assert Vocabulary.of([b"a", b"bc", b"d"]).between(1, 3) == [b"bc", b"d"]
    assert Vocabulary.of([]).memory_bytes() == 8
