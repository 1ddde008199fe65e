"""What must not be in any text of the project: paths of somebody's machine, promises to do something later."""

from __future__ import annotations

import re

import pytest

from tests.house.source_tree import text_files
from tests.support.repository import ROOT

# Written in pieces, so that this file does not find itself.
MACHINE_PATHS = re.compile("|".join("/" + name + "/" for name in ("home", "root", "work", "Users", "opt/py" + "pi")))
LATER = re.compile(r"\b(?:TO" + "DO|FIX" + "ME|X" + r"XX)\b")


def places(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{file.relative_to(ROOT)}:{number}: {line.strip()[:80]}"
        for file in text_files()
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1)
        if pattern.search(line)
    ]


def test_the_texts_are_found() -> None:
    names = {str(file.relative_to(ROOT)) for file in text_files()}
    assert {"Makefile", "pyproject.toml", "README.md", ".ci/run", "deploy/setup.sh", "proto/shoal/v1/points.proto"} <= names


@pytest.mark.parametrize(("pattern", "sample"), [(MACHINE_PATHS, "see /ho" + "me/me/x"), (LATER, "# TO" + "DO: later")])
def test_absent(pattern: re.Pattern[str], sample: str) -> None:
    assert pattern.search(sample)
    assert places(pattern) == []
