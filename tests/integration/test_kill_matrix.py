"""Run the short kill matrix: each process is killed, and those other faults are tried that take another course. All
twelve cells: `make kill-matrix`.

test_standby covers a leader that is frozen or cut off. Stopping a leader, etcd or a router differs little from killing
it.
"""

from __future__ import annotations

import pytest
from rich.console import Console

from tests.chaos.kill_matrix import FAULTS, IN_WORDS, TARGETS, TTL_S, Row, drawn, matrix_cluster, run_cell
from tests.chaos.load import Load
from tests.support.cluster.role_cluster import RoleCluster
from tests.support.scope import LOAD_PAUSES

IN_SHORT = (
    ("worker", "kill"),
    ("router", "kill"),
    ("leader", "kill"),
    ("etcd", "kill"),
    ("worker", "freeze"),
    ("etcd", "freeze"),
    ("worker", "stop"),
)
LONGEST_GAP_S = 10.0
"""Longest time without an answer to writes or searches while a process is killed and starts again. The time for which a
process is frozen comes in addition.
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory):
    with matrix_cluster(tmp_path_factory.mktemp("matrix")) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def load(cluster: RoleCluster):
    with Load(cluster.addresses, pauses=LOAD_PAUSES) as load:
        yield load


@pytest.fixture(scope="module")
def rows():
    rows: list[Row] = []
    yield rows
    Console(width=130).print(drawn(rows))


@pytest.mark.parametrize(("target", "fault"), IN_SHORT, ids=lambda word: IN_WORDS.get(word, word))
def test_a_fault_under_load_loses_nothing_and_heals_by_itself(cluster, load, rows, target, fault):
    row = run_cell(cluster, load, target, fault)
    rows.append(row)
    assert (row.lost, row.wrong, row.failed) == ([], [], {})
    assert row.acknowledged > 0
    assert row.searches > 0
    allowed_s = LONGEST_GAP_S + (3 * TTL_S if fault == "freeze" else 0)
    assert max(row.write_gap_s, row.search_gap_s) < allowed_s


def test_the_short_form_names_cells_of_the_matrix():
    assert {target for target, _ in IN_SHORT} == set(TARGETS)
    assert {fault for _, fault in IN_SHORT} == set(FAULTS)
