"""Serves the page to browsers of this machine: a few paths over HTTP, read only.

It refuses other hosts' names, so that no page of the internet reads the pictures through a name that it points here.
"""

from __future__ import annotations

import asyncio
import io
import os
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import lru_cache

from aiohttp import web
from PIL import Image, ImageOps

from examples.images.page import STYLE, About, error_page, results_page
from examples.images.pictures import Pictures
from examples.images.search import ImageSearch
from examples.images.wishes import SEEDS, RandomPictures, address_of, picture_of, wish_of
from shoal.core.errors import (
    DeadlineExceeded,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    ShoalError,
    Unavailable,
)

HOST = "127.0.0.1"
USUAL_PORT = 7680
MOST_AT_ONCE = 64
"""Requests that are answered at a time. More are refused, and a browser asks for about six."""

_SIDE = 224
_KEPT = 2_000
_NAMES = frozenset({HOST, "localhost"})
_STATUSES: dict[type[ShoalError], int] = {
    InvalidArgument: 400,
    PermissionDenied: 403,
    NotFound: 404,
    ResourceExhausted: 503,
    Unavailable: 503,
    DeadlineExceeded: 504,
}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self' data:; style-src 'self'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def listener(port: int | None) -> socket.socket:
    """Return a socket that listens on this machine only. port: None for the usual one, or any if it is in use; 0 for
    any.

    Raises Unavailable.
    """
    if port is not None:
        return _bound(port)
    try:
        return _bound(USUAL_PORT)
    except Unavailable:
        return _bound(0)


def _bound(port: int) -> socket.socket:
    try:
        return socket.create_server((HOST, port))
    except OSError as error:
        raise Unavailable(f"cannot listen on {HOST}:{port}: {os.strerror(error.errno or 0)}") from None


@asynccontextmanager
async def serving(listening: socket.socket, pictures: Pictures, search: ImageSearch, about: About) -> AsyncIterator[str]:
    """Serve the page while the context is open. Yields its address. The socket is closed at the end."""
    runner = web.AppRunner(application(pictures, search, about), access_log=None, handle_signals=False, shutdown_timeout=2.0)
    await runner.setup()
    try:
        await web.SockSite(runner, listening).start()
        yield f"http://{HOST}:{listening.getsockname()[1]}/"
    finally:
        await runner.cleanup()


def application(pictures: Pictures, search: ImageSearch, about: About, draw: Callable[[], int] | None = None) -> web.Application:
    """Return the application. draw: returns seeds of random pictures, by default at random."""
    site = _Site(pictures, search, about, draw or (lambda: random.randrange(SEEDS)))
    application = web.Application(middlewares=[site.guarded], client_max_size=1024)
    application.add_routes(
        [web.get("/", site.page, allow_head=True), web.get("/page.css", site.style), web.get("/picture/{id}", site.picture)]
    )
    return application


class _Site:
    def __init__(self, pictures: Pictures, search: ImageSearch, about: About, draw: Callable[[], int]) -> None:
        self._pictures, self._search, self._about, self._draw = pictures, search, about, draw
        self._style = STYLE.read_text(encoding="utf-8")
        self._thumbnail = lru_cache(maxsize=_KEPT)(lambda at: thumbnail(pictures.image(at)))
        self._under_way = 0

    @web.middleware
    async def guarded(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer every error with a page that says what is wrong."""
        try:
            response = await self._bounded(request, handler)
        except ShoalError as error:
            response = _error(_STATUSES.get(type(error), 500), error.message)
        except web.HTTPNotFound:
            response = _error(404, f"there is no page {request.path[:64]!r} here")
        except web.HTTPMethodNotAllowed as error:
            response = _error(405, f"{error.method[:16]} is not served here, GET is")
            response.headers["Allow"] = error.headers["Allow"]
        response.headers.update(_HEADERS)
        return response

    async def _bounded(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        name = request.host.rpartition(":")[0] if ":" in request.host else request.host
        if name not in _NAMES:
            raise PermissionDenied(f"this page is served as {HOST}, not as {request.host[:64]!r}")
        if self._under_way >= MOST_AT_ONCE:
            raise ResourceExhausted(f"{MOST_AT_ONCE} requests are being answered, try again")
        self._under_way += 1
        try:
            return await handler(request)
        finally:
            self._under_way -= 1

    async def page(self, request: web.Request) -> web.StreamResponse:
        """Answer the wish of the address; an empty one is sent on to random pictures, so that they have an address."""
        if not request.query_string:
            some = address_of(RandomPictures(seed=self._draw()))
            return web.Response(status=302, headers={"Location": some, "Cache-Control": "no-store"})
        twice = next((word for word in request.query if len(request.query.getall(word)) > 1), None)
        if twice is not None:
            raise InvalidArgument(f"the address has {twice[:64]!r} twice")
        wish = wish_of(dict(request.query), self._search.count, self._search.labels, self._draw())
        answer = await self._search.answer(wish)
        return _html(200, results_page(self._about, answer, self._draw()))

    async def style(self, _: web.Request) -> web.StreamResponse:
        """Answer with the style sheet."""
        return web.Response(text=self._style, content_type="text/css", charset="utf-8")

    async def picture(self, request: web.Request) -> web.StreamResponse:
        """Answer with a picture, at most 224 pixels wide and high. Small ones are enlarged."""
        at = picture_of(request.match_info["id"], len(self._pictures))
        try:
            data = await asyncio.to_thread(self._thumbnail, at)
        except (OSError, InvalidArgument) as error:
            raise NotFound(f"picture {at} can no longer be read: {error}") from None
        return web.Response(body=data, content_type="image/jpeg", headers={"Cache-Control": "no-cache"})


def thumbnail(picture: Image.Image) -> bytes:
    """Return a picture as JPEG, scaled to fit into the square of the page."""
    shown = ImageOps.contain(picture, (_SIDE, _SIDE), Image.Resampling.LANCZOS)
    data = io.BytesIO()
    shown.save(data, "JPEG", quality=85)
    return data.getvalue()


def _error(status: int, message: str) -> web.Response:
    title = "This cannot be shown" if status < 500 else "The cluster did not answer"
    return _html(status, error_page(title, message))


def _html(status: int, text: str) -> web.Response:
    return web.Response(status=status, text=text, content_type="text/html", charset="utf-8", headers={"Cache-Control": "no-store"})
