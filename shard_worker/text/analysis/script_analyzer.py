"""Cuts a text by the scripts of its characters: pairs and words of a dictionary where no spaces are written, or words.

    text      我在用TiDB 7.5
    position  0 1 2 3    4
    words     我在@0 我@0 在用@1 在@1 用@2 tidb@3 ti@3 db@3 7.5@4

At every character without spaces a word begins: the pair with the next one, or the character alone where its run ends.
What is a pair is not listed again as a word. A question has its words of two characters beside the pairs, so that they
count twice there. This needs fewer postings than to list them twice in the texts, and finds as well.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np

from shoal.core.text_fields import AnalyzerKind, AnalyzerOptions
from shoal.shard_worker.text.analysis.batch_coding import BatchCoding
from shoal.shard_worker.text.analysis.characters import HAN, PAIRED, Codes, Kinds, character_tables, codes_of, composed, text_of
from shoal.shard_worker.text.analysis.fingerprints import fingerprint_of
from shoal.shard_worker.text.analysis.han_words import HanWords
from shoal.shard_worker.text.analysis.lexicon import Lexicon
from shoal.shard_worker.text.analysis.pieces import SIGNS, do_not_rest, pieces_of
from shoal.shard_worker.text.analysis.reading import Places, Reading, pattern_for, pieces_in, reading_of, reading_with, written_in
from shoal.shard_worker.text.analysis.text_words import FoundWords, TextWords, text_words_of
from shoal.shard_worker.text.analysis.tokens import Token, as_prefix, prefix_of
from shoal.shard_worker.text.analysis.word_cuts import WordCuts, WrittenPatterns, normal_word
from shoal.shard_worker.text.indexing import CodedTexts

_NO_PLACES = np.zeros(0, dtype=np.int64)


class ScriptAnalyzer:
    """Cuts texts as the options say. All methods may be called by several threads."""

    def __init__(self, options: AnalyzerOptions) -> None:
        """Take options of any kind but raw."""
        tables = character_tables()
        self._table = tables.folded if options.fold else tables.plain
        self._kinds = tables.kinds
        self._pairs_han = options.kind is not AnalyzerKind.WORDS
        self._han = HanWords() if options.kind is not AnalyzerKind.CJK else None
        stop_words, self._unspaced_stops = self._compared(options.stop_words)
        own_words, unspaced = self._compared(options.own_words)
        self._own_anywhere = _pattern_anywhere(unspaced)
        self._patterns = WrittenPatterns.of(own_words)
        self._cuts = WordCuts(language=options.stem_language, stop_words=stop_words, own_words=own_words)
        self._own_written = bool(own_words)
        self._lexicon = Lexicon(self._listed, self._single_words)
        self.fingerprint = fingerprint_of(options)

    def words(self, text: str) -> tuple[list[str], list[int]]:
        """Return the words of `tokens`, in their order, and their positions."""
        tokens = self.tokens(text)
        return [token.word for token in tokens], [token.position for token in tokens]

    def coded(self, texts: Sequence[str], rest: Callable[[], None] = do_not_rest) -> CodedTexts:
        """Return the words of texts as numbers. rest: called between pieces of work."""
        if self._lexicon.full:
            self._lexicon = Lexicon(self._listed, self._single_words)
        batch = BatchCoding(self._lexicon, rest)
        waiting: dict[int, tuple[Codes, Kinds]] = {}
        for row, text in enumerate(texts):
            if text.isascii():
                batch.add_written(row, self._written(text))
            else:
                waiting[row] = self._codes(composed(text).text)
        if waiting:
            self._add_beyond_ascii(batch, waiting, rest)
        return batch.coded(len(texts), self._unspaced_stops)

    def tokens(self, text: str) -> list[Token]:
        """Return all tokens of a text to index, positions ascending."""
        source = composed(text)
        return self._kept(self._indexed(self._reading(*self._codes(source.text))).tokens(source))

    def query_tokens(self, text: str) -> list[Token]:
        """Return the tokens of a question, positions ascending. A word may come twice.

        A lone character of a script without spaces is a prefix (see `tokens.prefix_of`).
        """
        source = composed(text)
        reading = self._reading(*self._codes(source.text))
        lone, others = reading.lone(), FoundWords()
        ones, twos, threes = self._dictionary_words(reading, others)
        self._add_own(reading, others, threes)
        _add_prefixes(reading, lone, others)
        ones = np.setdiff1d(ones, lone)
        found = text_words_of(reading, ones=ones, pairs=[self._pairs(reading), twos], threes=threes, others=others)
        return self._kept(found.tokens(source))

    def whole_words(self, written: str) -> list[str]:
        """See Analyzer."""
        cut = self._cuts.cut(written)
        return [word for word, span in zip(cut.words, cut.spans, strict=True) if span == (0, len(written))]

    def phrase_tokens(self, text: str) -> list[Token]:
        """Return tokens that each text with this phrase holds, at the same distances, unless a letter, digit or mark of
        a script with spaces is beside the phrase.

        Identifiers count as their parts. A lone character without spaces at the end counts if there is nothing else:
        then it is a prefix. The kind words keeps this promise where the dictionary cuts Han text alike.
        """
        source = composed(text)
        reading = self._reading(*self._codes(source.text))
        lone, last, others = reading.lone(), len(source.text) - 1, FoundWords()
        ones, twos, threes = (lone, _NO_PLACES, _NO_PLACES) if self._pairs_han else self._dictionary_words(reading, others)
        ones = ones[ones < last]
        found = text_words_of(reading, ones=ones, pairs=[self._pairs(reading), twos], threes=threes, others=others, firm=True)
        tokens = self._kept(found.tokens(source))
        if tokens or not len(lone):
            return tokens
        alone = FoundWords()
        _add_prefixes(reading, lone[-1:], alone)
        return self._kept(text_words_of(reading, ones=_NO_PLACES, pairs=[], threes=_NO_PLACES, others=alone, firm=True).tokens(source))

    def prefix_tokens(self, text: str) -> list[Token]:
        """Return the tokens of the beginning of a word.

        A word with spaces is a prefix as it is compared, without a stem; if a stem is not as long, it counts, too. Of
        several words, the last is such a prefix. Text with characters without spaces is a phrase.
        """
        source = composed(text)
        reading = self._reading(*self._codes(source.text))
        if len(reading.unspaced):
            return self.phrase_tokens(text)
        if not reading.cuts:
            return []
        start, _ = reading.cuts[-1]
        written = next(pattern_for(reading.kinds, self._patterns).finditer(reading.text, start)).group()
        tokens = self._kept(self._indexed(reading).tokens(source))
        last = self._cuts.prefix_words(written)
        position = int(reading.positions()[start])
        begin, end = start, start + len(written)
        if source.starts is not None and source.ends is not None:
            begin, end = int(source.starts[begin]), int(source.ends[end - 1])
        return [each for each in tokens if each.position < position] + [Token(word, position, begin, end) for word in last]

    def _written(self, text: str) -> list[str]:
        """Return the written words of a text of ASCII characters, or pieces of the text that hold them."""
        return self._patterns.ascii.findall(text) if self._own_written else pieces_of(text)

    def _listed(self, written: str) -> tuple[Sequence[str], Sequence[int], int]:
        """Return the words of a written word, or of a piece of a text, their offsets and the positions they take."""
        if self._own_written:
            return self._cuts.listed(written)
        words: list[str] = []
        offsets: list[int] = []
        taken = 0
        for each in (self._patterns.ascii if written.isascii() else self._patterns.marked).findall(written):
            listed, places, advance = self._cuts.listed(each)
            words += listed
            offsets += [taken + place for place in places]
            taken += advance
        return words, offsets, taken

    def _single_words(self, written: Sequence[str]) -> list[str | None]:
        """Return the word of each written word, or piece of a text, that is one word as most are; None for others."""
        return self._cuts.single_words(written if self._own_written else [each.strip(SIGNS) for each in written])

    def _add_beyond_ascii(self, batch: BatchCoding, waiting: dict[int, tuple[Codes, Kinds]], rest: Callable[[], None]) -> None:
        """Add texts with characters beyond ASCII: all in one pass of the arrays."""
        codes, kinds = (np.concatenate(parts) for parts in zip(*waiting.values(), strict=True))
        lengths = [len(each) for each, _ in waiting.values()]
        places, written = written_in(codes, kinds, self._patterns) if self._own_written else pieces_in(codes, kinds)
        reading = reading_with(codes, kinds, [])
        batch.add_reading(np.repeat(list(waiting), lengths), self._indexed(reading, rest), places, written)

    def _codes(self, text: str) -> tuple[Codes, Kinds]:
        codes = codes_of(text + "\0", self._table)
        return codes, self._kinds.take(codes)

    def _reading(self, codes: Codes, kinds: Kinds) -> Reading:
        return reading_of(codes, kinds, self._patterns, self._cuts.cut)

    def _compared(self, listed: tuple[str, ...]) -> tuple[frozenset[str], frozenset[str]]:
        """Return listed words as words of texts are compared with them: of scripts with spaces, and the others."""
        codes = [self._codes(normal) for word in listed if (normal := normal_word(word))]
        spaced = frozenset(text_of(each[:-1]) for each, kinds in codes if int(kinds.max()) < PAIRED)
        return spaced, frozenset(text_of(each[:-1]) for each, _ in codes) - spaced

    def _indexed(self, reading: Reading, rest: Callable[[], None] = do_not_rest) -> TextWords:
        """Return the words of a text to index."""
        others = FoundWords()
        # Words of two characters are pairs.
        ones, twos, threes = self._dictionary_words(reading, others, rest, twos=not self._pairs_han)
        self._add_own(reading, others, threes)
        if self._pairs_han:
            # Ends of runs are listed once.
            ones = np.concatenate((ones[reading.kinds[ones + 1] >= PAIRED], reading.unspaced[~reading.follows]))
        return text_words_of(reading, ones=ones, pairs=[self._pairs(reading), twos], threes=threes, others=others)

    def _pairs(self, reading: Reading) -> Places:
        """Return where two neighbours without spaces are listed; of Han characters not for the kind words."""
        pairs = reading.unspaced[reading.follows]
        return pairs if self._pairs_han else pairs[(reading.kinds[pairs] == PAIRED) & (reading.kinds[pairs + 1] == PAIRED)]

    def _dictionary_words(
        self, reading: Reading, others: FoundWords, rest: Callable[[], None] = do_not_rest, *, twos: bool = True
    ) -> tuple[Places, Places, Places]:
        """Return where words of one, two and three Han characters begin, and add longer ones to `others`."""
        if self._han is None:
            return _NO_PLACES, _NO_PLACES, _NO_PLACES
        text, at = reading.han_text()
        cut = self._han.cut(text, rest, twos=twos)
        others.add(cut.longer, at[cut.starts].tolist(), (at[cut.ends - 1] + 1).tolist())
        ones, twos_at = at[cut.ones], at[cut.twos]
        return ones[reading.kinds[ones] == HAN], twos_at[reading.kinds[twos_at] == HAN], at[cut.threes]

    def _add_own(self, reading: Reading, others: FoundWords, threes: Places) -> None:
        """Add the own words with characters without spaces, wherever they are, unless they are there already."""
        if self._own_anywhere is None:
            return
        text = reading.text
        known = {*zip(others.starts, others.ends, strict=True), *((start, start + 3) for start in threes.tolist())}
        for match in self._own_anywhere.finditer(text):
            start, end = match.span(1)
            if (start, end) not in known:
                others.add([text[start:end].lower()], [start], [end])

    def _kept(self, tokens: list[Token]) -> list[Token]:
        """Return the tokens without stop words without spaces."""
        if not self._unspaced_stops:
            return tokens
        return [token for token in tokens if (prefix_of(token.word) or token.word) not in self._unspaced_stops]


def _add_prefixes(reading: Reading, at: Places, others: FoundWords) -> None:
    others.add([as_prefix(chr(code)) for code in reading.codes[at].tolist()], at.tolist(), (at + 1).tolist())


def _pattern_anywhere(words: frozenset[str]) -> re.Pattern[str] | None:
    """Return the pattern of own words with characters without spaces; the longest at each place counts."""
    listed = "|".join(map(re.escape, sorted(words, key=lambda word: (-len(word), word))))
    return re.compile(f"(?=({listed}))", re.IGNORECASE) if listed else None
