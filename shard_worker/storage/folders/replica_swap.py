"""Replaces an old replica folder by a new one; a crash leaves one of them, never none and never both.

    <replica id>         the replica
    .get-<replica id>    the new folder; whole and flushed before the old one is moved
    .old-<replica id>    the old folder, from its move until it is deleted; if it exists without <replica id>, the new
                         folder is whole

Owns these names and the order of the two renames. `mend_swap` finishes a swap that a crash interrupted.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from shoal.runtime.fault_points import fault_point
from shoal.shard_worker.storage.durable import rename_durably

COMING_PREFIX, OLD_PREFIX = ".get-", ".old-"


def coming_path(replica: Path) -> Path:
    """Return the path at which the new folder for `replica` is made."""
    return replica.with_name(COMING_PREFIX + replica.name)


def swap_in(replica: Path) -> None:
    """Replace the closed folder `replica` by the folder at `coming_path`, in which everything is flushed. Raises
    OSError.
    """
    mend_swap(replica)
    rename_durably(replica, _old_path(replica))
    fault_point("install.between")
    rename_durably(coming_path(replica), replica)
    fault_point("install.done")
    shutil.rmtree(_old_path(replica))


def mend_swap(replica: Path) -> None:
    """Finish an interrupted swap of this folder, if there is one. Raises OSError."""
    if not _old_path(replica).is_dir():
        return
    if not replica.is_dir():
        coming = coming_path(replica)
        rename_durably(coming if coming.is_dir() else _old_path(replica), replica)
    if _old_path(replica).is_dir():
        shutil.rmtree(_old_path(replica))


def mend_swaps(shard: Path) -> None:
    """Finish every interrupted swap in a shard's folder; delete new folders whose replica is gone. Raises OSError."""
    for old in sorted(shard.glob(f"{OLD_PREFIX}*")):
        mend_swap(shard / old.name.removeprefix(OLD_PREFIX))
    for coming in sorted(shard.glob(f"{COMING_PREFIX}*")):
        if not (shard / coming.name.removeprefix(COMING_PREFIX)).is_dir():
            shutil.rmtree(coming)


def swap_is_open(replica: Path) -> bool:
    """Return whether a swap of this folder was begun and not finished."""
    return _old_path(replica).is_dir()


def remove_coming(replica: Path) -> None:
    """Delete the new folder for `replica`, if there is one. Raises OSError."""
    if coming_path(replica).exists():
        shutil.rmtree(coming_path(replica))


def _old_path(replica: Path) -> Path:
    return replica.with_name(OLD_PREFIX + replica.name)
