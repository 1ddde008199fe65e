"""One room for each foreign thing: who may import Ray, FAISS, SQLite, etcd's messages and our own generated
messages.
"""

from __future__ import annotations

import re
from fnmatch import fnmatch
from functools import cache

import pytest

from tests.house.source_tree import PACKAGES, imports, python_files
from tests.support.repository import ROOT

MESSAGES = (
    "shoal/wire/*",
    # Its values are the worker's own.
    "shard_worker/rpc/replication_messages.py",
)
"""Files that may import our generated messages: both directions of each stand there."""

ROOMS = {
    "ray": ("deploy/*", "shoal/ray/*"),
    "faiss": ("shard_worker/index/*",),
    "sqlite3": ("shard_worker/storage/*",),
    "google_crc32c": ("shard_worker/storage/*",),
    "rjieba": ("shard_worker/text/analysis/han_words.py",),
    "Stemmer": ("shard_worker/text/analysis/word_cuts.py",),
    "cryptography": ("shoal/cli/certificate_maker.py",),
    "rich": ("shoal/cli/*", "shoal/client/progress.py", "deploy/local/demo.py"),
    "pyarrow": ("shoal/cli/parquet_files.py", "shoal/ray/*"),
    "pandas": ("shoal/ray/__init__.py",),
    "langchain_core": ("shoal/langchain/*",),
    "llama_index": ("shoal/llamaindex/*",),
    "typer": ("shoal/cli/*",),
    "shoal.store.etcd.etcd_rpc_pb2": ("shoal/store/*",),
    "shoal.store.etcd.etcd_rpc_pb2_grpc": ("shoal/store/*",),
    "shoal.v1": (
        *MESSAGES,
        # Stubs, no messages: see test_only_the_wire_knows_messages.
        "router/rpc/leader.py",
        "shard_worker/rpc/peers.py",
        "coordinator/log_ends.py",
    ),
}
"""Files that may import a module or anything below it."""


def strangers(module: str, allowed: tuple[str, ...], sources: dict[str, str]) -> list[str]:
    """Files, by path, that import `module` and are not allowed to."""
    return [
        path
        for path, source in sources.items()
        if any(name == module or name.startswith(module + ".") for name in imports(source))
        if not any(fnmatch(path, pattern) for pattern in allowed)
    ]


@cache
def own_sources() -> dict[str, str]:
    return {str(file.relative_to(ROOT)): file.read_text(encoding="utf-8") for file in python_files(*PACKAGES)}


@pytest.mark.parametrize("module", sorted(ROOMS))
def test_only_its_room_imports_it(module: str) -> None:
    assert strangers(module, ROOMS[module], own_sources()) == []


def message_readers(sources: dict[str, str]) -> list[str]:
    """Files outside MESSAGES that import generated messages, not only the stubs made of them."""
    return [
        path
        for path, source in sources.items()
        if any(name.startswith("shoal.v1.") and name.endswith("_pb2") for name in imports(source))
        if not any(fnmatch(path, pattern) for pattern in MESSAGES)
    ]


def test_only_the_wire_knows_messages() -> None:
    assert message_readers(own_sources()) == []


@pytest.mark.parametrize("source", ["from shoal.v1 import points_pb2\n", "import shoal.v1.points_pb2 as m\n"])
def test_another_reader_of_messages_is_noticed(source: str) -> None:
    stubs = "from shoal.v1 import points_pb2_grpc\n"
    assert message_readers({"router/rpc/points_service.py": source, "router/server.py": stubs}) == ["router/rpc/points_service.py"]


def channel_makers(sources: dict[str, str]) -> list[str]:
    """Files that make a channel of gRPC themselves."""
    makers = re.compile(r"\b(in)?secure_channel\(")
    return [path for path, source in sources.items() if makers.search(source)]


def test_channels_are_made_in_one_place() -> None:
    """So that no channel asks a proxy: see shoal/wire/channels.py."""
    assert channel_makers(own_sources()) == ["shoal/wire/channels.py"]


@pytest.mark.parametrize("module", ["urllib.request", "requests", "httpx", "aiohttp"])
def test_nothing_that_asks_a_proxy_by_itself_is_used(module: str) -> None:
    assert strangers(module, (), own_sources()) == []


@pytest.mark.parametrize("call", ["grpc.insecure_channel(a)", "grpc.aio.secure_channel(a, c)"])
def test_another_maker_of_channels_is_noticed(call: str) -> None:
    assert channel_makers({"router/cluster/view.py": f"channel = {call}\n"}) == ["router/cluster/view.py"]


@pytest.mark.parametrize(
    "source",
    ["import ray\n", "from ray import serve\n", "import ray.util as u\n", "def late():\n    from ray.util import x\n"],
)
def test_a_stranger_is_noticed(source: str) -> None:
    assert strangers("ray", ROOMS["ray"], {"router/cluster/view.py": source, "deploy/ray/launch.py": source}) == ["router/cluster/view.py"]


def test_a_name_that_only_begins_alike_is_no_breach() -> None:
    assert strangers("ray", ROOMS["ray"], {"router/cluster/view.py": "import raylib\n"}) == []
