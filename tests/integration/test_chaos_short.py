"""Run two minutes of chaos: random faults, each kind at least once unless the machine is too slow.

For a longer run: `make chaos MINUTES=30`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.campaign import Figures, campaign
from tests.chaos.grounds import PlainGround, plain_cluster
from tests.chaos.outages import in_words
from tests.support.figures import show
from tests.support.scope import LOAD_PAUSES

SEED, TTL_S, SECONDS = 1, 2, 50.0


@pytest.mark.timeout(600)
def test_nothing_is_lost_no_answer_is_wrong_and_everything_heals(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    figures = Figures(seed=SEED, ttl_s=TTL_S)
    with plain_cluster(tmp_path / "cluster", TTL_S) as cluster:
        campaign(PlainGround(cluster), figures, prefix="plain", seconds=SECONDS, evidence=tmp_path / "logs", tell=print, pauses=LOAD_PAUSES)
    show(request, f"{figures.rounds} rounds of faults; {in_words(figures.outages, TTL_S)}")
    assert figures.good, f"{figures.findings[:10]}; the logs of all roles are in {figures.evidence}"
    assert figures.failovers > 0
    assert figures.acknowledged > 0
    assert {way.partition(":")[0] for way in figures.left} == {"late", "cancelled", "killed"}
