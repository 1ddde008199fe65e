"""Where routers answer over HTTP, and over which wire the next call to a router goes. Pure.

A router says in the metadata of its answers over gRPC where its HTTP port is.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from shoal.core.addresses import split
from shoal.core.deadline import Clock
from shoal.core.errors import ErrorDetails, InvalidArgument, PreconditionFailed
from shoal.core.requests import Request
from shoal.wire.http.failure import NoAnswer, NoAnswerCause
from shoal.wire.http.request import SERVER_HEADER
from shoal.wire.public_calls import HTTP_ASKED_BY, METHODS

PLAIN, ENCRYPTED = "http://", "https://"
SCHEMES = (PLAIN, ENCRYPTED)
"""Begin the address of an HTTP port."""

ADDRESS_KEY = "shoal-http"
"""Metadata of gRPC answers: "host:port" of the router's HTTP port, ":port" if it listens on all its addresses."""

_ID = re.compile(r"[A-Za-z0-9_.-]{0,64}")

FIRST_PAUSE_S, LAST_PAUSE_S = 1.0, 300.0
"""After a failure, HTTP is tried again after this time. It doubles with each further failure in a row."""

CONNECT_S = 2.5
"""Most time to open an HTTP connection when there is gRPC as well. A lost packet is sent again after a second."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HttpPlace:
    """Where a router answers over HTTP.

    address: "host:port". named: the router as the caller knows it. server: id that the router must have, "" for any.
    """

    address: str
    named: str
    server: str = ""


@dataclass(frozen=True, slots=True)
class Unknown:
    """The router has not said yet whether it answers over HTTP. The next call goes over gRPC."""


@dataclass(frozen=True, slots=True)
class NoHttp:
    """The router has answered over gRPC and did not say that it answers over HTTP. Calls go over gRPC."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OverHttp:
    """Calls go over HTTP. failures: in a row until now."""

    place: HttpPlace
    failures: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Paused:
    """HTTP could not be used. Calls go over gRPC until `until_s` on the clock."""

    place: HttpPlace
    failures: int
    until_s: float


Way = Unknown | NoHttp | OverHttp | Paused
"""Over which wire calls to one router go."""


QUESTION: tuple[type[Request], bytes] = (HTTP_ASKED_BY, METHODS[HTTP_ASKED_BY].encode(HTTP_ASKED_BY()))
"""A call, with the bytes of its request, that costs a router little. Each of its answers says where HTTP is."""


def no_http(address: str) -> PreconditionFailed:
    """Return the error for a router that has no HTTP port, for a client that uses only HTTP."""
    message = f"the router at {address} offers no HTTP: set its http_port, or connect with transport 'auto' or 'grpc'"
    return PreconditionFailed(message, ErrorDetails(field="transport"))


def way_of(address: str) -> Way:
    """Return the way to a router before the first call. address: as `Routers` has it."""
    if address.startswith(SCHEMES):
        return OverHttp(place=HttpPlace(address=address.rpartition("//")[2], named=address))
    return Unknown()


def place_now(way: Way, now: float) -> HttpPlace | None:
    """Return where the next call goes; None for gRPC."""
    match way:
        case OverHttp(place=place):
            return place
        case Paused(place=place, until_s=until_s) if now >= until_s:
            return place
        case _:
            return None


def after_failure(way: Way, now: float) -> Way:
    """Return the way after HTTP could not be used."""
    match way:
        case OverHttp(place=place, failures=failures) | Paused(place=place, failures=failures):
            pause_s = min(LAST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(failures, 16))
            return Paused(place=place, failures=failures + 1, until_s=now + pause_s)
        case other:
            return other


def after_success(way: Way) -> Way:
    """Return the way after an answer over HTTP."""
    match way:
        case Paused(place=place):
            return OverHttp(place=place)
        case other:
            return other


def after_metadata(way: Way, place: HttpPlace | None) -> Way:
    """Return the way after an answer over gRPC. place: what its metadata said; None for nothing.

    A router does not say it with every answer. So nothing new is said by None.
    """
    match way, place:
        case (Unknown(), None):
            return NoHttp()
        case (_, None):
            return way
        case (OverHttp(place=known) | Paused(place=known), _) if known == place:
            return way
        case _:
            assert place is not None
            return OverHttp(place=place)


def known_place(way: Way) -> HttpPlace | None:
    """Return where the router answered over HTTP last, also if that did not work."""
    return way.place if isinstance(way, OverHttp | Paused) else None


def place_in(metadata: Iterable[tuple[str, Any]] | None, address: str) -> HttpPlace | None:
    """Return where the router at `address` says that it answers over HTTP; None if it does not say that.

    A text that is not an address is ignored, and the router is used over gRPC.
    """
    said = dict(metadata or ())
    told, server = said.get(ADDRESS_KEY), said.get(SERVER_HEADER, "")
    if not isinstance(told, str) or not isinstance(server, str) or not _ID.fullmatch(server):
        return None
    # The router does not know under which name it is reached. The caller does.
    whole = address.rpartition(":")[0] + told if told.startswith(":") else told
    try:
        split(whole)
    except InvalidArgument:
        return None
    return HttpPlace(address=whole, named=address, server=server)


class Ways:
    """The way to each router of a client. Thread-safe: a way is replaced as a whole. clock: monotonic, in seconds."""

    def __init__(self, clock: Clock, *, only_http: bool = False) -> None:
        """only_http: gRPC is used only to ask a router where its HTTP port is."""
        self._clock, self._only_http = clock, only_http
        self._ways: dict[str, Way] = {}

    def place(self, address: str) -> HttpPlace | None:
        """Return where the next call to this router goes; None for gRPC."""
        way = self._ways.get(address)
        if way is None:
            way = self._ways.setdefault(address, way_of(address))
        return way.place if isinstance(way, OverHttp) else place_now(way, self._clock())

    def told(self, address: str, metadata: Iterable[tuple[str, Any]] | None) -> None:
        """Note the metadata of an answer or an error that came over gRPC."""
        way = self._ways.get(address, Unknown())
        self._ways[address] = after_metadata(way, place_in(metadata, address))

    def asked(self, address: str) -> HttpPlace:
        """Return the place of a router that was asked for it over gRPC. Raises PreconditionFailed if it has none."""
        place = known_place(self._ways.get(address, Unknown()))
        if place is None:
            raise no_http(address)
        self._ways[address] = OverHttp(place=place)
        return place

    def answered(self, address: str) -> None:
        """Note an answer over HTTP."""
        way = self._ways.get(address, Unknown())
        if isinstance(way, Paused):
            self._ways[address] = after_success(way)

    def failed(self, address: str, place: HttpPlace, failure: NoAnswer) -> bool:
        """Note that a call over HTTP got no answer. Return whether to send it over gRPC now.

        Only if nothing was sent, or nothing was done. Without gRPC, the router is asked again where its HTTP port is.
        """
        if failure.cause not in (NoAnswerCause.NOT_REACHED, NoAnswerCause.STRANGER) or address.startswith(SCHEMES):
            return False
        way, now = self._ways.get(address, Unknown()), self._clock()
        if self._only_http:
            self._ways[address] = Paused(place=place, failures=1, until_s=math.inf)
        elif place_now(way, now) == place:
            # Of many threads that fail at once, only the first one counts.
            self._ways[address] = after_failure(way, now)
        return not self._only_http
