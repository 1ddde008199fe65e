"""Damage the index of texts of a small replica: it is made anew, no answer changes, and all other files stay."""

from __future__ import annotations

import dataclasses
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from shoal.core.filter import In
from shoal.core.text_fields import text_fields_from_input
from shoal.core.text_query import TextAsk
from tests.support.scope import LONG
from tests.support.worker.engine_driver import Driven
from tests.support.worker.replica_bench import SPEC
from tests.support.worker.replica_on_disk import checked, flip, make_worker
from tests.support.worker.replica_texts import Scored, found_texts

SPEC_OF_TEXTS = dataclasses.replace(SPEC, text=text_fields_from_input({"note": "auto", "in.list": "raw"}))
ASKS = (TextAsk(text="red fishes 7"), TextAsk(text="数据 blue", must=("blue",)), TextAsk(text="x", fields=(("in.list", 2.0),)))
FLIPS = 24


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a replica with sealed and growing rows, of which some are dead. Tests must not change it."""
    folder = tmp_path_factory.mktemp("good")
    path = make_worker(folder, spec=SPEC_OF_TEXTS)
    driven = Driven(path, SPEC_OF_TEXTS)
    for first in range(100, 140, 10):
        ids = list(range(first, first + 10))
        notes = [f"{'red' if number % 3 else 'blue blue'} fish 数据库 {number % 8}" for number in ids]
        driven.upsert(ids, [[float(number), 1.0, 2.0, 3.0] for number in ids], [b'{"note":"%s","n":1}' % note.encode() for note in notes])
    while driven.build(everything=True):
        pass
    driven.delete([100, 111, 122])
    driven.upsert([101, 200], [[1.0] * 4, [2.0] * 4], [b'{"note":"red red"}', b'{"note":"blue fish"}'])
    driven.close()
    return path


def found(path: Path) -> list[Scored]:
    """Open the replica and search its texts."""
    driven = Driven(path, SPEC_OF_TEXTS)
    try:
        return [found_texts(driven.engine, ask, 20, wanted) for ask in ASKS for wanted in (None, In(("n",), (1,)))]
    finally:
        driven.close()


def copied(good: Path, folder: Path) -> Path:
    target = folder / "collection" / "0" / good.name
    shutil.rmtree(folder / "collection", ignore_errors=True)
    shutil.copytree(good, target)
    shutil.copy(good.parents[2] / "worker.json", folder)
    return target


def others(path: Path) -> dict[str, bytes]:
    """Return the segment files other than those of texts."""
    return {file.name: file.read_bytes() for file in (path / "segments").iterdir() if file.suffix != ".text"}


def text_file(path: Path) -> Path:
    (file,) = (path / "segments").glob("*.text")
    return file


@pytest.mark.timeout(1_800)
def test_a_flipped_byte_anywhere_is_noticed_and_only_the_texts_are_made_anew(good: Path, tmp_path: Path) -> None:
    truth = found(copied(good, tmp_path))
    assert all(truth[: 2 * len(ASKS)])
    size = text_file(good).stat().st_size
    chance = random.Random(size)
    places = range(size) if LONG else sorted({0, 8, 20, size - 1, *chance.sample(range(size), FLIPS)})
    for at in places:
        path = copied(good, tmp_path)
        flip(text_file(path), at, chance.randrange(8))
        assert [finding.file for finding in checked(path).findings] == [str(text_file(path))], at
        _is_mended(path, good, truth, f"byte {at}")


@pytest.mark.parametrize("harm", [Path.unlink, lambda file: file.write_bytes(b""), lambda file: file.write_bytes(file.read_bytes()[:-1])])
def test_a_lost_file_of_texts_is_made_anew(good: Path, tmp_path: Path, harm: Callable[[Path], object]) -> None:
    truth = found(copied(good, tmp_path))
    path = copied(good, tmp_path)
    harm(text_file(path))
    _is_mended(path, good, truth, "the file")


def _is_mended(path: Path, good: Path, truth: list[Scored], what: str) -> None:
    assert found(path) == truth, what
    assert others(path) == others(good), what
    assert checked(path).findings == (), what
