"""Whether a given Ray runs code only for those who have its token, and whether we have it.

Asks Ray's head; joins nothing.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import grpc

from shoal.core.errors import PreconditionFailed, Unavailable
from shoal.wire.channels import client_options, open_channel

ASK_TIMEOUT_S = 5.0
_MESSAGE_BYTES = 1024 * 1024
_QUESTION = "/ray.rpc.NodeInfoGcsService/CheckAlive"
"""Changes nothing, and is answered without a token only by a head that wants none."""

MAKE_A_TOKEN = (
    "'ray get-auth-token --generate' makes one in ~/.ray/auth_token; every node and this command need that file and RAY_AUTH_MODE=token"
)


def wants_token(address: str, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the Ray whose head is at `address` (host:port) wants a token.

    Raises PreconditionFailed when it does and ours is missing or another one, or when no Ray answers there; Unavailable
    when nobody does.
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
            f"the Ray cluster at {address} has no token, so whoever reaches {beyond[0]} runs code as its user: {MAKE_A_TOKEN}"
        )


def own_token(environment: Mapping[str, str]) -> str:
    """The token that Ray would find here, "" for none: see ray.io, token authentication."""
    if environment.get("RAY_AUTH_TOKEN"):
        return environment["RAY_AUTH_TOKEN"].strip()
    path = environment.get("RAY_AUTH_TOKEN_PATH") or Path(environment.get("HOME") or "/") / ".ray" / "auth_token"
    with contextlib.suppress(OSError):
        return Path(path).read_text(encoding="utf-8").strip()
    return ""


def _lets_in(address: str, token: str | None) -> bool:
    metadata = (("authorization", f"Bearer {token}"),) if token else ()
    with open_channel(address, client_options(_MESSAGE_BYTES)) as channel:
        try:
            channel.unary_unary(_QUESTION, None, None)(b"", timeout=ASK_TIMEOUT_S, metadata=metadata)
        except grpc.RpcError as error:
            match error.code():
                case grpc.StatusCode.UNAUTHENTICATED:
                    return False
                case grpc.StatusCode.UNIMPLEMENTED:
                    raise PreconditionFailed(f"what answers at {address} is no Ray; correct --ray-address") from None
                case code:
                    raise Unavailable(f"nobody answers ({code.name.lower()}: {error.details()})") from None
    return True


def _is_loopback(node: str) -> bool:
    try:
        return ipaddress.ip_address(node).is_loopback
    except ValueError:
        return node == "localhost"
