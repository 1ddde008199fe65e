"""What the terminal shows: chunks with their place and the words that were asked for, tables of quality."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from examples.knowledge_base.quality import Quality
from shoal.client.highlights import parts
from shoal.client.results import Hit

EXCERPT_CHARS = 220
_MARK = "bold yellow"

Span = tuple[int, int]


def show_answers(console: Console, question: str, hits: Sequence[Hit]) -> None:
    """Print a question and its hits: file, heading, offset and score of each, and where it has the words."""
    console.print(Text(f"? {question}", style="bold"))
    if not hits:
        console.print("  nothing was found")
    for number, hit in enumerate(hits, start=1):
        payload = hit.payload or {}
        place = Text.assemble(f"  {number}. ", (f"{payload['file']}", "cyan"), f", character {payload['offset']:,}, score {hit.score:.3f}")
        console.print(place)
        console.print(Text.assemble("     ", marked(payload["title"], hit.highlights.get("title", ()), len(payload["title"]))))
        console.print(Text.assemble("     ", marked(payload["body"], hit.highlights.get("body", ()), EXCERPT_CHARS)))
    console.print()


def marked(text: str, spans: Sequence[Span], chars: int) -> Text:
    """Return the part of a text with the most spans, on one line, the spans marked.

    spans: begins and ends in characters, ascending; chars: most characters of the part.
    """
    begin = _densest(spans, chars) if len(text) > chars else 0
    begin = max(0, min(begin, len(text) - chars))
    inside = [(left - begin, right - begin) for left, right in spans if begin <= left and right <= begin + chars]
    shown = Text("..." if begin else "")
    for part, is_marked in parts(text[begin : begin + chars], inside):
        shown.append(_BLANKS.sub(" ", part), style=_MARK if is_marked else None)
    return shown.append("..." if begin + chars < len(text) else "")


def show_quality(console: Console, title: str, qualities: Mapping[str, Quality]) -> None:
    """Print the qualities of the methods beside each other."""
    table = Table("searched by", "recall@1", "recall@10", "nDCG@10", title=title, title_justify="left", box=None, padding=(0, 4, 0, 0))
    for method, quality in qualities.items():
        table.add_row(method, f"{quality.recall_1:.3f}", f"{quality.recall_10:.3f}", f"{quality.ndcg_10:.3f}")
    console.print(table)


def _densest(spans: Sequence[Span], chars: int) -> int:
    """Return where the part begins that has the most spans: a little before the first of them."""
    best, most, last = 0, 0, 0
    for first, (begin, _) in enumerate(spans):
        while last < len(spans) and spans[last][1] <= begin + chars - _BEFORE:
            last += 1
        if last - first > most:
            best, most = begin - _BEFORE, last - first
    return best


_BLANKS = re.compile(r"[\s\x00-\x1f]+")
"""Line ends and other control characters, which a terminal would obey, and runs of blanks."""

_BEFORE = 20
"""Characters shown before the first span."""
