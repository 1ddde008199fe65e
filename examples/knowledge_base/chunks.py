"""Documents are cut into chunks: at headings, between paragraphs, and nowhere else where that is possible. Pure.

A chunk is a slice of the text of its document, so that a citation (file, heading, offset) leads to the very characters.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

CHUNK_CHARS = 1_200
"""Most characters of a chunk, unless the caller gives a number."""

ABOVE = " > "
"""Between a heading and those above it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """A text with headings as in Markdown, or underlined ones. file: its name, unique in a knowledge base; title: of
    the whole.
    """

    file: str
    title: str
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Chunk:
    """A part of a document. heading: above it, with the headings above that one, "" before the first; offset: of its
    first character in the document; text: as it is there.
    """

    file: str
    title: str
    heading: str
    offset: int
    text: str

    @property
    def name(self) -> str:
        """Return the title of the document and the headings, each once."""
        return ABOVE.join(dict.fromkeys([self.title, *filter(None, self.heading.split(ABOVE))]))


def chunks_of(document: Document, chars: int = CHUNK_CHARS) -> list[Chunk]:
    """Return the chunks of a document, in its order, none of them empty or longer than `chars` characters, at least 1.

    Headings and front matter (YAML between lines of ---) belong to no chunk. Code between fences has no headings, and
    is cut only if it alone is too long.
    """
    if chars < 1:
        raise ValueError(f"a chunk has {chars} characters, at least 1 is needed")
    return [
        Chunk(file=document.file, title=document.title, heading=heading, offset=begin, text=document.text[begin:end])
        for heading, blocks in _sections(document.text)
        for begin, end in _packed(document.text, blocks, chars)
    ]


def title_of(text: str, otherwise: str) -> str:
    """Return the title of a text: of its front matter, else its first heading, else `otherwise`."""
    front = text[: _front_matter(text)]
    named = re.search(r"^title:[ \t]*(.+?)[ \t]*$", front, flags=re.MULTILINE)
    if named:
        return named[1].strip("'\"") or otherwise
    return next((heading.split(ABOVE)[-1] for heading, _ in _sections(text) if heading), otherwise)


_Span = tuple[int, int]

_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_FENCE = re.compile(r"\s*(```+|~~~+)")
_HEADING = re.compile(r"(#{1,6})[ \t]+(.*?)[ \t]*#*[ \t]*$")
_MARKS = re.compile(r"\s*\{#[^}]*\}|</?(?:a|b|br|code|em|i|img|span|strong|sub|sup)\b[^>]*>|[*`]{1,2}(?=\S)|(?<=\S)[*`]{1,2}")
_UNDERLINE = re.compile(r"([=\-~^])\1{2,}[ \t]*$")
_LEVELS = "=-~^"


def _front_matter(text: str) -> int:
    """Return where the text begins behind its front matter."""
    found = re.match(r"---[ \t]*\r?\n.*?^---[ \t]*(?:\r?\n|\Z)", text, flags=re.MULTILINE | re.DOTALL)
    return found.end() if found else 0


def _lines(text: str, begin: int) -> list[_Span]:
    """Return the lines of a text, with their ends. Only a line feed ends a line."""
    return [found.span() for found in _LINE.finditer(text, begin)]


def _sections(text: str) -> Iterator[tuple[str, list[_Span]]]:
    """Yield the headings in force, and the paragraphs below the last of them, as spans without blank lines around."""
    above: list[tuple[int, str]] = []
    reader = _BlockReader(text)
    lines = iter(_lines(text, _front_matter(text)))
    following: _Span | None = next(lines, None)
    while following is not None:
        line, following = following, next(lines, None)
        found = None if reader.in_fence else _heading(text, line, following)
        if found is None:
            reader.take(line)
            continue
        level, heading, underlined = found
        yield _joined(above), reader.taken()
        above = [each for each in above if each[0] < level]
        above.append((level, heading))
        if underlined:
            following = next(lines, None)
    yield _joined(above), reader.taken()


def _joined(above: list[tuple[int, str]]) -> str:
    return ABOVE.join(heading for _, heading in above)


def _heading(text: str, line: _Span, following: _Span | None) -> tuple[int, str, bool] | None:
    """Return level and text of a heading, and whether it is underlined; None if the line is none."""
    written = text[slice(*line)].rstrip("\r\n")
    found = _HEADING.match(written)
    if found:
        return len(found[1]), _MARKS.sub("", found[2]).strip(), False
    if following is None or not written.strip() or written[0].isspace() or _UNDERLINE.match(written) or _FENCE.match(written):
        return None
    under = text[slice(*following)].rstrip("\r\n")
    if not _UNDERLINE.match(under) or len(under.rstrip()) < len(written.rstrip()):
        return None
    return _LEVELS.index(under[0]) + 1, written.strip(), True


class _BlockReader:
    """Collects the paragraphs of a section; what stands between fences is one."""

    def __init__(self, text: str) -> None:
        self.in_fence = ""
        self._text = text
        self._blocks: list[_Span] = []
        self._open: _Span | None = None

    def take(self, line: _Span) -> None:
        written = self._text[slice(*line)]
        if not written.strip() and not self.in_fence:
            self._close()
            return
        fence = _FENCE.match(written)
        if fence and not self.in_fence:
            self._close()
            self.in_fence = fence[1]
        elif fence and fence[1].startswith(self.in_fence) and not written.strip(" \t\r\n`~"):
            self.in_fence = ""
        self._open = (self._open[0] if self._open else line[0], line[1])

    def taken(self) -> list[_Span]:
        """Return the paragraphs since the last call."""
        self._close()
        blocks, self._blocks = self._blocks, []
        return blocks

    def _close(self) -> None:
        if self._open:
            self._blocks.append(self._open)
        self._open = None


def _packed(text: str, blocks: list[_Span], chars: int) -> Iterator[_Span]:
    """Yield spans of at most `chars` characters that hold the blocks, as few as fit in order, without blanks around."""
    held: _Span | None = None
    for block in blocks:
        for piece in _pieces(text, _stripped(text, block), chars):
            if held and piece[1] - held[0] <= chars:
                held = (held[0], piece[1])
                continue
            if held:
                yield held
            held = piece
    if held:
        yield held


def _pieces(text: str, block: _Span, chars: int) -> Iterator[_Span]:
    """Yield a block in pieces: cut at the end of a line, else of a sentence, else of a word, else anywhere."""
    begin, end = block
    while end - begin > chars:
        cut = begin + _cut(text[begin : begin + chars + 1], chars)
        piece = _stripped(text, (begin, cut))
        if piece[0] < piece[1]:
            yield piece
        begin = cut
    rest = _stripped(text, (begin, end))
    if rest[0] < rest[1]:
        yield rest


_CUTS = (
    re.compile(r".*\n", flags=re.DOTALL),
    re.compile(r".*(?:[.!?]\s|[。！？；])", flags=re.DOTALL),
    re.compile(r".*\s", flags=re.DOTALL),
)


def _cut(window: str, chars: int) -> int:
    """Return how many characters of a window, which is too long by one, the next piece takes: at least 1."""
    for pattern in _CUTS:
        found = pattern.match(window[:chars])
        if found and found.end() > chars // 2:
            return found.end()
    return chars


def _stripped(text: str, span: _Span) -> _Span:
    begin, end = span
    written = text[begin:end]
    return begin + len(written) - len(written.lstrip()), end - (len(written) - len(written.rstrip()))
