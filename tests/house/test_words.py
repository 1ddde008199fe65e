"""One word for each thing: retired words are gone, and a class name stands for one thing in the whole tree."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

import pytest

from tests.house.source_tree import PACKAGES, ROOT, python_files, text_files

EXEMPT = {"CHANGELOG.md", "docs/README.md", "tests/house/test_words.py"}
"""What was, the list of retired words, and this."""

RETIRED = re.compile(
    r"(?i:reign)"  # term
    r"|(?<![A-Za-z])(?i:heirs?)(?![A-Za-z])"  # candidate
    r"|\b(?i:rising)\b"  # candidate
    r"|(?<![A-Za-z])(?i:bells?)(?![A-Za-z])"  # change signal
    r"|(?<![A-Za-z])(?i:births?)(?![A-Za-z])"  # initial placement, creation
    r"|(?i:usurp)"  # another process, another incarnation
    r"|(?i:broken[ _]replica|replica (?:is|was) broken)"  # failed
)
"""Anywhere, parts of names included; "foreign" is none of them."""

COPIES = re.compile(
    r"(?i:\bcop(?:y|ies) (?:of|in) (?:a|each|its|the|every) shard\b"
    r"|\bcop(?:y|ies) (?:in sync|(?:that )?a write)\b"
    r"|\b(?:intact|damaged|live|lost|believed|last|only|in-sync|three|two|another) cop(?:y|ies)\b(?! of))"
)
"""Where a replica is meant: in the product, its protocol and its documents."""


def places(pattern: re.Pattern[str], files: list[Path]) -> list[str]:
    return [
        f"{file.relative_to(ROOT)}:{number}: {line.strip()[:80]}"
        for file in files
        if str(file.relative_to(ROOT)) not in EXEMPT
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1)
        if pattern.search(line.replace("foreign", "").replace("Foreign", ""))
    ]


def class_names() -> dict[str, set[str]]:
    """Files of every class, by name."""
    found: dict[str, set[str]] = defaultdict(set)
    counted: dict[str, int] = defaultdict(int)
    for file in python_files(*PACKAGES):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                found[node.name].add(str(file.relative_to(ROOT)))
                counted[node.name] += 1
    return {name: files for name, files in found.items() if counted[name] > 1}


def test_retired_words_are_gone() -> None:
    assert places(RETIRED, text_files()) == []


def test_a_replica_is_not_called_a_copy() -> None:
    files = [file for file in text_files() if file.relative_to(ROOT).parts[0] in (*PACKAGES, "proto", "docs") or file.suffix == ".md"]
    assert places(COPIES, files) == []


@pytest.mark.parametrize("text", ["next_reign", "class Reign:", "the heir", "it is rising", "bell.ring()", "at birth", "a broken replica"])
def test_a_retired_word_is_noticed(text: str) -> None:
    assert RETIRED.search(text)


@pytest.mark.parametrize("text", ["their", "foreign", "label", "birthday", "a broken pipe", "comprising"])
def test_other_words_are_not(text: str) -> None:
    assert not RETIRED.search(text.replace("foreign", ""))


def test_a_class_name_stands_for_one_thing() -> None:
    assert class_names() == {}
