"""A Ray of this process alone, for tests of Ray Data: on loopback, with a token, and ended with all its processes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import ray
import ray.data
from ray import _raylet as _ray

from shoal.deploy.ray.session import MARK, end_session
from tests.support.cluster.ray_nodes import OBJECT_STORE_BYTES, TOKEN, short_folder
from tests.support.repository import ROOT

PROCESSORS = 2


@contextmanager
def local_ray() -> Iterator[None]:
    """Run the block in a Ray of two processors. Its workers import from this repository."""
    folder = short_folder()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            MARK: str(folder),
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": TOKEN,
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_memory_monitor_refresh_ms": "0",
            # With this, Ray uses loopback as this machine's address, and listens on no other.
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
            "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
        }.items():
            patch.setenv(name, value)
        # Ray read the environment when it was imported; this is its own way to read it again.
        raylet: Any = _ray
        raylet.Config.initialize("")
        raylet.AuthenticationTokenLoader.instance().reset_cache()
        try:
            ray.init(
                "local",
                num_cpus=PROCESSORS,
                object_store_memory=OBJECT_STORE_BYTES,
                include_dashboard=False,
                log_to_driver=False,
                configure_logging=False,
                _temp_dir=str(folder),
                _node_ip_address="127.0.0.1",
            )
            ray.data.DataContext.get_current().enable_progress_bars = False
            yield
        finally:
            ray.shutdown()
            end_session(folder)
