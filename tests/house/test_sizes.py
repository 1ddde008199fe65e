"""One concept a file, small functions: the hard bounds."""

from __future__ import annotations

from tests.house.source_tree import PACKAGES, python_files, spans
from tests.support.repository import ROOT

MOST_FILE_LINES = 500
MOST_FUNCTION_LINES = 60
FOLDERS = (*PACKAGES, "tests", "bench", "examples")


def test_files_are_small() -> None:
    sizes = {str(file.relative_to(ROOT)): len(file.read_text(encoding="utf-8").splitlines()) for file in python_files(*FOLDERS)}
    assert len(sizes) > 50
    assert {path: lines for path, lines in sizes.items() if lines > MOST_FILE_LINES} == {}


def test_functions_are_small() -> None:
    large = [
        f"{file.relative_to(ROOT)}: {span.name} has {span.lines} lines"
        for file in python_files(*FOLDERS)
        for span in spans(file.read_text(encoding="utf-8"))
        if span.lines > MOST_FUNCTION_LINES
    ]
    assert large == []


def test_a_large_function_is_measured_wherever_it_hides() -> None:
    body = "\n".join(f"            x{number} = {number}" for number in range(70))
    source = f"class A:\n    def outer(self):\n        async def inner():\n{body}\n"
    assert [(span.name, span.lines > MOST_FUNCTION_LINES) for span in spans(source)] == [("A.outer", True), ("A.outer.inner", True)]
