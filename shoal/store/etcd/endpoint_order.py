"""In which order the endpoints of the store are tried: the one that worked last first. Pure."""

from __future__ import annotations


class EndpointOrder:
    """Endpoints 0..count-1 in a ring, starting at the preferred one."""

    def __init__(self, count: int) -> None:
        self._count = count
        self.preferred = 0

    def attempts(self) -> tuple[int, ...]:
        """Each endpoint once, the preferred first."""
        return tuple((self.preferred + step) % self._count for step in range(self._count))

    def worked(self, endpoint: int) -> None:
        """Prefer an endpoint that answered."""
        self.preferred = endpoint

    def failed(self, endpoint: int) -> None:
        """Prefer the next, when the one that failed is the preferred."""
        if endpoint == self.preferred:
            self.preferred = (endpoint + 1) % self._count
