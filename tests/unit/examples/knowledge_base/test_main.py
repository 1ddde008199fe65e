"""The command line, and the plot."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples.knowledge_base.__main__ import main, wanted
from examples.knowledge_base.chunks import CHUNK_CHARS
from examples.knowledge_base.plot import draw
from examples.knowledge_base.quality import Quality


def test_what_is_wanted() -> None:
    usual = wanted([])
    assert (usual.folder, usual.asked, usual.chars) == (None, (), CHUNK_CHARS)
    own = wanted(["texts", "--ask", "a", "--ask", "b", "--chars", "100"])
    assert (own.folder, own.asked, own.chars) == (Path("texts"), ("a", "b"), 100)


@pytest.mark.parametrize(
    ("words", "message"), [(["--chars", "99"], "--chars is 99, it must be from 100 to 100000"), (["--ask", " "], "--ask is empty")]
)
def test_bad_arguments_are_refused(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        wanted(words)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_a_folder_without_texts_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"error: {tmp_path} holds no text (.md, .txt)\n"


def test_the_plot_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    quality = Quality(recall_1=0.5, recall_10=0.9, ndcg_10=0.7)
    path = draw({"one": {"text": quality, "both": quality}, "two": {"text": quality}}, tmp_path / "plot.png")
    assert path.read_bytes()[:4] == b"\x89PNG"
