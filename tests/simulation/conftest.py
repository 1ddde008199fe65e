"""Fixtures for every simulated history under pytest."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.simulation.patience import short_patience
from tests.simulation.product_logs import only_defects
from tests.simulation.world import end_world, uncollected


@pytest.fixture(autouse=True)
def quiet_product() -> Iterator[None]:
    with uncollected(), only_defects(), short_patience():
        yield
        end_world()
