from __future__ import annotations

import pytest

from shoal.deploy.local.cluster import ready_line
from shoal.runtime.role_settings import ANY_PORT


@pytest.mark.parametrize(
    ("address", "http_port", "line"),
    [
        ("127.0.0.1:7600", 7680, "ready  127.0.0.1:7600  http://127.0.0.1:7680"),
        ("[::1]:7600", 7680, "ready  [::1]:7600  http://[::1]:7680"),
        ("db:7600", 0, "ready  db:7600"),
        ("db:7600", ANY_PORT, "ready  db:7600"),
    ],
)
def test_the_line_names_the_ports_that_clients_can_use(address: str, http_port: int, line: str) -> None:
    assert ready_line(address, http_port) == line
