"""Test what probes are told of the roles of a process."""

from __future__ import annotations

import asyncio
import threading

from shoal.runtime.standing import ProbeAnswer, RoleStandings


def test_a_process_without_roles_lives_and_has_not_started() -> None:
    standing = RoleStandings()
    assert standing.live() == ProbeAnswer(True, "live")
    assert standing.ready() == standing.started() == ProbeAnswer(False, "no role runs yet")


def test_all_roles_have_to_serve_and_once_started_stays() -> None:
    async def scenario() -> None:
        standing = RoleStandings()
        standing.tell("router", True)
        standing.tell("worker", False)
        assert standing.ready() == ProbeAnswer(False, "does not serve: worker")
        assert standing.started() == ProbeAnswer(False, "has not started: worker")
        standing.tell("worker", True)
        assert standing.ready() == ProbeAnswer(True, "ready")
        standing.tell("worker", False)
        standing.tell("router", False)
        assert standing.ready() == ProbeAnswer(False, "does not serve: router, worker")
        assert standing.started() == ProbeAnswer(True, "started")

    asyncio.run(scenario())


def test_an_event_loop_that_hangs_or_is_closed_is_not_live() -> None:
    standing, hangs, goes_on = RoleStandings(), threading.Event(), threading.Event()

    async def scenario() -> None:
        standing.tell("worker", True)
        assert (await asyncio.to_thread(standing.live)).good
        hangs.set()
        goes_on.wait(60)

    thread = threading.Thread(target=asyncio.run, args=(scenario(),))
    thread.start()
    assert hangs.wait(60)
    assert standing.live(within_s=0.05) == ProbeAnswer(False, "does not run: worker")
    goes_on.set()
    thread.join()
    assert standing.live(within_s=0.05) == ProbeAnswer(False, "does not run: worker")
