"""Where the words of a question are in a text: spans for highlights, in characters (code points) of the text.

Words of `text` and `must` are marked wherever they are, and so are words that begin with the prefix. A phrase is marked
only where it is one, from its first word to its last. Words of `must_not` are not marked.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from shoal.core.fused_search import Span
from shoal.core.text_query import QueryWord, TextAsk
from shoal.core.turns import FREE, Turn
from shoal.shard_worker.text.analysis.analyzer import Analyzer, Token
from shoal.shard_worker.text.asking import AskedField, adjoining, prefix_tokens
from shoal.shard_worker.text.joined_words import joined_tokens
from shoal.shard_worker.text.query import Phrase

JOINT = "\n"
"""Between two strings of a field that is a list: spans are those of the strings, joined so."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MarkedWords:
    """What is marked in texts of one field. words: themselves; beginnings: words that begin so."""

    analyzer: Analyzer
    words: frozenset[str]
    beginnings: tuple[str, ...]
    phrases: tuple[Phrase, ...]

    def spans(self, strings: Sequence[str], turn: Turn = FREE) -> tuple[Span, ...]:
        """Return the spans in the strings of a field, joined by JOINT: ascending, none overlaps another.

        The turn may pause before each string.
        """
        found: list[Span] = []
        start = 0
        for text in strings:
            turn.pause()
            found += [(start + begin, start + end) for begin, end in _merged(self._in_text(text))]
            start += len(text) + len(JOINT)
        return tuple(found)

    def _in_text(self, text: str) -> Iterator[Span]:
        tokens = self.analyzer.tokens(text)
        for token in tokens:
            if token.word in self.words or (self.beginnings and token.word.startswith(self.beginnings)):
                yield token.start, token.end
        if self.phrases:
            places = _places(tokens)
            for phrase in self.phrases:
                yield from _phrase_spans(phrase, places)


def marked_words(ask: TextAsk, fields: Iterable[AskedField], turn: Turn = FREE) -> Mapping[str, MarkedWords]:
    """Return what is marked in each field. The turn may pause before each field.

    Raises InvalidArgument as asking.query_of does for a prefix, and as the turn.
    """
    marked: dict[str, MarkedWords] = {}
    for field in fields:
        turn.pause()
        marked[field.name] = _marked(ask, field)
    return marked


def _marked(ask: TextAsk, field: AskedField) -> MarkedWords:
    name, analyzer = field.name, field.analyzer
    listed: list[QueryWord | Phrase] = [
        each for text in (ask.text, *ask.must) for token in analyzer.query_tokens(text) for each in adjoining(name, [token])
    ]
    listed += (QueryWord(name, token.word) for token in joined_tokens(ask.text, analyzer.query_tokens(ask.text), analyzer))
    for text in ask.phrases:
        listed += adjoining(name, analyzer.phrase_tokens(text))
    if ask.prefix:
        listed += adjoining(name, prefix_tokens(ask.prefix, field))
    words = [each for each in listed if isinstance(each, QueryWord)]
    phrases = dict.fromkeys(each for each in listed if isinstance(each, Phrase))
    alone = {each.words[0] for each in phrases if len(each.words) == 1}
    return MarkedWords(
        analyzer=analyzer,
        words=frozenset(each.text for each in words if not each.prefix) | alone,
        beginnings=tuple(sorted({each.text for each in words if each.prefix})),
        phrases=tuple(each for each in phrases if len(each.words) > 1),
    )


def _places(tokens: Iterable[Token]) -> Mapping[str, Mapping[int, Span]]:
    """Return the span of each word at each of its positions."""
    places: dict[str, dict[int, Span]] = defaultdict(dict)
    for token in tokens:
        begin, end = places[token.word].get(token.position, (token.start, token.end))
        places[token.word][token.position] = min(begin, token.start), max(end, token.end)
    return places


def _phrase_spans(phrase: Phrase, places: Mapping[str, Mapping[int, Span]]) -> Iterator[Span]:
    each_word = [(places.get(word, {}), offset) for word, offset in zip(phrase.words, phrase.offsets, strict=True)]
    rarest, first = min(each_word, key=lambda each: len(each[0]))
    for position in rarest:
        at = position - first
        if all(at + offset in known for known, offset in each_word):
            spans = [known[at + offset] for known, offset in each_word]
            yield min(begin for begin, _ in spans), max(end for _, end in spans)


def _merged(spans: Iterable[Span]) -> Iterator[Span]:
    """Yield spans in order, those that overlap as one."""
    begin = end = -1
    for each_begin, each_end in sorted(spans):
        if each_begin >= end:
            if end > begin:
                yield begin, end
            begin, end = each_begin, each_end
        else:
            end = max(end, each_end)
    if end > begin:
        yield begin, end
