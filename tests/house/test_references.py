"""What code, tests and documents refer to exists: files, sections, decisions and invariants by number."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from shoal.shard_worker.storage.store.schema import _TABLES
from tests.house.source_tree import PACKAGES, ROOT, pages, prose, python_files, text_files
from tests.simulation.mutations import MUTATIONS

TOP = (*PACKAGES, "tests", "docs", "proto", "bench", "examples")
REPLICATION = ROOT / "docs/design/replication.md"
HISTORY = ROOT / "CHANGELOG.md"

QUOTED = re.compile(r"`([\w.-]+(?:/[\w.-]+)*/?)`")
PLAIN = re.compile(rf"\b((?:{'|'.join(TOP)})/[\w./-]+\.(?:py|md|proto|toml|sh))\b")
LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")
SECTION = re.compile(r'\b(docs/[\w/-]+\.md), "([^"]+)"')
MODULE = re.compile(r"\bshoal(?:\.[a-z_]\w*){2,}")
DECISION = re.compile(r"\bADRs? (\d+)")
INVARIANT = re.compile(r"\b(?:invariants?|inv) (\d+(?:(?:, | and |, and )\d+)*)")
VAGUE = re.compile(r"\breplication design\b|\bdesign of replication\b|\bdesign: |(?<!docs/design/)\breplica\.md\b")


def without_blocks(text: str) -> str:
    """A document without what stands between fences; lines keep their numbers."""
    return re.sub(r"^```.*?^```$", lambda found: "\n" * found.group().count("\n"), text, flags=re.MULTILINE | re.DOTALL)


def joined(text: str) -> str:
    """A text whose lines are joined, so that a reference may be broken at a line's end."""
    return re.sub(r"\s*\n\s*(?:#|//)?\s*", " ", text)


def slugs(page: Path) -> set[str]:
    """Anchors of the headings of a page, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", without_blocks(page.read_text(encoding="utf-8")), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def headings_of(page: Path) -> set[str]:
    return set(re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE))


@cache
def texts() -> list[tuple[str, str]]:
    """Documents, and the comments and docstrings of code, each with its place."""
    return list(_texts())


def _texts() -> Iterator[tuple[str, str]]:
    for page in pages():
        if page != HISTORY:
            yield str(page.relative_to(ROOT)), page.read_text(encoding="utf-8")
    for file in python_files(*PACKAGES, "tests", "bench", "examples"):
        for line, text in prose(file.read_text(encoding="utf-8")):
            yield f"{file.relative_to(ROOT)}:{line}", text
    for file in text_files():
        if file.suffix in (".proto", ".toml") or file.name == "Makefile":
            yield str(file.relative_to(ROOT)), file.read_text(encoding="utf-8")


def is_path(token: str) -> bool:
    """Whether a quoted token names a file or folder of the project."""
    first = token.partition("/")[0]
    return token.endswith((".py", ".proto")) or ("/" in token and first in TOP)


def is_module(name: str) -> bool:
    """Whether a dotted name is that of a module or package, or of something that one of them names."""
    path = ROOT.joinpath(*name.split("."))
    if path.is_dir() or path.with_suffix(".py").exists():
        return True
    above = (path.parent.with_suffix(".py"), path.parent / "__init__.py")
    return any(file.exists() and re.search(rf"\b{path.name}\b", file.read_text(encoding="utf-8")) for file in above)


def decisions() -> set[int]:
    return {int(file.name[:4]) for file in (ROOT / "docs/adr").glob("[0-9]*.md")}


def invariants() -> set[int]:
    chapter = REPLICATION.read_text(encoding="utf-8").partition("## Invariants\n")[2].partition("\n## ")[0]
    return {int(number) for number in re.findall(r"^(\d+)\. \*\*", chapter, flags=re.MULTILINE)}


def numbers_in(pattern: re.Pattern[str], text: str) -> set[int]:
    return {int(number) for group in pattern.findall(joined(text)) for number in re.findall(r"\d+", group)}


@pytest.mark.parametrize("page", [page for page in pages() if page != HISTORY], ids=lambda page: str(page.relative_to(ROOT)))
def test_paths_in_a_page_exist(page: Path) -> None:
    quoted = {token for token in QUOTED.findall(without_blocks(page.read_text(encoding="utf-8"))) if is_path(token)}
    assert sorted(token for token in quoted if not (ROOT / token).exists() and not (page.parent / token).exists()) == []


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_of_a_page_resolve(page: Path) -> None:
    dead = []
    for target in LINK.findall(without_blocks(page.read_text(encoding="utf-8"))):
        path, _, anchor = target.partition("#")
        file = page if not path else (page.parent / path).resolve()
        if "://" not in target and (not file.exists() or (anchor and anchor not in slugs(file))):
            dead.append(target)
    assert dead == []


def test_paths_in_comments_and_docstrings_exist() -> None:
    found = [(place, path) for place, text in texts() if not place.endswith(".md") for path in PLAIN.findall(text)]
    assert len(found) > 20
    assert [each for each in found if not any((base / each[1]).exists() for base in (ROOT, ROOT / "proto"))] == []


def test_modules_that_are_named_exist() -> None:
    found = [(place, name) for place, text in texts() for name in MODULE.findall(text)]
    assert len(found) > 20
    assert [each for each in found if not is_module(each[1])] == []


def test_sections_that_are_cited_exist() -> None:
    found = [(place, page, section) for place, text in texts() for page, section in SECTION.findall(joined(text))]
    assert found
    assert [each for each in found if each[2] not in headings_of(ROOT / each[1])] == []


def test_decisions_that_are_cited_exist() -> None:
    known = decisions()
    assert len(known) > 10
    assert {place: wrong for place, text in texts() if (wrong := numbers_in(DECISION, text) - known)} == {}


def test_the_index_of_decisions_lists_each_with_its_title() -> None:
    index = (ROOT / "docs/adr/README.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| \[\d{4}\]\((\d{4}[\w-]*\.md)\) \| (.*) \|$", index, flags=re.MULTILINE))
    titles = {
        file.name: file.read_text(encoding="utf-8").splitlines()[0].removeprefix(f"# {file.name[:4]} ")
        for file in (ROOT / "docs/adr").glob("[0-9]*.md")
    }
    assert rows == titles


def test_invariants_that_are_cited_are_numbered_in_the_design() -> None:
    known = invariants()
    assert known == set(range(1, len(known) + 1))
    cited = {place: numbers_in(INVARIANT, text) for place, text in texts()}
    simulation = "\n".join(file.read_text(encoding="utf-8") for file in python_files("tests/simulation"))
    assert {place: numbers - known for place, numbers in cited.items() if numbers - known} == {}
    assert numbers_in(INVARIANT, simulation) == known, "the simulation checks each"


def test_the_design_is_cited_by_its_page() -> None:
    assert [place for place, text in texts() if not place.startswith("tests/house") and VAGUE.search(joined(text))] == []


def test_the_rules_of_replication_are_those_that_mutations_break() -> None:
    chapter = REPLICATION.read_text(encoding="utf-8").partition("## Rules that keep them\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (\* )?(.*?) \| `[\w/.]+` \|$", chapter, flags=re.MULTILINE)
    told = {(rule.replace("\\|", "|"), star == "* ") for star, rule in rows}
    assert told == {(mutation.rule, mutation.starred) for mutation in MUTATIONS}


def test_the_schema_in_the_design_is_the_one_that_is_created() -> None:
    page = (ROOT / "docs/design/storage.md").read_text(encoding="utf-8")
    told = " ".join(re.findall(r"^```sql\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL)[0].split())
    assert told == " ".join(_TABLES)


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (QUOTED, "`shard_worker/no/such.py`"),
        (PLAIN, "see tests/no/such.py"),
        (LINK, "[x](no.md)"),
        (SECTION, 'docs/no.md, "No section"'),
        (MODULE, "see shoal.core.no_such"),
        (DECISION, "ADR 99"),
        (INVARIANT, "(invariants 2 and 44)"),
        (VAGUE, "as the replication design says"),
    ],
)
def test_a_reference_is_noticed(pattern: re.Pattern[str], text: str) -> None:
    assert pattern.search(text)
