"""Test that a plan in a file comes back whole, and that a bad file is refused by its first fault."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from shoal.cli import plan_file
from shoal.cli.plan_file import document_of, read_plan, write_plan
from shoal.core.errors import InvalidArgument
from shoal.core.rebalance import PinnedShard, RebalancePlan
from tests.support.examples.rebalances import plans
from tests.twins.balancing import PLAN, shard

WHOLE = dataclasses.replace(PLAN, pinned=(PinnedShard(collection="raw", shard=shard("raw", 0), why="untold"),), left=("why",))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plans)
def test_a_plan_comes_back_whole(tmp_path: Path, plan: RebalancePlan) -> None:
    file = tmp_path / "plan.json"
    write_plan(file, plan)
    assert read_plan(file) == plan
    assert list(tmp_path.iterdir()) == [file]


def test_the_names_in_a_document_are_those_that_are_promised() -> None:
    document = document_of(WHOLE)
    assert set(document) >= {
        "plan",
        "revision",
        "fingerprint",
        "tolerance",
        "workers",
        "moves",
        "hand_overs",
        "bytes",
        "least_bytes",
        "seconds",
    }
    assert set(document["workers"][0]) >= {"id", "zone", "bytes", "target", "after", "primaries", "primaries_after"}
    assert set(document["moves"][0]) >= {"n", "collection", "shard", "from", "to", "memory", "disk", "why"}
    assert set(document["hand_overs"][0]) >= {"collection", "shard", "from", "to"}
    assert document["pinned"] == [{"shard": "raw/0", "collection_id": "id-raw", "why": "untold"}]


def changed(path: list[Any], value: Any) -> Any:
    """Return the document of a plan with another value at a place."""
    document = json.loads(json.dumps(document_of(WHOLE)))
    at = document
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return document


FAULTS: list[tuple[list[Any], Any, str]] = [
    (["plan"], 7, "plan is 7, it must be a text"),
    (["kind"], "nightly", "kind is 'nightly', it must be the kind of a plan"),
    (["kind"], "unknown", "kind is 'unknown', it must be the kind of a plan"),
    (["revision"], -1, "revision is -1, it must be a whole number from 0 to 18446744073709551615"),
    (["revision"], 2**64, "revision is 18446744073709551616, it must be a whole number"),
    (["revision"], True, "revision is True, it must be a whole number"),
    (["replicas"], 2**32, "replicas is 4294967296, it must be a whole number from 0 to 4294967295"),
    (["tolerance"], "5%", "tolerance is '5%', it must be a number of at least 0"),
    (["tolerance"], -0.5, "tolerance is -0.5, it must be a number of at least 0"),
    (["moves"], {}, "moves is {}, it must be a list"),
    (["moves", 0], None, "moves[0] is None, it must be an object"),
    (["moves", 1, "from"], None, "moves[1].from is None, it must be a text"),
    (["moves", 2, "shard"], 1.5, "moves[2].shard is 1.5, it must be a whole number"),
    (["moves", 2, "memory"], "1 GiB", "moves[2].memory is '1 GiB', it must be a whole number"),
    (["hand_overs", 0, "n"], "4", "hand_overs[0].n is '4', it must be a whole number"),
    (["workers", 3, "draining"], 0, "workers[3].draining is 0, it must be true or false"),
    (["pinned", 0, "shard"], "raw", "pinned[0].shard is 'raw', it must be a shard, as in fashion/0"),
    (["pinned", 0, "shard"], "raw/x", "pinned[0].shard is 'raw/x', it must be a shard, as in fashion/0"),
    (["left"], ["a", 1], "left[1] is 1, it must be a text"),
]


@pytest.mark.parametrize(("path", "value", "said"), FAULTS)
def test_a_fault_is_named_by_its_place(tmp_path: Path, path: list[Any], value: Any, said: str) -> None:
    file = tmp_path / "plan.json"
    file.write_text(json.dumps(changed(path, value)))
    with pytest.raises(InvalidArgument) as caught:
        read_plan(file)
    assert caught.value.message.startswith(f"{file} is no plan of `shoal rebalance plan`: {said}")
    assert caught.value.details.field == "plan"


@pytest.mark.parametrize(
    "path", [["fingerprint"], ["workers"], ["moves", 1, "to"], ["workers", 0, "id"], ["hand_overs", 0, "collection_id"]]
)
def test_what_is_missing_is_named(tmp_path: Path, path: list[Any]) -> None:
    document = at = json.loads(json.dumps(document_of(WHOLE)))
    for key in path[:-1]:
        at = at[key]
    del at[path[-1]]
    file = tmp_path / "plan.json"
    file.write_text(json.dumps(document))
    place = ".".join(f"[{each}]" if isinstance(each, int) else each for each in path).replace(".[", "[")
    with pytest.raises(InvalidArgument, match=r"is missing$") as caught:
        read_plan(file)
    assert f": {place} is missing" in caught.value.message


@pytest.mark.parametrize("text", ["", "{", "plan 8c1f09", '{"tolerance": NaN}', '{"tolerance": Infinity}', "[" * 100_000, "\udcff"])
def test_a_file_that_is_no_json_is_told(tmp_path: Path, text: str) -> None:
    file = tmp_path / "plan.json"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(InvalidArgument, match=r"is no JSON document; `shoal rebalance plan -o FILE` writes one$"):
        read_plan(file)


def test_a_huge_file_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_file, "MOST_BYTES", 10)
    write_plan(tmp_path / "plan.json", PLAN)
    with pytest.raises(InvalidArgument, match="has more than 10 bytes, so it is no plan"):
        read_plan(tmp_path / "plan.json")


def test_a_folder_that_is_not_there_is_an_error_of_the_system_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_plan(tmp_path / "none" / "plan.json", PLAN)
    assert list(tmp_path.iterdir()) == []
