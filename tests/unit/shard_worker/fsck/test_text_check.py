"""Test the check of the texts of a segment: a good one is clean, each flipped byte and each wrong word is found."""

import dataclasses
import json
import shutil
import sqlite3

import numpy as np
import pytest

from shoal.core.text_fields import text_fields_from_input
from shoal.shard_worker.fsck.finding import Severity, Verdict
from shoal.shard_worker.storage.checksum import file_sha256, values_crc
from shoal.shard_worker.text.field_texts import FieldTexts
from shoal.shard_worker.text.sealed import write_anew
from tests.support.worker.engine_driver import Driven
from tests.support.worker.replica_bench import SPEC
from tests.support.worker.replica_on_disk import change, checked, flip, forge, found_in, make_worker

TEXT = text_fields_from_input({"note": "auto", "in.list": "raw"})
SPEC_OF_TEXTS = dataclasses.replace(SPEC, text=TEXT)
NOTES = ["red green", "green green blue", "red", "", "blue red blue"]


def payload(number, **changes):
    return json.dumps({"note": NOTES[number % 5], "in": {"list": ["x", f"y {number}"]}, **changes}).encode()


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    folder = tmp_path_factory.mktemp("template")
    driven = Driven(make_worker(folder, spec=SPEC_OF_TEXTS), SPEC_OF_TEXTS)
    ids = list(range(100, 130))
    driven.upsert(ids, np.random.default_rng(3).normal(size=(30, 4)).tolist(), [payload(number) for number in ids])
    while driven.build(everything=True):
        pass
    driven.delete([100, 101])
    driven.close()
    return folder


@pytest.fixture
def path(template, tmp_path):
    shutil.copytree(template, tmp_path / "worker")
    return tmp_path / "worker" / "collection" / "0" / "replica"


def text_file(path):
    (file,) = (path / "segments").glob("*.text")
    return file


def row_of(path, number):
    """Return the row of the store with this payload."""
    connection = sqlite3.connect(path / "store.db")
    ((row,),) = connection.execute("SELECT row FROM points WHERE payload = ?", (payload(number),))
    connection.close()
    return row


def test_a_good_replica_is_clean(path):
    report = checked(path)
    assert (report.verdict, report.findings) == (Verdict.CLEAN, ())
    assert text_file(path).stat().st_size > 0


@pytest.mark.parametrize("part", [0.0, 0.003, 0.02, 0.3, 0.5, 0.9, 1.0])
def test_a_flipped_byte_is_found_by_the_hash(path, part):
    file = text_file(path)
    flip(file, int(part * (file.stat().st_size - 1)))
    (finding,) = checked(path).findings
    assert (finding.file, finding.severity) == (str(file), Severity.DAMAGE)
    assert "sha256" in finding.meaning
    assert "indexes the segment's texts again" in finding.advice


def test_a_missing_file_is_found(path):
    text_file(path).unlink()
    (finding,) = checked(path).findings
    assert "is missing" in finding.meaning


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"note": "red"}, "note"),
        ({"note": "red green more"}, "note"),
        ({"note": "green red"}, "note"),
        ({"note": "red red green"}, "note"),
        ({"note": ["red", "green"]}, "note"),
        ({"note": 7}, "note"),
        ({"in": {"list": ["y 110", "x"]}}, "in.list"),
        ({"in": [{"list": "x"}]}, "in.list"),
        ({"note": "red  GREEN."}, None),
        ({"note": ["", "red green", 3]}, None),
    ],
)
def test_words_that_are_not_those_of_the_payload_are_a_defect(path, changes, field):
    """The payload in the store is changed, so that the index differs from it."""
    forge(path, row_of(path, 110), payload=payload(110, **changes))
    found = found_in(checked(path), ".text")
    if field is None:
        assert found == []
        return
    (finding,) = found
    assert (finding.file, finding.severity) == (str(text_file(path)), Severity.DAMAGE)
    assert f"text field {field!r}, positions " in finding.position
    assert "the words of 1 rows are not those of their payloads" in finding.meaning


def rewrite(path, texts, rows, fingerprint):
    """Write the file anew with these payloads, and let the store name it as it is then."""
    file = text_file(path)
    write_anew(file, [texts.indexed(rows)], fields=texts.names, fingerprint=fingerprint)
    connection = sqlite3.connect(path / "store.db")
    ((held, seq),) = connection.execute("SELECT rows, applied_seq FROM segments WHERE name = ?", (file.name,))
    connection.close()
    values = (file.name, file.stat().st_size, file_sha256(file), held, seq)
    change(path, "DELETE FROM segments WHERE name = ?", (file.name,))
    change(path, "INSERT INTO segments VALUES (?, ?, ?, ?, ?, ?)", (*values, values_crc(values)))
    return held


def test_an_index_of_other_rows_is_a_defect(path):
    texts = FieldTexts(TEXT)
    rewrite(path, texts, [{}], texts.fingerprint)
    (finding,) = found_in(checked(path), ".text")
    assert "it holds the texts of 1 rows" in finding.meaning


def test_an_index_of_analyzers_that_are_unknown_is_not_compared(path):
    texts = FieldTexts(TEXT)
    held = rewrite(path, texts, [{}] * 1, "made by a later version")
    rewrite(path, texts, [{}] * held, "made by a later version")
    report = checked(path)
    (finding,) = report.findings
    assert (report.verdict, finding.severity) == (Verdict.CLEAN, Severity.WARNING)
    assert "analyzers that this version does not have" in finding.meaning
