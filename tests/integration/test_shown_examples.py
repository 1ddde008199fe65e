"""Test that the first examples of the documents do what they say, on a real cluster."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

import pytest

import shoal
from shoal.core.errors import NotFound
from tests.support.cluster.role_cluster import RoleCluster

ROOT = Path(__file__).parents[2]


@pytest.fixture
def no_things(client: shoal.Client):
    """Drop the collection `things`, which the examples create. Tests of other files create it on the shared cluster,
    too.
    """
    _drop(client)
    yield
    _drop(client)


def _drop(client: shoal.Client) -> None:
    with contextlib.suppress(NotFound):
        client.drop_collection("things")


@pytest.mark.usefixtures("no_things")
@pytest.mark.parametrize(("page", "shown"), [("README.md", "100 answers, 10000 points"), ("docs/quickstart.md", "10000 2000")])
def test_the_first_example_of_a_page_runs(page: str, shown: str, shared_cluster: RoleCluster, capsys: pytest.CaptureFixture[str]) -> None:
    example = re.findall(r"^```python\n(.*?)^```$", (ROOT / page).read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)[0]
    assert example.count("localhost:7600") == 1
    exec(compile(example.replace("localhost:7600", shared_cluster.address), page, "exec"), {})
    assert shown in capsys.readouterr().out
