"""Text search by brute force over documents: every word of every document is looked at.

It states what a score is, which documents are hits, and their order. Its arithmetic is that of the definition in
shard_worker/text/scoring.py, operation by operation, in Python floats, so scores must be equal to the last bit.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from shoal.core.points import PointId, id_order
from shoal.core.text_query import QueryWord
from shoal.shard_worker.text.indexing import IndexedText
from shoal.shard_worker.text.query import Clause, Occurrence, Phrase, TextQuery, Together
from shoal.shard_worker.text.scoring import K1, B
from shoal.shard_worker.text.table import MOST_COUNT

TextDocument = Mapping[str, IndexedText]
"""The text of each field."""


class TextsTwin:
    """The living documents of a collection, by id."""

    def __init__(self, documents: Mapping[PointId, TextDocument]) -> None:
        self._documents = {point_id: CountedDocument(document) for point_id, document in documents.items()}

    def search(self, query: TextQuery, k: int, allowed: Collection[PointId] | None = None) -> list[tuple[PointId, float]]:
        """Return the k best documents among those allowed, with their scores."""
        words = [(word, self._weight(query, word), self._mean_length(word.field)) for word in sorted(query.boosts)]
        found = [
            (point_id, sum((_score(document, *word) for word in words), 0.0))
            for point_id, document in self._documents.items()
            if (allowed is None or point_id in allowed) and _is_hit(query, document)
        ]
        return sorted(found, key=lambda hit: (-hit[1], id_order(hit[0])))[:k]

    def holding(self, word: QueryWord) -> int:
        """Return how many documents hold the word."""
        return sum(document.occurrences(word) > 0 for document in self._documents.values())

    def lengths(self, field: str) -> list[int]:
        """Return the numbers of tokens of the documents that have any in the field."""
        return [length for document in self._documents.values() if (length := document.length(field))]

    def _mean_length(self, field: str) -> float:
        lengths = self.lengths(field)
        return sum(lengths) / len(lengths) if lengths else 1.0

    def _weight(self, query: TextQuery, word: QueryWord) -> float:
        rows, holding = len(self.lengths(word.field)), self.holding(word)
        idf = math.log(1.0 + (rows - holding + 0.5) / (holding + 0.5))
        return query.boosts[word] * idf * (K1 + 1.0)


class CountedDocument:
    """A document, and how often each word occurs in each field."""

    def __init__(self, document: TextDocument) -> None:
        self._document = document
        self._counts = {name: Counter(text.words) for name, text in document.items()}

    def length(self, field: str) -> int:
        """Return the number of tokens."""
        return len(self._document[field].words)

    def occurrences(self, word: QueryWord) -> int:
        """Return how often the word counts as occurring."""
        counted = self._counts[word.field]
        matched = [text for text in counted if text.startswith(word.text)] if word.prefix else [word.text]
        return sum(min(counted[text], MOST_COUNT) for text in matched)

    def fulfils(self, clause: Clause) -> bool:
        """Return whether it holds one of the words or phrases of the clause."""
        return any(map(self._has, clause.any_of))

    def _has(self, occurrence: Occurrence) -> bool:
        match occurrence:
            case QueryWord():
                return self.occurrences(occurrence) > 0
            case Phrase():
                return self._holds(occurrence)
            case Together(all_of):
                return all(map(self.fulfils, all_of))

    def _holds(self, phrase: Phrase) -> bool:
        places = [
            {position - offset for position in _kept(self._document[phrase.field], word)}
            for word, offset in zip(phrase.words, phrase.offsets, strict=True)
        ]
        return bool(set.intersection(*places))


def _score(document: CountedDocument, word: QueryWord, weight: float, mean_length: float) -> float:
    often = document.occurrences(word)
    base, per_token = K1 * (1.0 - B), K1 * B / mean_length
    return weight * often / (often + (base + per_token * document.length(word.field))) if often else 0.0


def _is_hit(query: TextQuery, document: CountedDocument) -> bool:
    return (
        any(document.occurrences(word) for word in query.boosts)
        and all(document.fulfils(clause) for clause in query.required)
        and not any(document.fulfils(clause) for clause in query.excluded)
    )


def _kept(text: IndexedText, word: str) -> Sequence[int]:
    """Return the positions of a word that are kept: the first ones."""
    return sorted(position for held, position in zip(text.words, text.positions, strict=True) if held == word)[:MOST_COUNT]
