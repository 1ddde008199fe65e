"""The Ray cluster that hosts the roles: our own, which is started and ended here, or a given one, which is joined."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import ray

from shoal.core.errors import PreconditionFailed, Unavailable
from shoal.deploy.plans import ProcessPlan
from shoal.deploy.ray.access import check_open_ray, wants_token
from shoal.deploy.ray.session import children_of, is_alive, kill_session, name_of
from shoal.deploy.settings import NODE_HOST

_POLL_S = 0.05
_HOST, _HEAD = "raylet", "gcs_server"

NAMESPACE = "shoal"
LABEL_VALUE = "true"

OBJECT_STORE_BYTES = 80 * 1024 * 1024
"""Ray's minimum is 75 MB. We put nothing into the object store of our own Ray."""


class OwnRay:
    """The two processes that our own Ray needs to host anything. Make this after Ray has started."""

    def __init__(self) -> None:
        self._pids = {name: pid for pid in children_of(os.getpid()) if (name := name_of(pid)) in (_HOST, _HEAD)}

    def ended(self) -> str | None:
        """Return the name of one of them that has ended, None while Ray works.

        Nothing starts it again, and Ray ends this process within a minute.
        """
        return next((name for name, pid in self._pids.items() if not is_alive(pid)), None)

    def hosts(self) -> bool:
        """Return whether the hosted processes can still run: they end with the raylet that started them."""
        return _HOST not in self._pids or is_alive(self._pids[_HOST])


@contextlib.contextmanager
def local_ray(labels: tuple[str, ...], folder: Path) -> Iterator[OwnRay]:
    """Run our own Ray within the context. labels: of its only node. folder: of its session, see
    shoal.deploy.ray.session.

    Raises Unavailable if Ray does not start.
    """
    try:
        _start(labels, folder)
        yield OwnRay()
    finally:
        _shut_down(folder)


@contextlib.contextmanager
def given_ray(address: str) -> Iterator[None]:
    """Join a Ray that runs already, within the context.

    Raises Unavailable if it cannot be joined, PreconditionFailed if it requires a token that we do not have, or if
    anybody in the network may run code in it.
    """
    try:
        guarded = wants_token(address)
        ray.init(address=address, namespace=NAMESPACE, log_to_driver=False, configure_logging=False)
    except PreconditionFailed:
        raise
    except Exception as error:
        raise Unavailable(first_line(error)) from None
    try:
        if not guarded:
            check_open_ray(address, addresses_of_nodes())
        yield
    finally:
        ray.shutdown()


def check_labels(plans: tuple[ProcessPlan, ...], host: str, address: str) -> Mapping[str, str]:
    """Return the address of the node for each label that the plans need.

    Raises PreconditionFailed if a label is missing, with advice how to set it, and if the nodes could not reach each
    other.
    """
    homes = homes_of_labels()
    for plan in plans:
        if plan.label not in homes:
            raise PreconditionFailed(
                f"no node of the Ray cluster carries the label {plan.label}; start the node that holds this worker's data with "
                f"'RAY_AUTH_MODE=token ray start --address={address} --labels {plan.label}={LABEL_VALUE}'"
            )
    needed = {plan.label: homes[plan.label] for plan in plans}
    if host != NODE_HOST and len(set(needed.values())) > 1:
        raise PreconditionFailed(f"the workers live on several nodes, which cannot all listen on {host}: give --host {NODE_HOST}")
    return needed


def addresses_of_nodes() -> set[str]:
    """Return the addresses of the live nodes."""
    nodes = ray.nodes()  # type: ignore[no-untyped-call]
    return {node["NodeManagerAddress"] for node in nodes if node["Alive"]}


def homes_of_labels() -> dict[str, str]:
    """Return the address of the node for each label of the live nodes."""
    nodes = ray.nodes()  # type: ignore[no-untyped-call]
    return {label: node["NodeManagerAddress"] for node in nodes if node["Alive"] for label in node["Labels"]}


def _start(labels: tuple[str, ...], folder: Path) -> None:
    try:
        ray.init(
            address="local",
            namespace=NAMESPACE,
            num_cpus=1,
            labels=dict.fromkeys(labels, LABEL_VALUE),
            include_dashboard=False,
            object_store_memory=OBJECT_STORE_BYTES,
            log_to_driver=False,
            configure_logging=False,
            _temp_dir=str(folder),
        )
    except Exception as error:
        raise Unavailable(f"Ray did not start: {first_line(error)}") from None


def _shut_down(folder: Path) -> None:
    """Leave Ray, then kill its processes. They block the SIGTERM that ray.shutdown sends (see
    shoal.runtime.stop_signals), and ray.shutdown would wait a second for each."""
    ended = threading.Event()

    def kill() -> None:
        while ray.is_initialized() and not ended.is_set():
            time.sleep(_POLL_S)
        while not ended.is_set():
            kill_session(folder)
            ended.wait(_POLL_S)

    killer = threading.Thread(target=kill, name="ray-killer")
    killer.start()
    try:
        ray.shutdown()
    finally:
        ended.set()
        killer.join()


def first_line(error: Exception) -> str:
    """Return the first line of a foreign error's text."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
