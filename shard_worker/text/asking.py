"""Make the query of what a user asks: each text is cut into words by the analyzer of each field.

Tokens of one position are forms of one word. Where several fields are asked, forms of a word in one field stand beside
those in the others. Analyzers that cut alike begin a word at the same characters. Where one does not, the word that
covers the beginning is taken: the only word of a field of the kind raw covers all words of a text. Neighbouring words
also count as one (see joined_words.py), which is never required.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.core.text_query import Match, QueryWord, TextAsk
from shoal.core.turns import FREE, Turn
from shoal.shard_worker.text.analysis.analyzer import Analyzer, Token
from shoal.shard_worker.text.analysis.tokens import prefix_of
from shoal.shard_worker.text.joined_words import joined_tokens
from shoal.shard_worker.text.query import MOST_WORDS, Clause, Occurrence, Phrase, TextQuery, Together


class AskedField(NamedTuple):
    """A field that is searched. boost: factor of the scores of its words."""

    name: str
    analyzer: Analyzer
    boost: float


def asked_fields(ask: TextAsk, analyzers: Mapping[str, Analyzer]) -> tuple[AskedField, ...]:
    """Return the fields that an ask names, of which there must be an analyzer; all fields if it names none."""
    boosts = dict(ask.fields) if ask.fields else dict.fromkeys(analyzers, 1.0)
    return tuple(AskedField(name, analyzers[name], boosts[name]) for name in sorted(boosts))


def query_of(ask: TextAsk, fields: Sequence[AskedField], turn: Turn = FREE) -> TextQuery:
    """Return the query of an ask that check_ask allows.

    Texts without words put no condition. A query without any words finds nothing. The turn may pause before each text.
    Raises InvalidArgument for a prefix of several words and for more words than a query may have, and as the turn.
    """
    made = _QueryParts(fields, turn)
    text = made.scored(ask.text)
    joined = made.add_joined(ask.text)
    for each in ask.must:
        made.required += made.scored(each)
    for each in ask.phrases:
        made.add_phrase(each)
    if ask.prefix:
        made.add_prefix(ask.prefix)
    if ask.match is Match.ALL:
        made.required += text
    elif text and made.required:
        made.required.append(Clause(tuple(dict.fromkeys([*(word for clause in text for word in clause.any_of), *joined]))))
    excluded = tuple(made.together(each) for each in ask.must_not)
    return TextQuery.of(made.units, must=dict.fromkeys(made.required), must_not=(each for each in excluded if each.any_of))


def adjoining(field: str, tokens: Sequence[Token]) -> tuple[QueryWord | Phrase, ...]:
    """Return what a field with these tokens, next to each other, has: words of one position, or else a phrase."""
    if not tokens:
        return ()
    first = tokens[0].position
    if any(prefix_of(token.word) is not None for token in tokens):
        return tuple(dict.fromkeys(_word(field, token) for token in tokens))
    return (Phrase(field, tuple(token.word for token in tokens), tuple(token.position - first for token in tokens)),)


def prefix_tokens(text: str, field: AskedField) -> list[Token]:
    """Return the tokens of the beginning of a word in a field. Raises InvalidArgument if it is several words."""
    tokens = field.analyzer.prefix_tokens(text)
    if len({token.position for token in tokens}) > 1 and any(prefix_of(token.word) is not None for token in tokens):
        raise InvalidArgument(
            f"prefix is {text[:60]!r}, which is several words in field {field.name!r}: give the beginning of one word",
            ErrorDetails(field="prefix"),
        )
    return tokens


class _FieldForm(NamedTuple):
    """The words of one field at one position, and their characters in the text."""

    start: int
    end: int
    words: tuple[QueryWord, ...]


class _QueryParts:
    """The parts of a query while it is made. units: scored words with their boosts; required: clauses."""

    def __init__(self, fields: Sequence[AskedField], turn: Turn) -> None:
        self._fields, self._turn = fields, turn
        self._cut: dict[tuple[Analyzer, str], list[Token]] = {}
        self.units: list[list[tuple[QueryWord, float]]] = []
        self.required: list[Clause] = []

    def scored(self, text: str) -> list[Clause]:
        """Score the words of a text, and return a clause for each of them."""
        scored = []
        for field in self._fields:
            self._turn.pause()
            scored.append(self._score(field, self._words(field, text)))
        return _beside(scored)

    def add_joined(self, text: str) -> list[QueryWord]:
        """Score what neighbouring words of a text make together, unless the query would have too many words."""
        words = [
            (QueryWord(field.name, token.word), field.boost)
            for field in self._fields
            for token in joined_tokens(text, self._words(field, text), field.analyzer)
        ]
        if len(self.units) + len(words) > MOST_WORDS:
            return []
        self.units += [[each] for each in words]
        return [word for word, _ in words]

    def add_phrase(self, text: str) -> None:
        """Require a phrase in one field, and score its words."""
        self._add_adjoining(text, lambda field: field.analyzer.phrase_tokens(text))

    def add_prefix(self, text: str) -> None:
        """Require a word that begins so in one field, and score it."""
        self._add_adjoining(text, lambda field: prefix_tokens(text, field))

    def together(self, text: str) -> Clause:
        """Return the clause that one field holds all words of a text."""
        found: list[Occurrence] = []
        words = 0
        for field in self._fields:
            self._turn.pause()
            clauses = [Clause(form.words) for form in _forms(field.name, self._words(field, text))]
            words += sum(len(clause.any_of) for clause in clauses)
            if len(clauses) == 1:
                found += clauses[0].any_of
            elif clauses:
                found.append(Together(tuple(dict.fromkeys(clauses))))
        if words > MOST_WORDS:
            raise InvalidArgument(
                f"must_not has a text of {words:,} words, at most {MOST_WORDS:,} are allowed", ErrorDetails(field="must_not")
            )
        return Clause(tuple(found))

    def _words(self, field: AskedField, text: str) -> list[Token]:
        """Return the tokens of a text. Fields with one analyzer share them."""
        key = (field.analyzer, text)
        found = self._cut.get(key)
        if found is None:
            found = self._cut[key] = field.analyzer.query_tokens(text)
        return found

    def _add_adjoining(self, text: str, cut: Callable[[AskedField], list[Token]]) -> None:
        found: list[Occurrence] = []
        for field in self._fields:
            self._turn.pause()
            tokens = cut(field)
            self._score(field, tokens)
            found += adjoining(field.name, tokens)
        if found:
            self.required.append(Clause(tuple(found)))

    def _score(self, field: AskedField, tokens: Sequence[Token]) -> list[_FieldForm]:
        self.units += [[(_word(field.name, token), field.boost)] for token in tokens]
        return list(_forms(field.name, tokens))


def _word(field: str, token: Token) -> QueryWord:
    prefix = prefix_of(token.word)
    return QueryWord(field, token.word) if prefix is None else QueryWord(field, prefix, prefix=True)


def _forms(field: str, tokens: Iterable[Token]) -> Iterator[_FieldForm]:
    """Yield what is at each position."""
    for _, several in groupby(tokens, key=lambda token: token.position):
        listed = list(several)
        words = tuple(dict.fromkeys(_word(field, token) for token in listed))
        yield _FieldForm(min(token.start for token in listed), max(token.end for token in listed), words)


def _beside(fields: Sequence[list[_FieldForm]]) -> list[Clause]:
    """Return a clause for each word of a text: its forms in all fields."""
    used = [(forms, [form.start for form in forms]) for forms in fields if forms]
    if len(used) == 1:
        return list(dict.fromkeys(Clause(form.words) for form in used[0][0]))
    starts = sorted({start for _, begins in used for start in begins})
    clauses = [Clause(tuple(word for forms, begins in used for word in _at(forms, begins, start))) for start in starts]
    return list(dict.fromkeys(clauses))


def _at(forms: Sequence[_FieldForm], begins: Sequence[int], start: int) -> tuple[QueryWord, ...]:
    """Return the words of the form that begins at `start`, or else covers it."""
    at = bisect_right(begins, start) - 1
    return forms[at].words if at >= 0 and start < max(forms[at].end, begins[at] + 1) else ()
