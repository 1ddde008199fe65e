"""Tests of the figures and of what is kept: percentiles, the verdict, the logs."""

from __future__ import annotations

import json
import math
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tests.chaos.campaign import Figures
from tests.chaos.grounds import copy_logs
from tests.chaos.judge import Kind
from tests.chaos.outages import in_words, percentile


@given(st.lists(st.floats(0, 100), min_size=1), st.floats(0.01, 1.0))
def test_a_percentile_is_the_least_value_that_covers_its_share(seconds, share):
    found = percentile(seconds, share)
    assert found in seconds
    assert sum(each <= found for each in seconds) >= math.floor(share * len(seconds))
    assert sum(each < found for each in seconds) < math.ceil(share * len(seconds))


def test_percentiles_of_nothing_and_of_a_hundred():
    assert percentile([], 0.5) == 0.0
    hundred = [float(number) for number in range(1, 101)]
    assert (percentile(hundred, 0.5), percentile(hundred, 0.99), percentile(hundred, 1.0)) == (50.0, 99.0, 100.0)
    assert in_words(hundred, 2).startswith("100 failovers, lease of 2 s: a shard took no writes for 50.00 s (p50), 99.00 s (p99)")


def test_a_run_is_good_only_without_any_fault():
    assert Figures(seed=1, ttl_s=2).good
    stale, failed, unhealed, slow = (Figures(seed=1, ttl_s=2) for _ in range(4))
    stale.counts[Kind.STALE] += 1
    failed.failed["Unavailable"] += 1
    unhealed.findings.append("waited in vain")
    slow.longest_call_s = 41.0
    assert not any(figures.good for figures in (stale, failed, unhealed, slow))
    assert json.loads(json.dumps(failed.document()))["failed_calls"] == {"Unavailable": 1}


def test_logs_of_roles_are_kept_and_those_of_replicas_are_not(tmp_path: Path):
    source, kept = tmp_path / "cluster", tmp_path / "kept"
    for name in ("worker-0.log", "etcd/etcd.log", "worker-0/id/0/replica/log/00000001.log"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(name)
    copy_logs(source, kept)
    assert {path.name: path.read_text() for path in kept.iterdir()} == {
        "worker-0.log": "worker-0.log",
        "etcd-etcd.log": "etcd/etcd.log",
    }
