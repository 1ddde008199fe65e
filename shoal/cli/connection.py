"""Connect a command to the cluster, and define the options that each of these commands takes."""

from __future__ import annotations

import getpass
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated

import typer

from shoal.client.client import Client, connect
from shoal.client.flow import UsualTimeout

DEFAULT_ADDRESS = "localhost:7600"
DEFAULT_TRANSPORT = "auto"

AddressOption = Annotated[str | None, typer.Option("--address", metavar="HOST:PORT", help="Router to ask (SHOAL_ADDRESS).")]
TimeoutOption = Annotated[float | None, typer.Option("--timeout", metavar="SECONDS", help="For each call, retries included.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]

_ASKED_BY_CHARACTERS = 64


class LeftRunning(KeyboardInterrupt):
    """Ctrl-C while the cluster works on: the command ends, the work does not. Its text: what goes on.

    next_step: what to do then.
    """

    def __init__(self, what: str, next_step: str) -> None:
        super().__init__(what)
        self.next_step = next_step


@dataclass(frozen=True, kw_only=True)
class Connection:
    """The values of the global options. connect: creates the client; tests give another one."""

    address: str = DEFAULT_ADDRESS
    timeout_s: float | None = None
    transport: str = DEFAULT_TRANSPORT
    tls_ca: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None
    api_key: str | None = field(default=None, repr=False)
    connect: Callable[..., Client] = connect


def client_of(ctx: typer.Context, address: str | None, timeout: float | None, default_s: float | None = None) -> Client:
    """Return a client for one command. The options of the command win over the global ones.

    default_s: timeout in seconds, if neither gives one.
    """
    connection: Connection = ctx.obj
    given = timeout if timeout is not None else connection.timeout_s
    usual = None if default_s is None else UsualTimeout(default_s)
    secrets = {} if connection.api_key is None else {"api_key": connection.api_key}
    files = {"tls_ca": connection.tls_ca, "tls_cert": connection.tls_cert, "tls_key": connection.tls_key}
    return connection.connect(
        address or connection.address,
        timeout=usual if given is None else given,
        transport=connection.transport,
        **{name: path for name, path in files.items() if path},
        **secrets,
    )


def who_asks() -> str:
    """Return user@machine for the audit, as far as they are known."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = "somebody"
    return f"{user}@{socket.gethostname()}"[:_ASKED_BY_CHARACTERS]
