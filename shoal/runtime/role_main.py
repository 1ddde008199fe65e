"""The main program of every role: `python -m shoal.coordinator`, `shoal.router` and `shoal.shard_worker`.

It first opens the streams and takes over the signals, then imports the role, which takes about a second. So this file
imports little.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from shoal.runtime.stop_signals import StopSignals
from shoal.runtime.streams import open_streams, tell

if TYPE_CHECKING:
    from shoal.runtime.role import Role
    from shoal.runtime.role_settings import RoleSettings

S = TypeVar("S", bound="RoleSettings")


def run_main(
    package: str,
    *,
    log_name: str,
    unusable_settings: int,
    settings: Callable[[], type[S]],
    role: Callable[[S], Callable[[], Role]],
) -> int:
    """Run a role until a signal ends it. Returns the exit code: 0 after a signal, 1 after an error of the role.

    package: the role's name below `shoal`. log_name: its name in every log line. unusable_settings: the exit code for
    settings that cannot be used. settings and role import the classes of the role when they are called; role returns
    the function that makes the role on its event loop.
    """
    open_streams()
    stop = StopSignals()
    from shoal.core.errors import ShoalError
    from shoal.runtime.logs import configure_logs
    from shoal.runtime.role import run_role
    from shoal.runtime.settings import load_settings

    try:
        given = load_settings(settings(), program=f"python -m shoal.{package}", arguments=sys.argv[1:], environment=os.environ)
    except ShoalError as error:
        tell(f"error: {error.message}")
        return unusable_settings
    configure_logs(given.log_level, log_name)
    return run_role(role(given), stop)
