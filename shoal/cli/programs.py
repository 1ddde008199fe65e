"""The commands `shoal up` and `shoal fsck`.

Each replaces its process by a server program, because this package may not import server packages.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from shoal.cli.connection import JsonOption
from shoal.core.errors import NotInstalled
from shoal.runtime.stop_signals import block_ending_signals, unblock_ending_signals

_NEEDED_BY_UP = ("ray", "faiss")
_NEEDED_BY_FSCK = ("faiss", "google_crc32c")


def up(
    *,
    data: Annotated[str | None, typer.Option(metavar="DIR", help="Folder that holds everything; made when missing.")] = None,
    port: Annotated[int | None, typer.Option(help="Public port (7600).", min=1, max=65_535)] = None,
    http_port: Annotated[
        int | None, typer.Option(metavar="N", help="HTTP port; -2 is port + 80, 0 none, -1 any free one (-2).", min=-2, max=65_535)
    ] = None,
    workers: Annotated[int | None, typer.Option(metavar="N", help="Shard workers to run (1).", min=1)] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on (127.0.0.1).")] = None,
    etcd: Annotated[str | None, typer.Option(metavar="ENDPOINTS", help="Use this etcd instead of starting one.")] = None,
    ray_address: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Use this Ray instead of starting one.")] = None,
    cluster_name: Annotated[str | None, typer.Option(metavar="NAME", help="Name of the cluster in etcd (default).")] = None,
    message_bytes: Annotated[int | None, typer.Option(metavar="N", help="Largest message either way (33554432).", min=1)] = None,
    metrics_port: Annotated[
        int | None, typer.Option(metavar="N", help="First Prometheus port; 0 none, -1 any free ones (-1).", min=-1, max=65_535)
    ] = None,
    tls_ca: Annotated[str | None, typer.Option(metavar="FILE", help="CA of all certificates, PEM; see `shoal cert init`.")] = None,
    tls_cert: Annotated[str | None, typer.Option(metavar="FILE", help="Certificate of the cluster, PEM.")] = None,
    tls_key: Annotated[str | None, typer.Option(metavar="FILE", help="Key of the certificate, PEM.")] = None,
    keys: Annotated[bool, typer.Option("--keys", help="Ask for an API key with every call; needs --admin-key-file.")] = False,
    admin_key_file: Annotated[str | None, typer.Option(metavar="FILE", help="A key with every right; see `shoal key new`.")] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="Allow a host beyond loopback without TLS.")] = False,
    config: Annotated[
        str | None, typer.Option(metavar="FILE", help="TOML file with further settings; see docs/reference/settings.md.")
    ] = None,
) -> None:
    """Run a cluster in the foreground; prints `ready` with its address once it answers. Ctrl-C ends it cleanly."""
    flags = {
        "data": data,
        "port": port,
        "http-port": http_port,
        "workers": workers,
        "host": host,
        "etcd": etcd,
        "ray-address": ray_address,
        "cluster-name": cluster_name,
        "message-bytes": message_bytes,
        "metrics-port": metrics_port,
        "tls-ca": tls_ca,
        "tls-cert": tls_cert,
        "tls-key": tls_key,
        "keys": "true" if keys else None,
        "admin-key-file": admin_key_file,
        "insecure": "true" if insecure else None,
        "config": config,
    }
    _become("shoal up", "shoal.deploy.local.up", (f"--{name}={value}" for name, value in flags.items() if value is not None), _NEEDED_BY_UP)


def fsck(
    data: Annotated[list[Path], typer.Argument(metavar="DATA...", help="Folder of `shoal up`, of a worker, or of a replica.")],
    as_json: JsonOption = False,
) -> None:
    """Check every file and record of stopped workers, and change nothing.

    Exit code 0 clean, 1 damage, 2 not all was checked.
    """
    _become("shoal fsck", "shoal.shard_worker.fsck", [*(["--json"] if as_json else []), "--", *map(str, data)], _NEEDED_BY_FSCK)


def _become(command: str, program: str, words: Iterable[str], needed: Sequence[str]) -> None:
    """Replace this process by `python -m program words...`; the exit code of the program is that of the command.

    needed: packages that must be installed. Raises NotInstalled for the first one that is missing.
    """
    missing = next((name for name in needed if importlib.util.find_spec(name) is None), None)
    if missing is not None:
        raise NotInstalled(f"`{command}` needs {missing}, a server package that is not installed: pip install 'shoal[server]'")
    # The start of the program takes long. Signals that arrive meanwhile are held back until it handles them.
    block_ending_signals()
    try:
        # With PYTHONSAFEPATH, Python does not import files of the current folder as packages.
        os.execve(sys.executable, [sys.executable, "-m", program, *words], {**os.environ, "PYTHONSAFEPATH": "1"})
    finally:
        unblock_ending_signals()
