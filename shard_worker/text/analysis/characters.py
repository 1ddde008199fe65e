"""What each character counts as: the character it is compared as, and whether its script writes no spaces.

A text keeps its length here, so that spans are those of the given text: NFKC is applied to characters that become one
other letter or digit. The only other step is `composed`, which says where its characters were.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import chain

import numpy as np
import numpy.typing as npt

from shoal.shard_worker.text.analysis.folding_table import SIMPLIFIED, TRADITIONAL

Codes = npt.NDArray[np.uint32]
Kinds = npt.NDArray[np.uint8]

SPACED, MARK, PAIRED, HAN = 0, 1, 2, 3
"""Kinds of characters: of a script with spaces, or no letter; a mark of such a script; of a script without spaces other
than Han; Han.
"""

JOINERS = "\u00ad\u200c\u200d\u2060"
"""Invisible characters that do not part a word: soft hyphen, joiners."""

_ALL = 0x110000
_SPACE = ord(" ")
_HAN_RANGES = (
    (0x2E80, 0x2FE0),
    (0x3005, 0x3006),
    (0x3007, 0x3008),
    (0x3400, 0x4DC0),
    (0x4E00, 0xA000),
    (0xF900, 0xFB00),
    (0x20000, 0x40000),
)
_PAIRED_RANGES = (
    *((0x0E00, 0x0F00), (0x1000, 0x10A0), (0x1780, 0x1800), (0xAA60, 0xAA80)),  # Thai, Lao, Myanmar, Khmer
    *((0x1100, 0x1200), (0x3130, 0x3190), (0xA960, 0xA980), (0xAC00, 0xD800)),  # Hangul
    *((0x3040, 0x3100), (0x31F0, 0x3200), (0x1B000, 0x1B170)),  # Kana
    *((0x3100, 0x3130), (0x31A0, 0x31C0)),  # Bopomofo
)
_UNCHANGED = ((0x3400, 0xA000), (0xAC00, 0xD7A4), (0xD800, 0xF900))
"""Large blocks that NFKC leaves as they are (and surrogates, which are spaces here)."""

_COMPATIBLE_END = 0x20000
_COMPATIBLE_HAN = (0x2F800, 0x2FA20)
_HALF_WIDTH_MARKS = "\uff9e\uff9f"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class CharacterTables:
    """By code point: what a character is compared as, with and without folding, and the kind of that character."""

    folded: Codes
    plain: Codes
    kinds: Kinds


@cache
def character_tables() -> CharacterTables:
    """Return the tables. Made on first use, in about 0.1 s."""
    plain = np.arange(_ALL, dtype=np.uint32)
    plain[0xD800:0xE000] = _SPACE
    plain[ord("\u2019")] = ord("'")
    for code in _compatible():
        normal = unicodedata.normalize("NFKC", chr(code))
        if len(normal) == 1 and normal.isalnum():
            plain[code] = ord(normal)
    simple = np.arange(_ALL, dtype=np.uint32)
    simple[_codes(TRADITIONAL)] = _codes(SIMPLIFIED)
    kinds = np.zeros(_ALL, dtype=np.uint8)
    kinds[[*_combining(), *map(ord, JOINERS)]] = MARK
    for start, end in _PAIRED_RANGES:
        kinds[start:end] = [PAIRED if unicodedata.category(chr(code))[0] in "LM" else SPACED for code in range(start, end)]
    for start, end in _HAN_RANGES:
        kinds[start:end] = HAN
    return CharacterTables(folded=simple[plain], plain=plain, kinds=kinds)


def codes_of(text: str, table: Codes) -> Codes:
    """Return what the characters of a text are compared as: (n,). Lone surrogates are spaces."""
    return table.take(_codes(text))


def text_of(codes: Codes) -> str:
    """Return the characters as text."""
    return codes.astype("<u4", copy=False).tobytes().decode("utf-32-le")


def words_of(codes: Codes) -> list[str]:
    """Return a string for each row of characters (k, n); 0 behind a shorter one."""
    rows = np.ascontiguousarray(codes, dtype=np.uint32)
    joined: list[str] = rows.view(f"U{rows.shape[1]}").ravel().tolist()
    return joined


@cache
def marks() -> str:
    """Return the characters, as a set of a regular expression, that continue a word and begin none: combining marks."""
    return "".join(f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}" for code in (*_combining(), *map(ord, JOINERS)))


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ComposedText:
    """A text whose characters with combining marks are one character where Unicode has one.

    starts, ends: (n,), the span in the given text of each character; None where nothing was composed.
    """

    text: str
    starts: npt.NDArray[np.int64] | None = None
    ends: npt.NDArray[np.int64] | None = None


def composed(text: str) -> ComposedText:
    """Return the text with combining marks composed, as in NFC."""
    if unicodedata.is_normalized("NFC", text) and not any(mark in text for mark in _HALF_WIDTH_MARKS):
        return ComposedText(text=text)
    pieces: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    for start, end in _clusters(text):
        cluster = text[start:end]
        piece = cluster if end - start == 1 else unicodedata.normalize("NFKC" if cluster[-1] in _HALF_WIDTH_MARKS else "NFC", cluster)
        pieces.append(piece)
        starts.extend([start] * len(piece))
        ends.extend([end] * len(piece))
    return ComposedText(text="".join(pieces), starts=np.array(starts, dtype=np.int64), ends=np.array(ends, dtype=np.int64))


def _clusters(text: str) -> Iterator[tuple[int, int]]:
    """Yield the spans of characters with what may be composed with them: marks, and vowels and finals of Hangul."""
    start = 0
    for at in range(1, len(text)):
        if not _continues(text[at]):
            yield start, at
            start = at
    if text:
        yield start, len(text)


def _continues(character: str) -> bool:
    return "\u1160" <= character <= "\u11ff" or character in _HALF_WIDTH_MARKS or unicodedata.category(character)[0] == "M"


def _codes(text: str) -> Codes:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.uint32, copy=False)


def _compatible() -> Iterator[int]:
    """Yield the code points that NFKC may change, and some others."""
    bounds = [0x80, *chain.from_iterable(_UNCHANGED), _COMPATIBLE_END, *_COMPATIBLE_HAN]
    return chain.from_iterable(range(start, end) for start, end in zip(bounds[::2], bounds[1::2], strict=True))


def _combining() -> list[int]:
    blocks = chain(range(0x300, 0x3400), range(0xA000, 0xAC00), range(0xFB00, _COMPATIBLE_END), range(0xE0100, 0xE01F0))
    return [code for code in blocks if unicodedata.category(chr(code))[0] == "M"]
