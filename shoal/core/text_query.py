"""What a search asks of text fields. Plain text is never parsed: what a word is, the analyzer of each field decides.

Pure. `TextAsk` is what a user gives; `QueryWord` is a word that an analyzer made of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Match(StrEnum):
    """How many words of a text a hit holds: at least one, or all."""

    ANY = "any"
    ALL = "all"


@dataclass(frozen=True, kw_only=True, slots=True)
class TextAsk:
    """One query of a text leg. At least one of text, must, phrases and prefix is not empty.

    text: its words are scored, and a hit holds one of them, or all (match); fields: names with their boosts, a boost
    being a factor of scores; empty: every text field of the collection, each with boost 1; must: texts, a hit holds all
    words of each, which are scored, too; must_not: texts, a hit does not hold all words of any of them in one field;
    phrases: texts, a hit holds the words of each next to each other in one field, which are scored, too; prefix: the
    beginning of a word, a hit holds a word that begins so, scored as one word.
    """

    text: str = ""
    fields: tuple[tuple[str, float], ...] = ()
    match: Match = Match.ANY
    must: tuple[str, ...] = ()
    must_not: tuple[str, ...] = ()
    phrases: tuple[str, ...] = ()
    prefix: str = ""


@dataclass(frozen=True, order=True, slots=True)
class QueryWord:
    """A word in a field; prefix: all words that begin with `text`, counted as one word."""

    field: str
    text: str
    prefix: bool = False
