"""Test which answers over gRPC tell where the HTTP port is."""

from __future__ import annotations

import asyncio
from typing import Any

from shoal.runtime.server import Announcement

SAYS = (("shoal-http", "h:80"), ("shoal-server", "x"))


class AnnouncedCall:
    """The context of a call of one peer. told: what its answer says."""

    def __init__(self, peer: str) -> None:
        self._peer = peer
        self.told: Any = None

    def peer(self) -> str:
        return self._peer

    async def send_initial_metadata(self, metadata: Any) -> None:
        self.told = metadata


class Times:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 5.0

    def __call__(self) -> float:
        return self.now


def told(announcement: Announcement, peer: str) -> bool:
    call = AnnouncedCall(peer)
    asyncio.run(announcement.to(call))
    assert call.told in (None, SAYS)
    return call.told is not None


def test_a_peer_is_told_once_and_again_after_a_while() -> None:
    clock = Times()
    announcement = Announcement("h:80", "x", clock=clock)
    assert [told(announcement, peer) for peer in ("a", "a", "b", "a", "b")] == [True, False, True, False, False]
    clock.now += 0.5
    assert not told(announcement, "a")
    clock.now += 0.5
    assert [told(announcement, peer) for peer in ("a", "a", "b")] == [True, False, True]


def test_the_peer_told_first_is_forgotten_first() -> None:
    clock = Times()
    announcement = Announcement("h:80", "x", clock=clock)
    for number in range(4_096):
        assert told(announcement, f"peer {number}")
    clock.now += 1.0
    assert told(announcement, "peer 0")
    assert told(announcement, "one more")
    assert not told(announcement, "peer 0")
    assert told(announcement, "peer 1")


def test_who_asks_is_always_told() -> None:
    announcement = Announcement("h:80", "x", clock=Times())
    for _ in range(2):
        call = AnnouncedCall("a")
        asyncio.run(announcement.always(call))
        assert call.told == SAYS
