from __future__ import annotations

from collections.abc import Sequence

from shoal.shard_worker.text.analysis.lexicon import Lexicon
from shoal.shard_worker.text.analysis.tokens import MOST_WORD_CHARS


def parts(written: str) -> tuple[Sequence[str], Sequence[int], int]:
    words = written.split("_")
    return words, range(len(words)), len(words)


def single(written: Sequence[str]) -> list[str | None]:
    return [None if "_" in each else each for each in written]


def meant(lexicon: Lexicon, written: Sequence[str]) -> list[tuple[list[bytes], list[int], int]]:
    """Return the words, their offsets and the positions of each written word, as the lexicon tells them."""
    numbers, known = lexicon.numbers(written), lexicon.written()
    found = []
    for number in numbers.tolist():
        at = slice(known.starts[number], known.starts[number + 1])
        words = lexicon.vocabulary(known.words[at])
        found.append(([words[code] for code in range(len(words))], known.offsets[at].tolist(), int(known.advances[number])))
    return found


def test_numbers_stand_for_the_words_of_each_written_word() -> None:
    lexicon = Lexicon(parts, single)
    long = "x" * (MOST_WORD_CHARS + 1)
    assert meant(lexicon, ["b", "a_b", "b", long]) == [
        ([b"b"], [0], 1),
        ([b"a", b"b"], [0, 1], 2),
        ([b"b"], [0], 1),
        ([long.encode()], [0], 1),
    ]
    first = lexicon.numbers(["a_b", "b"]).tolist()
    assert meant(lexicon, ["c", "a_b"]) == [([b"c"], [0], 1), ([b"a", b"b"], [0, 1], 2)]
    assert lexicon.numbers(["a_b", "b"]).tolist() == first
    assert lexicon.words == 4
    assert lexicon.numbers([]).tolist() == []


def test_two_threads_that_learn_the_same_word_get_one_number() -> None:
    """The second one learns it between the look of the first and its entry."""
    once: list[bool] = []

    def single_after_another(written: Sequence[str]) -> list[str | None]:
        if not once:
            once.append(True)
            other.extend(lexicon.numbers(["a_b", "c", "d"]).tolist())
        return single(written)

    other: list[int] = []
    lexicon = Lexicon(parts, single_after_another)
    assert lexicon.numbers(["c", "a_b", "e"]).tolist() == [other[1], other[0], 3]
    assert meant(lexicon, ["d", "e"]) == [([b"d"], [0], 1), ([b"e"], [0], 1)]


def test_what_it_told_stays_while_it_learns_more() -> None:
    lexicon = Lexicon(parts, single)
    lexicon.numbers(["a_b", "c"])
    before = lexicon.written()
    kept = [each.copy() for each in before]
    words = lexicon.vocabulary(before.words)
    many = [f"w{number}" for number in range(5_000)]
    assert meant(lexicon, many) == [([word.encode()], [0], 1) for word in many]
    assert [each.tolist() for each in before] == [each.tolist() for each in kept]
    assert list(words) == list(lexicon.vocabulary(before.words))
