"""The certificate files that a user gives to a client, checked."""

from __future__ import annotations

import os
from typing import Any

from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.core.shown import shown
from shoal.wire.tls import TlsFiles

PathInput = str | os.PathLike[str]


def tls_files_from_input(ca: PathInput | None, cert: PathInput | None, key: PathInput | None) -> TlsFiles | None:
    """Return the files of a client; None if none is given.

    Raises InvalidArgument for what is no path, and for a combination that makes no sense: see TlsFiles.
    """
    if ca is None and cert is None and key is None:
        return None
    files = TlsFiles(ca=_path("tls_ca", ca), cert=_path("tls_cert", cert), key=_path("tls_key", key))
    if not files.given:
        raise InvalidArgument("tls_ca is empty, it must be the path of a file in the form PEM", ErrorDetails(field="tls_ca"))
    return files


def _path(name: str, given: Any) -> str:
    if given is None:
        return ""
    try:
        path = os.fspath(given)
    except TypeError:
        path = b""
    if not isinstance(path, str):
        raise InvalidArgument(f"{name} is {shown(given)}, it must be the path of a file in the form PEM", ErrorDetails(field=name))
    return path
