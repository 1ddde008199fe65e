from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from examples.knowledge_base.fit import fit
from examples.knowledge_base.questions import Question
from shoal.core.errors import Internal


def test_what_the_command_refuses_is_told(tmp_path: Path) -> None:
    questions = [Question(text=f"q{each}", judged={each: 1.0}) for each in range(3)]
    with pytest.raises(Internal, match=r"ended with 1: .*3 queries of .*kb-queries\.jsonl with a relevant point .*10 to 20,000 are needed"):
        fit("127.0.0.1:9", tmp_path, "kb", questions, np.eye(3, dtype=np.float32))
    assert (tmp_path / "kb-qrels.tsv").read_text() == "0\t0\t1\n1\t1\t1\n2\t2\t1\n"
    assert (tmp_path / "kb-queries.jsonl").read_text().splitlines()[1] == '{"id": "1", "text": "q1", "vector": [0.0, 1.0, 0.0]}'
