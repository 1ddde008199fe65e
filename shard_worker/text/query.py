"""What a text search asks for: words that are scored, and what a hit must and must not hold.

Queries are values. Words are those of an analyzer; nothing is parsed here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from shoal.core.errors import InvalidArgument
from shoal.core.text_query import Match, QueryWord

LEAST_BOOST, MOST_BOOST = 1e-6, 1e6
MOST_WORDS = 4_096
"""Bounds that the bound on rounding errors relies on (see bound.py)."""


@dataclass(frozen=True, slots=True)
class Phrase:
    """Words (at least one) at certain positions in a field: offsets[i] is that of words[i] from any one place on."""

    field: str
    words: tuple[str, ...]
    offsets: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.words or len(self.words) != len(self.offsets) or not all(0 <= offset < 2**32 for offset in self.offsets):
            raise InvalidArgument(
                f"a phrase has {len(self.words)} words and the offsets {self.offsets}, it needs one of 0 to 2^32 - 1 for each"
            )


@dataclass(frozen=True, slots=True)
class Clause:
    """Holds for the rows that have at least one of these; for no row when there are none."""

    any_of: tuple[Occurrence, ...]


@dataclass(frozen=True, slots=True)
class Together:
    """Occurs in the rows for which all these clauses, at least one, hold."""

    all_of: tuple[Clause, ...]

    def __post_init__(self) -> None:
        if not self.all_of:
            raise InvalidArgument("clauses that hold together are none, at least one is needed")


Occurrence = QueryWord | Phrase | Together


@dataclass(frozen=True, kw_only=True, slots=True)
class TextQuery:
    """A hit holds at least one word of `boosts`, fulfils all `required` clauses and no clause of `excluded`.

    boosts: factor of each word that is scored.
    """

    boosts: Mapping[QueryWord, float]
    required: tuple[Clause, ...] = ()
    excluded: tuple[Clause, ...] = ()

    @classmethod
    def of(
        cls,
        units: Sequence[Sequence[tuple[QueryWord, float]]],
        *,
        match: Match = Match.ANY,
        must: Iterable[Clause] = (),
        must_not: Iterable[Clause] = (),
    ) -> TextQuery:
        """Return the query for these units: each is one word of the query, in all forms and fields in which it counts,
        with the boost of each.

        A word that comes several times counts as often. match: whether a hit needs any unit or each of them.
        Raises InvalidArgument for a boost or a number of words out of bounds.
        """
        boosts: dict[QueryWord, float] = {}
        for unit in units:
            for word, boost in unit:
                boosts[word] = boosts.get(word, 0.0) + boost
        for word, boost in boosts.items():
            if not LEAST_BOOST <= boost <= MOST_BOOST:
                raise InvalidArgument(f"{word.text[:60]!r} has the boost {boost}, allowed are {LEAST_BOOST} to {MOST_BOOST}")
        if len(boosts) > MOST_WORDS:
            raise InvalidArgument(f"a query has {len(boosts)} words, at most {MOST_WORDS} are allowed")
        every = tuple(Clause(tuple(word for word, _ in unit)) for unit in units) if match is Match.ALL else ()
        return cls(boosts=boosts, required=(*every, *must), excluded=tuple(must_not))
