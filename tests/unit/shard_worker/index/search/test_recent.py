from __future__ import annotations

from shoal.shard_worker.index.search.recent import Recent


def test_what_was_used_longest_ago_goes_first() -> None:
    recent = Recent[str](100)
    for number in range(4):
        recent.keep(1, str(number), f"entry {number}", 25)
    assert recent.find(1, "0") == "entry 0"
    assert recent.peek(1, "1") == "entry 1"
    recent.keep(2, "0", "other", 26)
    assert [recent.peek(1, str(number)) is not None for number in range(4)] == [True, False, False, True]
    assert recent.memory_bytes == 76
    assert len(recent) == 3


def test_an_entry_is_counted_with_its_last_size() -> None:
    recent = Recent[str](100)
    recent.keep(1, "a", "entry", 10)
    recent.keep(1, "a", "entry", 30)
    assert (len(recent), recent.memory_bytes) == (1, 30)
    recent.keep(1, "a", "entry", 101)
    assert (len(recent), recent.memory_bytes) == (0, 0)


def test_only_what_is_still_held_is_updated() -> None:
    recent, entry, other = Recent[list[int]](100), [1], [1]
    recent.update(1, "a", entry, 10)
    assert len(recent) == 0
    recent.keep(1, "a", entry, 10)
    recent.update(1, "a", other, 50)
    assert recent.memory_bytes == 10
    recent.update(1, "a", entry, 50)
    assert recent.memory_bytes == 50


def test_segments_are_forgotten_with_all_their_entries() -> None:
    recent = Recent[str](100)
    for segment in (1, 2, 3):
        for name in ("", "a"):
            recent.keep(segment, name, "entry", 10)
    recent.forget([1, 3, 9])
    assert (len(recent), recent.memory_bytes) == (2, 20)
    assert recent.find(2, "a") == "entry"
