"""The pages of a scroll, one after the other. Pure."""

from __future__ import annotations

from typing import Any

from shoal.client.flow import Flow
from shoal.client.results import Point, points_of
from shoal.core.points import PointId
from shoal.core.replies import Page


class Pages:
    """The position of a scroll. Call `next_page()` until it returns None, and pass each answer to `take`."""

    def __init__(self, page: Any, after: PointId | None = None) -> None:
        """Begin behind the id `after`; None: with the first point."""
        self._page = page
        self._after = after
        self._collection_id = ""
        self._more = True

    def next_page(self) -> Flow[Page] | None:
        """Return the flow that reads the next page; None when all pages were read."""
        flow: Flow[Page] | None = self._page(self._after, self._collection_id) if self._more else None
        return flow

    def take(self, page: Page) -> list[Point]:
        """Return the points of a page, and remember the position after it."""
        points = points_of(page.points)
        self._more = page.more and bool(points)
        self._collection_id = page.collection_id
        if points:
            self._after = points[-1].id
        return points
