"""Test the file of a payload index: it is read as it was written (see also test_agreement), and a file that contradicts
itself is refused.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.core.errors import DataLoss
from shoal.core.filter import Exists, In
from shoal.shard_worker.payload.matched import PayloadBounds
from shoal.shard_worker.payload.payload_file import MAGIC, decode_payloads
from shoal.shard_worker.payload.sealed import SealedPayloads
from tests.unit.shard_worker.payload.payloads import ROOMY, Payload, check, texts

ROWS: list[Payload] = [
    {"a": 3, "w": "one", "l": [1, 2.5, None, True], "o": {"x": "\ud800\udc00"}},
    None,
    {"a": 2**70, "w": "two", "long": "y" * 200, "l": False},
    {"a": 2.0, "w": ["one", "three"]},
]


def written(tmp_path: Path, rows: list[Payload] = ROWS, bounds: PayloadBounds = ROOMY) -> bytes:
    path = tmp_path / "some.payload"
    SealedPayloads.from_payloads(texts(rows), bounds).write(path)
    return path.read_bytes()


def test_equal_indexes_have_equal_files_after_reading(tmp_path: Path) -> None:
    data = written(tmp_path)
    path = tmp_path / "again.payload"
    SealedPayloads.read(tmp_path / "some.payload").write(path)
    assert path.read_bytes() == data


def test_every_truncation_and_any_addition_is_refused(tmp_path: Path) -> None:
    data = written(tmp_path)
    for size in range(len(data)):
        with pytest.raises(DataLoss):
            decode_payloads(data[:size])
    with pytest.raises(DataLoss, match="are used"):
        decode_payloads(data + b"\0")


def test_a_damaged_file_is_refused_or_reads_within_its_arrays(tmp_path: Path) -> None:
    """The hash finds every flipped bit. Even a file that passes must give an answer or DataLoss when it is read and
    matched.
    """
    data = written(tmp_path)
    body = len(MAGIC) + 8 + int.from_bytes(data[len(MAGIC) : len(MAGIC) + 8], "little")
    path = tmp_path / "flipped.payload"
    refused = 0
    for at in range(body, len(data)):
        path.write_bytes(data[:at] + bytes([data[at] ^ 0x80]) + data[at + 1 :])
        try:
            sealed = SealedPayloads.read(path)
        except DataLoss:
            refused += 1
            continue
        for filter in (In(path=("a",), values=(3,)), In(path=("w",), values=("one",)), Exists(path=("l",))):
            matched = sealed.match(filter, np.arange(4))
            assert not len(matched.sure | matched.unsure) or (matched.sure | matched.unsure).max() < 4
    assert refused > (len(data) - body) // 4


@given(garbage=st.binary(max_size=60))
@settings(max_examples=100, deadline=None)
def test_garbage_is_refused(garbage: bytes) -> None:
    for data in (garbage, MAGIC + garbage, MAGIC + len(garbage).to_bytes(8, "little") + garbage):
        with pytest.raises(DataLoss):
            decode_payloads(data)


@pytest.mark.parametrize("head", [{"rows": -1}, {"rows": True}, {"rows": 1.5}, {"paths": [["a"]]}, {"bounds": {"x": 1}}, {"sizes": 3}])
def test_a_head_that_cannot_be_is_refused(head: dict[str, object]) -> None:
    text = json.dumps({"rows": 0, "bounds": {}, "paths": [], "sizes": [0, 0, 0, 0], **head}).encode()
    with pytest.raises(DataLoss):
        decode_payloads(MAGIC + len(text).to_bytes(8, "little") + text)


def test_a_refusal_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "short.payload"
    path.write_bytes(MAGIC)
    with pytest.raises(DataLoss, match=r"payload index short\.payload: "):
        SealedPayloads.read(path)


def test_many_rows_come_back(tmp_path: Path) -> None:
    rows: list[Payload] = [{"a": at % 3, "w": f"w{at}"} if at % 5 else None for at in range(3_000)]
    written(tmp_path, rows, PayloadBounds(distinct_values=100))
    again = SealedPayloads.read(tmp_path / "some.payload")
    check(again, In(path=("a",), values=(2,)), rows)
    assert list(check(again, In(path=("w",), values=("w77",)), rows).unsure) == [77]
