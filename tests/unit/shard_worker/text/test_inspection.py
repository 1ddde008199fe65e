from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from shoal.core.errors import DataLoss
from shoal.shard_worker.text.indexing import table_of
from shoal.shard_worker.text.inspection import inspect_texts
from shoal.shard_worker.text.part import FieldPart, TextPart
from shoal.shard_worker.text.vocabulary import Vocabulary
from tests.unit.shard_worker.text.letters import text

WHOLE = table_of([text("a b a"), text("a")])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"words": Vocabulary.of([b"b", b"a"])}, "words are out of order"),
        ({"starts": np.array([0, 0, 3])}, "a word has no rows"),
        ({"rows": np.array([0, 2, 0], dtype=np.uint32)}, "row 2 of 2 is named"),
        ({"rows": np.array([1, 0, 0], dtype=np.uint32)}, "the rows of a word are out of order"),
        ({"counts": np.array([2, 0, 1], dtype=np.uint16)}, "a word occurs 0 times in one of its rows"),
        ({"positions": np.array([2, 0, 0, 1], dtype=np.uint16)}, "the positions of a word in a row are out of order"),
        ({"positions": np.array([0, 2, 0], dtype=np.uint16)}, "a word has not one position for each time it occurs"),
        ({"lengths": np.array([4, 1], dtype=np.uint32)}, "a row has another length than its words"),
        ({"lengths": np.array([3, 0], dtype=np.uint32)}, "a row has another length than its words"),
        ({"tokens": 5}, "the sum of the lengths is wrong"),
        ({"most": np.array([1, 1], dtype=np.uint16)}, "a word has another largest count than its rows"),
        ({"shortest": np.array([1, 1], dtype=np.uint32)}, "a word has another shortest row than its rows"),
    ],
)
def test_a_contradiction_is_named(changes: dict[str, object], reason: str) -> None:
    inspect_texts(TextPart(rows=2, fields={"body": FieldPart([WHOLE])}, fingerprint=""))
    damaged = TextPart(rows=2, fields={"body": FieldPart([replace(WHOLE, **changes)])}, fingerprint="")
    with pytest.raises(DataLoss, match=f"text field 'body': {reason}"):
        inspect_texts(damaged)
