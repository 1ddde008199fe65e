from __future__ import annotations

import io

from rich.console import Console
from rich.text import Text

from examples.knowledge_base.quality import quality_of
from examples.knowledge_base.shown import marked, show_answers, show_quality
from shoal.client.fused_results import FusedHit


def spans_of(text: Text) -> list[str]:
    return [text.plain[span.start : span.end] for span in text.spans if "bold" in str(span.style)]


def test_a_short_text_is_shown_whole() -> None:
    shown = marked("one two\nthree", [(4, 7)], 100)
    assert shown.plain == "one two three"
    assert spans_of(shown) == ["two"]


def test_the_part_with_most_spans_is_shown() -> None:
    text = "word " + "." * 300 + "first second third" + "." * 300
    begin = text.index("first")
    shown = marked(text, [(0, 4), (begin, begin + 5), (begin + 6, begin + 12), (begin + 13, begin + 18)], 60)
    assert spans_of(shown) == ["first", "second", "third"]
    assert len(shown.plain) == 60 + 6
    assert shown.plain.startswith("...")
    assert shown.plain.endswith("...")


def test_without_spans_the_beginning_is_shown() -> None:
    assert marked("x" * 10 + "y" * 10, [], 10).plain == "x" * 10 + "..."


def test_a_span_at_the_very_end_is_shown() -> None:
    text = "x" * 100 + "end"
    assert spans_of(marked(text, [(100, 103)], 50)) == ["end"]


def printed() -> tuple[Console, io.StringIO]:
    file = io.StringIO()
    return Console(file=file, width=200, highlight=False), file


def test_an_answer_cites_its_place() -> None:
    console, file = printed()
    payload = {"file": "docs/[a].md", "heading": "H", "title": "T > H", "body": "the body", "offset": 1234}
    show_answers(console, "what [is] it", [FusedHit(id=1, score=0.5, payload=payload, highlights={"body": ((4, 8),)})])
    lines = file.getvalue().splitlines()
    assert lines[0] == "? what [is] it"
    assert lines[1] == "  1. docs/[a].md, character 1,234, score 0.500"
    assert [each.strip() for each in lines[2:4]] == ["T > H", "the body"]


def test_no_answer_is_told() -> None:
    console, file = printed()
    show_answers(console, "q", [])
    assert "nothing was found" in file.getvalue()


def test_qualities_are_means() -> None:
    quality = quality_of([[1, 2], [3, 4]], [{2: 1.0}, {3: 1.0, 4: 1.0}])
    assert (quality.recall_1, quality.recall_10) == (0.25, 1.0)
    assert 0.8 < quality.ndcg_10 < 0.82
    console, file = printed()
    show_quality(console, "set", {"both": quality})
    assert "0.250" in file.getvalue()
    assert "1.000" in file.getvalue()
