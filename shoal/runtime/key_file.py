"""Reads the text of an API key from a file that only its owner may read."""

from __future__ import annotations

import os
import stat

from shoal.core.api_keys import id_of
from shoal.core.errors import ErrorDetails, InvalidArgument

_MOST_BYTES = 1_024


def key_from_file(path: str, setting: str) -> str:
    """Return the key in a file: one line. setting: that names the file.

    Raises InvalidArgument, which never holds what is in the file, for a file that cannot be read, one that others than
    its owner may read or write, and one that holds no key.
    """
    try:
        with open(path, "rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            text = file.read(_MOST_BYTES)
    except OSError as error:
        raise InvalidArgument(f"{setting} is {path!r}: {error.strerror}", ErrorDetails(field=setting)) from None
    if mode & 0o077:
        message = f"{setting} is {path!r}, which others may open (mode {mode:04o}): chmod 600 {path}"
        raise InvalidArgument(message, ErrorDetails(field=setting))
    try:
        key = text.decode("ascii").strip()
        id_of(key)
    except (UnicodeDecodeError, InvalidArgument):
        message = f"{setting} is {path!r}, which holds no key: shoal_, 12 hexadecimal digits, _ and 43 characters"
        raise InvalidArgument(message, ErrorDetails(field=setting)) from None
    return key


def write_key_file(path: str, text: str, setting: str) -> None:
    """Write a key into a new file that only its owner may read. Raises InvalidArgument if it cannot be made."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise InvalidArgument(f"{setting} is {path!r}: {error.strerror}", ErrorDetails(field=setting)) from None
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text + "\n")
