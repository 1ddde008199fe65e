"""Test the comparison of two runs of the benchmark."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from bench import compare


def run_of(path: Path, ratio: float) -> Path:
    filters = {"label = 3": {"ratio": 2 * ratio}}
    figures = {"loads": {"c1": {"ratio": ratio}, "raw c1": {"qps": 1.0}}, "filters": filters, "load_and_seal_s": 3.0, "raw_build_s": 2.0}
    path.write_text(json.dumps(figures), encoding="utf-8")
    return path


def test_two_runs_are_compared_by_their_ratios(tmp_path, monkeypatch, capsys):
    runs = [run_of(tmp_path / name, ratio) for name, ratio in (("a.json", 0.2), ("b.json", 0.3))]
    monkeypatch.setattr(sys, "argv", ["compare", *map(str, runs)])
    assert compare.main() == 0
    told = [line.replace("│", " ").split() for line in capsys.readouterr().out.splitlines()]
    assert ["c1", "0.200", "0.300", "1.50", "x"] in told
    assert ["filter", "label", "=", "3", "0.400", "0.600", "1.50", "x"] in told
    assert not any("raw" in line[:1] for line in told)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "cannot be read"),
        ("[1", "cannot be read"),
        ("[1]", "no figures beside raw FAISS"),
        ('{"peers": []}', "no figures beside raw FAISS"),
    ],
)
def test_a_file_that_is_no_run_is_named_with_the_reason(tmp_path, monkeypatch, capsys, text, reason):
    wrong = tmp_path / "wrong.json"
    if text is not None:
        wrong.write_text(text, encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["compare", str(run_of(tmp_path / "a.json", 0.2)), str(wrong)])
    with pytest.raises(SystemExit, match="2"):
        compare.main()
    said = capsys.readouterr().err
    assert str(wrong) in said
    assert reason in said
