"""A headless Chromium, driven by its DevTools protocol over a WebSocket."""

from __future__ import annotations

import asyncio
import base64
import os
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp

PROGRAMS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
WAIT_S = 30.0
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--no-first-run",
    "--disable-background-networking",
    "--remote-debugging-port=0",
)


def browser_program() -> str | None:
    """Return the path of an installed Chromium; None without one."""
    return next((found for name in PROGRAMS if (found := shutil.which(name))), None)


class Tab:
    """A page of the browser."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, session: str) -> None:
        self._socket, self._session, self._number = socket, session, 0
        self._loaded = 0

    async def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and return its answer. Raises AssertionError for a refused one."""
        self._number += 1
        number = self._number
        await self._socket.send_json({"id": number, "sessionId": self._session, "method": method, "params": parameters})
        while True:
            told = await self._next()
            if told.get("id") == number:
                assert "error" not in told, told["error"]
                answer: dict[str, Any] = told["result"]
                return answer

    async def open(self, address: str) -> None:
        """Go to an address, and wait until the page and its pictures are loaded."""
        loaded = self._loaded
        await self.ask("Page.navigate", url=address)
        await self.await_load(loaded)

    async def await_load(self, loaded: int) -> None:
        """Wait until a page more is loaded than `loaded`."""
        while self._loaded <= loaded:
            await self._next()

    async def leave_by(self, script: str) -> None:
        """Run a script that leads to another page, and wait until that is loaded."""
        loaded = self._loaded
        await self.value(script)
        await self.await_load(loaded)

    async def press(self, key: str, code: int, text: str = "") -> None:
        """Press a key and release it."""
        for kind in ("keyDown", "keyUp"):
            await self.ask("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, text=text)

    async def press_to_leave(self, key: str, code: int, text: str) -> None:
        """Press a key that leads to another page, and wait until that is loaded."""
        loaded = self._loaded
        await self.press(key, code, text)
        await self.await_load(loaded)

    async def value(self, script: str) -> Any:
        """Return the value of an expression in the page."""
        answer = await self.ask("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    async def until(self, script: str) -> None:
        """Wait until the value of an expression is true."""
        async with asyncio.timeout(WAIT_S):
            while True:
                if await self.value(script):
                    return
                await asyncio.sleep(0.05)

    async def picture(self) -> bytes:
        """Return a screenshot (PNG)."""
        return base64.b64decode((await self.ask("Page.captureScreenshot", format="png"))["data"])

    async def _next(self) -> dict[str, Any]:
        async with asyncio.timeout(WAIT_S):
            told: dict[str, Any] = await self._socket.receive_json()
        self._loaded += told.get("method") == "Page.loadEventFired"
        return told


@asynccontextmanager
async def browser_tab(program: str, folder: Path) -> AsyncIterator[Tab]:
    """Start a browser with its profile in a folder, yield an empty page of it, and end it and its processes."""
    process = await asyncio.create_subprocess_exec(
        program,
        *_FLAGS,
        f"--user-data-dir={folder}",
        "about:blank",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(WAIT_S):
            address = await _devtools(process, folder)
        async with aiohttp.ClientSession() as session, session.ws_connect(address, max_msg_size=2**26) as socket:
            target = (await _asked(socket, 1, "Target.createTarget", url="about:blank"))["targetId"]
            attached = await _asked(socket, 2, "Target.attachToTarget", targetId=target, flatten=True)
            tab = Tab(socket, attached["sessionId"])
            await tab.ask("Page.enable")
            yield tab
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def _asked(socket: aiohttp.ClientWebSocketResponse, number: int, method: str, **parameters: Any) -> dict[str, Any]:
    """Send a command to the browser itself, and return its answer."""
    await socket.send_json({"id": number, "method": method, "params": parameters})
    async with asyncio.timeout(WAIT_S):
        while (told := await socket.receive_json()).get("id") != number:
            pass
    answer: dict[str, Any] = told["result"]
    return answer


async def _devtools(process: asyncio.subprocess.Process, folder: Path) -> str:
    """Return the address of the protocol, which the browser writes into its profile: the port, and a path."""
    written = folder / "DevToolsActivePort"
    while not (await asyncio.to_thread(_text, written)).count("\n"):
        assert process.returncode is None, f"the browser ended with {process.returncode}"
        await asyncio.sleep(0.05)
    port, path = (await asyncio.to_thread(_text, written)).split("\n")[:2]
    return f"ws://127.0.0.1:{port}{path}"


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8") if file.exists() else ""
