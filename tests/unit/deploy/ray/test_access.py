from __future__ import annotations

from pathlib import Path

import pytest

from shoal.core.errors import PreconditionFailed
from shoal.deploy.ray.access import check_open_ray, own_token


@pytest.mark.parametrize("nodes", [set(), {"127.0.0.1"}, {"127.0.0.1", "::1", "localhost", "127.1.2.3"}])
def test_an_open_ray_on_loopback_only_is_let_pass(nodes: set[str]) -> None:
    check_open_ray("127.0.0.1:6379", nodes)


@pytest.mark.parametrize("node", ["10.0.0.7", "0.0.0.0", "fd00::7", "head.example"])
def test_an_open_ray_beyond_is_refused_naming_the_node_and_the_way_out(node: str) -> None:
    with pytest.raises(PreconditionFailed, match=f"anybody who reaches {node} can run code as its user: 'ray get-auth-token --generate'"):
        check_open_ray("127.0.0.1:6379", {"127.0.0.1", node})


def test_the_token_is_found_where_ray_looks_for_it_in_that_order(tmp_path: Path) -> None:
    home, named = tmp_path / ".ray" / "auth_token", tmp_path / "named"
    environment = {"HOME": str(tmp_path)}
    assert own_token(environment) == ""
    home.parent.mkdir()
    home.write_text("of home\n")
    assert own_token(environment) == "of home"
    environment["RAY_AUTH_TOKEN_PATH"] = str(named)
    assert own_token(environment) == ""
    named.write_text("of the file")
    assert own_token(environment) == "of the file"
    environment["RAY_AUTH_TOKEN"] = "given"
    assert own_token(environment) == "given"
