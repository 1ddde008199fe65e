"""Settings of a shard worker."""

from __future__ import annotations

import math
from dataclasses import dataclass

from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.runtime.role_settings import ANY_PORT, RoleSettings, check_http_port
from shoal.runtime.settings import setting

BUILDS = ("here", "ray")


def check_builds(builds: str) -> None:
    """Check the setting `builds`. Raises InvalidArgument when it names an unknown place."""
    if builds not in BUILDS:
        raise InvalidArgument(f"builds is {builds!r}, it must be one of {', '.join(BUILDS)}", ErrorDetails(field="builds"))


@dataclass(frozen=True, kw_only=True)
class WorkerSettings(RoleSettings):
    """A shard worker: holds replicas of shards in one data folder."""

    data: str = setting("shoal-worker", "data folder of this worker; its identity lives there", variable="SHOAL_DATA_FOLDER")
    http_port: int = setting(ANY_PORT, "port for the searches and writes of routers by HTTP/1.1; -1 is any free one, 0 is none")
    node: str = setting("", "name of the machine, for people; empty for its host name")
    zone: str = setting("", "failure zone of the machine")
    lease_ttl_s: int = setting(5, "seconds after which a dead worker is noticed")
    growing_rows: int = setting(10_000, "rows of a growing segment before it is sealed")
    log_file_bytes: int = setting(64 * 1024 * 1024, "size at which a log file is closed and the next begun")
    idle_close_s: float = setting(30.0, "seconds without a read or write after which the files of a replica are closed until the next one")
    search_threads: int = setting(2, "threads for searches that are too long for the event loop")
    build_threads: int = setting(2, "threads of one index build, at low priority")
    builds: str = setting("here", "where indexes are built: 'here', or 'ray', as tasks on other nodes of the Ray that hosts this worker")
    memory_budget_bytes: int = setting(0, "bytes of memory that replicas, builds and caches may use; 0 for memory_percent")
    memory_percent: float = setting(75.0, "part of what the machine's or container's limit leaves that is the memory budget")
    snapshot_bytes_per_s: int = setting(
        100 * 1024 * 1024,
        "bytes a second that snapshots for repair may take, all together; those for moves have a rate of the cluster",
    )
    disk_refuse_percent: float = setting(90.0, "disk use at which upserts are refused")
    disk_resume_percent: float = setting(85.0, "disk use at which upserts are accepted again")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_http_port(self.http_port, self.port)
        for name in ("lease_ttl_s", "growing_rows", "log_file_bytes", "search_threads", "build_threads", "snapshot_bytes_per_s"):
            if getattr(self, name) < 1:
                raise InvalidArgument(f"{name} is {getattr(self, name)}, it must be at least 1", ErrorDetails(field=name))
        if not 0 < self.idle_close_s < math.inf:
            raise InvalidArgument(f"idle_close_s is {self.idle_close_s}, it must be above 0", ErrorDetails(field="idle_close_s"))
        check_builds(self.builds)
        if self.memory_budget_bytes < 0:
            raise InvalidArgument(
                f"memory_budget_bytes is {self.memory_budget_bytes}, it must be at least 0", ErrorDetails(field="memory_budget_bytes")
            )
        if not 0 < self.memory_percent <= 100:
            raise InvalidArgument(
                f"memory_percent is {self.memory_percent}, it must be above 0 and at most 100", ErrorDetails(field="memory_percent")
            )
        if not 0 < self.disk_resume_percent <= self.disk_refuse_percent <= 100:
            raise InvalidArgument(
                f"disk_resume_percent is {self.disk_resume_percent} and disk_refuse_percent is {self.disk_refuse_percent}: "
                "0 < resume <= refuse <= 100 must hold"
            )
