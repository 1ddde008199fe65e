"""`shoal up`: becomes the program that runs a local cluster. Knows its flags and nothing of what it does."""

from __future__ import annotations

from typing import Annotated

import typer

from shoal.cli.servers import become

_PROGRAM = "shoal.deploy.local.up"
_NEEDED = ("ray", "faiss")


def up(
    *,
    data: Annotated[str | None, typer.Option(metavar="DIR", help="Folder that holds everything; made when missing.")] = None,
    port: Annotated[int | None, typer.Option(help="Public port (7600).", min=1, max=65_535)] = None,
    workers: Annotated[int | None, typer.Option(metavar="N", help="Shard workers to run (1).", min=1)] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on (127.0.0.1).")] = None,
    etcd: Annotated[str | None, typer.Option(metavar="ENDPOINTS", help="Use this etcd instead of starting one.")] = None,
    ray_address: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Use this Ray instead of starting one.")] = None,
    cluster_name: Annotated[str | None, typer.Option(metavar="NAME", help="Name of the cluster in etcd (default).")] = None,
    message_bytes: Annotated[int | None, typer.Option(metavar="N", help="Largest message either way (33554432).", min=1)] = None,
    metrics_port: Annotated[
        int | None, typer.Option(metavar="N", help="First Prometheus port; 0 none, -1 any free ones (-1).", min=-1, max=65_535)
    ] = None,
    config: Annotated[
        str | None, typer.Option(metavar="FILE", help="TOML file with further settings; see docs/reference/settings.md.")
    ] = None,
) -> None:
    """Run a cluster in the foreground; prints `ready` with its address once it answers. Ctrl-C ends it cleanly."""
    flags = {
        "data": data,
        "port": port,
        "workers": workers,
        "host": host,
        "etcd": etcd,
        "ray-address": ray_address,
        "cluster-name": cluster_name,
        "message-bytes": message_bytes,
        "metrics-port": metrics_port,
        "config": config,
    }
    become("shoal up", _PROGRAM, (f"--{name}={value}" for name, value in flags.items() if value is not None), _NEEDED)
