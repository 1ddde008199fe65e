from __future__ import annotations

import resource
from pathlib import Path

import pytest

from shoal.shard_worker.resources.os_limits import may_map_unused, memory_limits, open_files, raised_file_limit

MIB = 1024 * 1024


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return the root of a machine with 4 GiB and without limits."""
    write(tmp_path / "proc/meminfo", "MemTotal:        4194304 kB\nHugePages_Total:       0\n")
    write(tmp_path / "proc/self/status", "Name:\tpython\nVmSize:\t  300000 kB\nVmRSS:\t  102400 kB\nVmData:\t  200000 kB\nThreads:\t3\n")
    return tmp_path


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def limits(root: Path) -> list[int]:
    return [limit.limit_bytes // MIB for limit in memory_limits(root)]


def test_a_machine_without_groups_limits_by_its_memory(root: Path) -> None:
    found = memory_limits(root)
    assert [(each.name, each.limit_bytes, each.taken_bytes) for each in found] == [("the machine's memory", 4096 * MIB, 100 * MIB)]


def test_every_group_around_the_process_counts(root: Path) -> None:
    write(root / "proc/self/cgroup", "0::/a/b/c\n")
    write(root / "sys/fs/cgroup/a/b/c/memory.max", "max\n")
    write(root / "sys/fs/cgroup/a/b/memory.max", f"{700 * MIB}\n")
    write(root / "sys/fs/cgroup/a/memory.max", f"{900 * MIB}\n")
    assert limits(root) == [4096, 700, 900]
    assert "a/b/memory.max" in memory_limits(root)[1].name


def test_in_a_container_the_group_lies_at_the_top_whatever_the_path_says(root: Path) -> None:
    write(root / "proc/self/cgroup", "0::/kubepods/pod7/unseen\n")
    write(root / "sys/fs/cgroup/memory.max", f"{512 * MIB}\n")
    assert limits(root) == [4096, 512]


def test_a_path_that_leads_outside_of_the_groups_ends_the_walk(root: Path) -> None:
    write(root / "proc/self/cgroup", "0::/../../x\n")
    assert limits(root) == [4096]


def test_groups_of_the_first_version(root: Path) -> None:
    write(root / "proc/self/cgroup", "11:cpu,cpuacct:/x\n5:memory:/docker/1\n1:name=systemd:/y\n")
    write(root / "sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes", f"{300 * MIB}\n")
    write(root / "sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n")
    assert limits(root) == [4096, 300]


def test_limits_of_the_process_count_what_they_count(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = {resource.RLIMIT_AS: 900 * MIB, resource.RLIMIT_DATA: 800 * MIB}
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (own[kind], own[kind]))
    assert [(each.limit_bytes // MIB, each.taken_bytes // 1024) for each in memory_limits(root)[1:]] == [(900, 300_000), (800, 200_000)]


def test_the_limits_of_this_very_process_can_be_read() -> None:
    found = memory_limits()
    assert all(each.taken_bytes > 0 for each in found)
    assert found[0].limit_bytes > 100 * MIB


def test_a_low_soft_limit_of_files_is_raised_to_what_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = [(1024, 4096)]
    monkeypatch.setattr(resource, "getrlimit", lambda kind: limits[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda kind, both: limits.append(both))
    found = raised_file_limit()
    assert (found.limit, limits[-1]) == (4096, (4096, 4096))
    assert 3 <= found.taken < 4096


@pytest.mark.parametrize("refusal", [PermissionError("not allowed"), ValueError("not allowed")])
def test_a_limit_of_files_that_may_not_be_raised_stays(refusal: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(kind: int, both: tuple[int, int]) -> None:
        raise refusal

    monkeypatch.setattr(resource, "getrlimit", lambda kind: (1024, 4096))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    assert raised_file_limit().limit == 1024


def test_no_limit_of_files_is_a_large_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    monkeypatch.setattr(resource, "setrlimit", lambda kind, both: None)
    assert raised_file_limit().limit == 1 << 30


def test_open_files_are_counted() -> None:
    before = open_files()
    with Path("/dev/null").open(), Path("/dev/null").open():
        assert open_files() == before + 2


@pytest.mark.parametrize("limited", [None, resource.RLIMIT_AS, resource.RLIMIT_DATA])
@pytest.mark.parametrize(("overcommit", "free"), [("0", True), ("1", True), ("2", False)])
def test_unused_memory_may_be_mapped_where_nothing_counts_it(
    root: Path, monkeypatch: pytest.MonkeyPatch, limited: int | None, overcommit: str, free: bool
) -> None:
    write(root / "proc/sys/vm/overcommit_memory", f"{overcommit}\n")
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (900 * MIB if kind == limited else resource.RLIM_INFINITY,) * 2)
    assert may_map_unused(root) == (free and limited is None)
