import json
from dataclasses import dataclass
from typing import Any

import pytest
from typer.testing import CliRunner

from shoal.cli import collection
from shoal.cli.connection import Connection
from shoal.cli.main import app
from tests.twins.router_answers import DictCluster, PausingClock, client_with


@dataclass
class Ended:
    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


class Shoal:
    """Runs the command line over a cluster that is a dictionary. connects: (address, timeout) of each client that was
    made; transports: its transport; files: its files of TLS; api_keys: its keys.
    """

    def __init__(self) -> None:
        self.cluster, self.connects, self.clients, self.transports, self.files = DictCluster(), [], [], [], []
        self.api_keys = []

    def connect(self, address: str, timeout: float | None, transport: str, api_key: str | None = None, **files: str):
        self.files.append(files)
        self.connects.append((address, timeout))
        self.transports.append(transport)
        self.api_keys.append(api_key)
        self.clients.append(client_with(self.answer, timeout=timeout, clock=PausingClock()))
        return self.clients[-1]

    def answer(self, *call: Any) -> Any:
        return self.cluster(*call)

    def __call__(self, *words: Any, typed: str | bytes | None = None, env: dict[str, str] | None = None) -> Ended:
        result = CliRunner().invoke(app, [str(word) for word in words], input=typed, env=env, obj=Connection(connect=self.connect))
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Ended(result.exit_code, result.stdout, result.stderr)


@pytest.fixture
def shoal(monkeypatch, tmp_path_factory) -> Shoal:
    monkeypatch.delenv("SHOAL_PROFILE", raising=False)
    monkeypatch.setenv("SHOAL_CONFIG", str(tmp_path_factory.mktemp("settings") / "config.toml"))
    monkeypatch.delenv("SHOAL_ADDRESS", raising=False)
    monkeypatch.delenv("SHOAL_TRANSPORT", raising=False)
    for which in ("CA", "CERT", "KEY"):
        monkeypatch.delenv(f"SHOAL_TLS_{which}", raising=False)
    monkeypatch.setattr(collection, "_TELL_EVERY_S", 60.0)
    return Shoal()
