"""The folder of certificates that `shoal cert init` makes: written whole or not at all, and never over what is there.

Keys are for their owner alone (mode 0600), and so is the folder (0700).
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from shoal.cli.certificate_maker import (
    LEAF_DAYS,
    CertificateFacts,
    KeyPair,
    Leaf,
    facts_in,
    hosts_of,
    is_signed_by,
    new_ca,
    new_leaf,
    opened_ca,
)
from shoal.core.errors import AlreadyExists, ErrorDetails, InvalidArgument, NotFound, PreconditionFailed

CA = "ca"
CERTIFICATE, KEY = ".pem", ".key"
ORDER = (CA, *Leaf)

_MODES = {CERTIFICATE: 0o644, KEY: 0o600}
_OWNER_ONLY = 0o700
_MOST_BYTES = 1_000_000


def make_folder(folder: Path, hosts: Sequence[str], now: datetime, days: int = LEAF_DAYS) -> None:
    """Make the folder with a new CA and what it signs. hosts: of routers, as `checked_host` returns them.

    Raises AlreadyExists if anything is in the folder, PreconditionFailed if it cannot be written. Nothing is left then.
    """
    place = _real(folder)
    _check_empty(place)
    ca = new_ca(now)
    files = {**_files(CA, ca), **_leaves(hosts, ca, now, days)}
    made = None
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f".{place.name}-", dir=place.parent))
        for name, data in files.items():
            _write(made / name, data)
        _flush_folder(made)
        # An empty folder is replaced. One that is not empty any more is not.
        made.chmod(_OWNER_ONLY)
        made.rename(place)
        _flush_folder(place.parent)
    except OSError as error:
        _check_empty(place)
        raise PreconditionFailed(f"{folder} cannot be written: {error.strerror or error}", ErrorDetails(field="path")) from None
    finally:
        if made is not None:
            shutil.rmtree(made, ignore_errors=True)


def renew_leaves(folder: Path, hosts: Sequence[str], now: datetime, days: int = LEAF_DAYS) -> None:
    """Replace all certificates and keys in the folder but those of the CA. hosts: as in make_folder; those of the
    router's certificate there if none are given.

    All new files are written under other names first; then each replaces its old one at once. Raises NotFound,
    InvalidArgument or PreconditionFailed, and nothing is changed then.
    """
    place = _real(folder)
    ca = KeyPair(certificate=_read(place / f"{CA}{CERTIFICATE}"), key=_key_of_ca(place))
    opened_ca(ca, now)
    known = hosts or _hosts_in(place, ca)
    files = _leaves(known, ca, now, days)
    staged: dict[Path, Path] = {}
    try:
        for name, data in files.items():
            staged[place / name] = fresh = place / f".{name}.new"
            fresh.unlink(missing_ok=True)
            _write(fresh, data)
            _give_to_owner_of(place / name, fresh)
        for target, fresh in staged.items():
            fresh.replace(target)
        _flush_folder(place)
    except OSError as error:
        raise PreconditionFailed(f"{folder} cannot be written: {error.strerror or error}", ErrorDetails(field="path")) from None
    finally:
        for fresh in staged.values():
            with suppress(OSError):
                fresh.unlink()


def certificates_in(path: Path) -> list[tuple[Path, CertificateFacts]]:
    """Return the certificates in a file, or in the files *.pem of a folder, each with its file.

    Raises NotFound if there is none, InvalidArgument for a file that holds none.
    """
    if not path.is_dir():
        return [(path, each) for each in facts_in(_read(path), str(path))]
    files = sorted(path.glob(f"*{CERTIFICATE}"), key=lambda each: (ORDER.index(each.stem) if each.stem in ORDER else len(ORDER), each.name))
    if not files:
        raise NotFound(f"{path} has no files *.pem: `shoal cert init DIR` makes them", ErrorDetails(field="path"))
    return [(file, each) for file in files for each in facts_in(_read(file), str(file))]


def _leaves(hosts: Sequence[str], ca: KeyPair, now: datetime, days: int) -> dict[str, bytes]:
    return {name: data for kind in Leaf for name, data in _files(kind, new_leaf(kind, hosts, ca, now, days)).items()}


def _files(name: str, pair: KeyPair) -> Mapping[str, bytes]:
    return {f"{name}{KEY}": pair.key, f"{name}{CERTIFICATE}": pair.certificate}


def _real(folder: Path) -> Path:
    """Return the folder to which a link leads."""
    try:
        return folder.resolve()
    except (OSError, RuntimeError) as error:
        raise InvalidArgument(f"{folder} is no path of a folder: {error}", ErrorDetails(field="path")) from None


def _check_empty(place: Path) -> None:
    if not place.is_dir():
        if place.exists():
            raise AlreadyExists(f"{place} exists and is no folder", ErrorDetails(field="path"))
        return
    found = sorted(each.name for each in place.iterdir())
    if found:
        way = "`--renew` makes new certificates from its CA" if f"{CA}{KEY}" in found else "nothing in it is overwritten"
        raise AlreadyExists(f"{place} is not empty, it has {found[0]}: {way}", ErrorDetails(field="path"))


def _key_of_ca(place: Path) -> bytes:
    path = place / f"{CA}{KEY}"
    if not path.exists():
        message = f"{path} is missing, and without the key of the CA nothing can be signed: bring it back for the time of --renew"
        raise PreconditionFailed(message, ErrorDetails(field="path"))
    return _read(path)


def _hosts_in(place: Path, ca: KeyPair) -> tuple[str, ...]:
    """Return the hosts for which the router's certificate was made."""
    path = place / f"{Leaf.ROUTER}{CERTIFICATE}"
    if not path.exists():
        raise PreconditionFailed(
            f"{path} is missing, so the names of routers are not known: give each with --host", ErrorDetails(field="host")
        )
    data = _read(path)
    if not is_signed_by(data, ca.certificate):
        raise PreconditionFailed(f"{path} is of another CA, so its names are not taken: give each with --host", ErrorDetails(field="host"))
    return hosts_of(facts_in(data, str(path))[0])


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_MOST_BYTES)
    except FileNotFoundError:
        raise NotFound(f"{path} does not exist", ErrorDetails(field="path")) from None
    except OSError as error:
        raise InvalidArgument(f"{path} cannot be read: {error.strerror or error}", ErrorDetails(field="path")) from None


def _write(path: Path, data: bytes) -> None:
    """Write a new file durably, with the mode of its kind."""
    mode = _MODES[KEY if KEY in path.name else CERTIFICATE]
    number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with open(number, "wb") as file:
        os.fchmod(number, mode)
        file.write(data)
        file.flush()
        os.fsync(number)


def _give_to_owner_of(old: Path, fresh: Path) -> None:
    """Let a new file belong to the owner of the file that it replaces: root may renew what another user reads."""
    with suppress(FileNotFoundError):
        known, own = old.stat(), fresh.stat()
        if (known.st_uid, known.st_gid) != (own.st_uid, own.st_gid):
            os.chown(fresh, known.st_uid, known.st_gid)


def _flush_folder(place: Path) -> None:
    number = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
