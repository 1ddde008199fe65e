"""Test the types of the SDK: a right program of a user passes mypy strict, and a program with mistakes does not."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.repository import ROOT

EXAMPLE = Path(__file__).with_name("typed_example.py")

MISTAKES = """
import shoal

async def wrong() -> None:
    client = shoal.connect_async("a:1")
    number: str = await client.count("things")
    hits = client.search("things", [0.0])
    for hit in hits:
        print(hit)
    client.upsert_batches("things", 7)
    await client.search("things", text="x", offset="1", tresshold=0.5)
"""


def mypy(file: Path) -> tuple[int, str]:
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", str(file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=170, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.timeout(175)
def test_a_program_of_a_user_passes_strict(tmp_path: Path) -> None:
    assert mypy(EXAMPLE) == (0, "")
    (tmp_path / "mistakes.py").write_text(MISTAKES)
    code, said = mypy(tmp_path / "mistakes.py")
    assert code == 1
    assert [line for line in (6, 8, 10, 11) if f"mistakes.py:{line}: error" not in said] == [], said
