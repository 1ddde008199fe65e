"""The legs of a search as a user gives them: `Dense` looks for points by a vector, `Text` by words.

They hold what they are given. `leg_input` checks it when a search is made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

DENSE_NAME, TEXT_NAME = "dense", "text"
"""Names of legs that are given none."""

WORDS_NAME = "words"
"""Name of the leg of text beside a vector that is called TEXT_NAME."""


class SearchLeg:
    """A way to look for points: Dense or Text."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, eq=False)
class Dense(SearchLeg):
    """Points near a vector.

    vector: (dim,) real numbers; in `search_many` (n, dim), one row for each query; weight: at least 0, only its share
    of the sum counts, and a leg of 0 is not searched; None: what the collection's defaults say; min_score: hits with a
    worse score are left out of the leg; name: under which the result tells of the leg, by default that of its vector,
    or "dense"; using: the name of the vector that is compared, in a collection with named vectors.
    """

    vector: Any
    weight: float | None = None
    min_score: float | None = None
    name: str = None  # type: ignore[assignment]
    using: str | None = None

    def __post_init__(self) -> None:
        if self.name is None:
            object.__setattr__(self, "name", DENSE_NAME if self.using is None else self.using)


@dataclass(frozen=True, slots=True, eq=False)
class Text(SearchLeg):
    """Points whose text fields hold words. Nothing in a text is parsed: there are no operators.

    text: its words are scored, and a hit holds one of them, or all with match="all"; in `search_many` a list with one
    text for each query. fields: names of text fields with their boosts, which are factors of scores; without it all
    text fields of the collection with the boosts of its defaults. must: texts, a hit holds all words of each;
    must_not: texts, a hit does not hold all words of any; phrases: texts, a hit holds the words of each next to each
    other; prefix: a hit holds a word that begins so. In one field each; must, phrases and prefix are scored, too.
    weight, min_score, name: as in `Dense`; scores are BM25. Beside a leg by a vector with the name "text", the leg of
    this name is called "words".
    """

    text: str | Sequence[str] = ""
    fields: Mapping[str, float] | None = None
    must: Sequence[str] = ()
    must_not: Sequence[str] = ()
    phrases: Sequence[str] = ()
    prefix: str = ""
    match: str = "any"
    weight: float | None = None
    min_score: float | None = None
    name: str = TEXT_NAME


LegInput = Dense | Text
