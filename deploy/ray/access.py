"""Checks whether a given Ray requires a token to run code, and whether we have this token.

It asks Ray's head and does not join the cluster.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import grpc

from shoal.core.errors import PreconditionFailed, Unavailable
from shoal.wire.channels import open_channel, options_of_one_call

ASK_TIMEOUT_S = 5.0
_MESSAGE_BYTES = 1024 * 1024
_QUESTION = "/ray.rpc.NodeInfoGcsService/CheckAlive"
"""A call that changes nothing. A head answers it without a token only if it requires none."""

MAKE_A_TOKEN = (
    "'ray get-auth-token --generate' makes one in ~/.ray/auth_token; every node and this command need that file and RAY_AUTH_MODE=token"
)


def wants_token(address: str, environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether the Ray with its head at `address` (host:port) requires a token.

    Raises PreconditionFailed if it does and our token is missing or different, or if the server there is not Ray;
    Unavailable if there is no answer.
    """
    if _lets_in(address, None):
        return False
    if environment.get("RAY_AUTH_MODE", "").lower() != "token":
        raise PreconditionFailed(f"the Ray cluster at {address} wants a token, and RAY_AUTH_MODE=token is not set here: {MAKE_A_TOKEN}")
    token = own_token(environment)
    if not token or not _lets_in(address, token):
        what = "is not the one that the Ray cluster wants" if token else "is missing"
        raise PreconditionFailed(f"cannot join the Ray cluster at {address}, our token {what}: {MAKE_A_TOKEN}")
    return True


def check_open_ray(address: str, nodes: Iterable[str]) -> None:
    """Raise PreconditionFailed unless all nodes, by address, of a Ray without a token listen on loopback only."""
    beyond = sorted(node for node in nodes if not _is_loopback(node))
    if beyond:
        raise PreconditionFailed(
            f"the Ray cluster at {address} has no token, so anybody who reaches {beyond[0]} can run code as its user: {MAKE_A_TOKEN}"
        )


def own_token(environment: Mapping[str, str]) -> str:
    """Return the token that Ray would use here, "" for none. Source: ray.io, token authentication."""
    if environment.get("RAY_AUTH_TOKEN"):
        return environment["RAY_AUTH_TOKEN"].strip()
    path = environment.get("RAY_AUTH_TOKEN_PATH") or Path(environment.get("HOME") or "/") / ".ray" / "auth_token"
    with contextlib.suppress(OSError):
        return Path(path).read_text(encoding="utf-8").strip()
    return ""


def _lets_in(address: str, token: str | None) -> bool:
    metadata = (("authorization", f"Bearer {token}"),) if token else ()
    with open_channel(address, options_of_one_call(_MESSAGE_BYTES)) as channel:
        try:
            channel.unary_unary(_QUESTION, None, None)(b"", timeout=ASK_TIMEOUT_S, metadata=metadata)
        except grpc.RpcError as error:
            match error.code():
                case grpc.StatusCode.UNAUTHENTICATED:
                    return False
                case grpc.StatusCode.UNIMPLEMENTED:
                    raise PreconditionFailed(f"the server at {address} is not Ray; correct --ray-address") from None
                case code:
                    raise Unavailable(f"no answer came ({code.name.lower()}: {error.details()})") from None
    return True


def _is_loopback(node: str) -> bool:
    try:
        return ipaddress.ip_address(node).is_loopback
    except ValueError:
        return node == "localhost"
