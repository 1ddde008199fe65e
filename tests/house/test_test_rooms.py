"""Tests lie where a newcomer looks for them: unit tests mirror the product's rooms, stand-ins have one name each."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from tests.house.source_tree import PACKAGES, python_files
from tests.support.repository import ROOT

UNIT = ROOT / "tests" / "unit"
STAND_INS = ("tests/support", "tests/twins")


def class_names(files: Iterable[Path]) -> dict[str, list[str]]:
    """Return the files that define each class at their top, by its name."""
    found = defaultdict[str, list[str]](list)
    for file in files:
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name].append(str(file.relative_to(ROOT)))
    return found


def test_a_unit_test_lies_in_the_room_of_what_it_tests() -> None:
    rooms = {file.parent.relative_to(UNIT) for file in UNIT.rglob("test_*.py")}
    assert len(rooms) > 20
    assert sorted(str(room) for room in rooms if not (ROOT / room).is_dir()) == []


def test_what_unit_tests_of_several_rooms_share_is_no_unit_test() -> None:
    """A helper of one folder and of those below it stays there; another one belongs to tests/support or tests/twins."""
    folders = {f"tests.unit.{'.'.join(file.parent.relative_to(UNIT).parts)}" for file in UNIT.rglob("*.py")}
    strangers = [
        f"{file.relative_to(ROOT)} imports {module}"
        for file in python_files("tests")
        for module in sorted(_imported(file))
        if module.startswith("tests.unit.") and module not in folders and not _is_below(file, module)
    ]
    assert strangers == []


def test_a_stand_in_has_a_class_name_of_its_own() -> None:
    stand_ins = class_names(python_files(*STAND_INS))
    assert len(stand_ins) > 20
    product = class_names(python_files(*PACKAGES))
    assert {name: [*files, *product.get(name, ())] for name, files in stand_ins.items() if len(files) > 1 or name in product} == {}


def _imported(file: Path) -> set[str]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}


def _is_below(file: Path, module: str) -> bool:
    """Return whether the file lies in the folder of the module, or in one below it."""
    return file.is_relative_to((ROOT / Path(*module.split("."))).parent)
