"""The source tree as the house tests see it: files, functions, imports."""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.support.repository import ROOT

PACKAGES = ("shoal", "coordinator", "shard_worker", "router", "deploy")
TEXT_SUFFIXES = {".py", ".pyi", ".md", ".toml", ".proto", ".sh", ".txt", ".yaml", ".yml", ".json", ""}
TEXT_FOLDERS = (*PACKAGES, "proto", "tests", "docs", "bench", "examples", ".ci")


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """A function. name: dotted within its file; lines: from its `def` to its end."""

    name: str
    lines: int


def python_files(*folders: str, root: Path = ROOT) -> list[Path]:
    """Python files below the folders, ascending; generated stubs are left out."""
    found = (file for folder in folders for file in (root / folder).rglob("*.py"))
    return sorted(file for file in found if not is_generated(file))


def is_generated(file: Path) -> bool:
    """Whether protoc wrote the file."""
    return "_pb2" in file.name


def text_files() -> list[Path]:
    """Every text that people wrote: source, documents, scripts."""
    below = (file for folder in TEXT_FOLDERS for file in (ROOT / folder).rglob("*"))
    candidates = [*below, *ROOT.glob("*")]
    return sorted(
        file
        for file in candidates
        if file.is_file() and file.suffix in TEXT_SUFFIXES and "__pycache__" not in file.parts and not is_generated(file)
    )


def pages() -> list[Path]:
    """Every document of the project."""
    return [file for file in text_files() if file.suffix == ".md"]


def prose(source: str) -> list[tuple[int, str]]:
    """Return the comments and docstrings of a source text, each with the number of its first line."""
    comments = [
        (token.start[0], token.string) for token in tokenize.generate_tokens(io.StringIO(source).readline) if token.type == tokenize.COMMENT
    ]
    docstrings = [
        (node.lineno, node.value.value)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    ]
    return sorted([*comments, *docstrings])


@cache
def spans(source: str) -> tuple[Span, ...]:
    """Return all functions in a source text."""
    return tuple(_spans(ast.parse(source), ""))


@cache
def imports(source: str) -> frozenset[str]:
    """Return the dotted names of all modules that a source text imports, at its top or within functions."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return frozenset(found)


def _spans(node: ast.AST, prefix: str) -> Iterator[Span]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.expr):
            continue  # No function is defined within an expression.
        inner = prefix
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            inner = f"{prefix}{child.name}."
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield Span(name=prefix + child.name, lines=(child.end_lineno or child.lineno) - child.lineno + 1)
        yield from _spans(child, inner)
