"""The image search: its page over a real cluster, in a browser, and `make demo-images` as a whole."""

from __future__ import annotations

import asyncio
import http.client
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from html import unescape
from pathlib import Path

import pytest

import shoal
from examples.images.embedding import by_pixels
from examples.images.page import About
from examples.images.pictures import Pictures, in_folder
from examples.images.search import ImageSearch, measured_recall, payload_of
from examples.images.server import HOST, MOST_AT_ONCE, listener, serving
from tests.support.browser import Tab, browser_program, browser_tab
from tests.support.cluster.role_cluster import RoleCluster
from tests.support.examples.pictures import folder_of_pictures
from tests.support.repository import ROOT
from tests.support.scope import LONG

NAME, EACH = "image-search", 150
STRIPES = "stripes & <b>"
IN_VIEW_ARE_LOADED = """
[...document.images].filter(each => each.getBoundingClientRect().top < innerHeight).every(each => each.naturalWidth == 224)
"""
LIGHT, DARK = "rgb(246, 247, 249)", "rgb(20, 24, 29)"


class Site:
    """The page's server in a thread of its own."""

    def __init__(self, cluster: str, folder: Path, pictures: Pictures, about: About) -> None:
        self.folder, self.pictures = folder, pictures
        self._cluster, self._about = cluster, about
        self._up, self.port = threading.Event(), 0
        self._loop = asyncio.new_event_loop()
        self._end = asyncio.Event()

    @contextmanager
    def running(self) -> Iterator[Site]:
        thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._serve()))
        thread.start()
        try:
            assert self._up.wait(60)
            yield self
        finally:
            self._loop.call_soon_threadsafe(self._end.set)
            thread.join(60)
            self._loop.close()

    def get(self, path: str, *, method: str = "GET", host: str | None = None) -> tuple[int, str, dict[str, str]]:
        """Return status, text and headers of one request."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=60)
        try:
            connection.request(method, path, headers={} if host is None else {"Host": host})
            answer = connection.getresponse()
            data = answer.read()
            return answer.status, data.decode("utf-8", errors="replace"), dict(answer.getheaders())
        finally:
            connection.close()

    async def _serve(self) -> None:
        async with shoal.connect_async(self._cluster) as client:
            search = ImageSearch(client, NAME, self.pictures.labels)
            with listener(0) as listening:
                self.port = listening.getsockname()[1]
                async with serving(listening, self.pictures, search, self._about):
                    self._up.set()
                    await self._end.wait()


@pytest.fixture(scope="module")
def site(shared_cluster: RoleCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = folder_of_pictures(tmp_path_factory.mktemp("pictures") / "mine", EACH)
    pictures = in_folder(folder)
    embedded = by_pixels(pictures, dimensions=24)
    with shoal.connect(shared_cluster.address) as client:
        client.create_collection(NAME, dim=24, metric="l2", shards=2)
        payloads = [payload_of(label, name) for label, name in zip(pictures.labels, pictures.names, strict=True)]
        client.upsert(NAME, range(len(pictures)), embedded.vectors, payloads)
        recall = measured_recall(client, NAME, embedded.vectors[:50], 10)
        assert recall == 1.0, "a segment that grows is searched exactly"
        labels = {"disc": EACH, STRIPES: EACH}
        about = About(
            title="mine", embedding=embedded.name, metric="l2", count=300, recall=recall, recall_k=10, recall_sample=50, labels=labels
        )
        with Site(shared_cluster.address, folder, pictures, about).running() as running:
            yield running
        client.drop_collection(NAME)


def cards(page: str) -> list[str]:
    return [unescape(each) for each in re.findall(r'<span class="label">(.*?)</span>', page)]


def test_the_first_page_is_of_random_pictures_and_has_an_address(site: Site) -> None:
    status, _, headers = site.get("/")
    assert status == 302
    assert re.fullmatch(r"/\?seed=\d+", headers["Location"])
    status, page, headers = site.get(headers["Location"])
    assert (status, len(cards(page)), headers["Content-Type"]) == (200, 24, "text/html; charset=utf-8")
    assert set(cards(page)) == {"disc", STRIPES}
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert cards(site.get("/?seed=5")[1]) == cards(site.get("/?seed=5")[1])


def test_more_like_this_and_a_label(site: Site) -> None:
    status, page, _ = site.get("/?like=3&k=12")
    assert (status, cards(page)) == (200, ["disc"] * 12)
    assert "12 of the 12 nearest" in page
    assert 'href="/?like=3&amp;' not in page.partition("<main>")[2], "a picture is not like itself"
    scores = [float(text) for text in re.findall(r"distance ([\d.]+)<", page)]
    assert scores == sorted(scores)
    assert len(scores) == 12
    other = site.get("/?like=3&label=stripes+%26+%3Cb%3E&k=100")[1]
    assert cards(other) == [STRIPES] * 100
    assert cards(site.get("/?seed=1&label=disc")[1]) == ["disc"] * 24


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("/?like=300", 404, "there is no picture 300, ids are from 0 to 299"),
        ("/?like=x", 400, "the id of the picture is 'x', it must be a number from 0 to 299"),
        ("/?label=%3Cscript%3E", 404, "no picture has the label '<script>'"),
        ("/?k=101", 400, "k is '101', it must be a number from 1 to 100"),
        ("/?k=1&k=2", 400, "the address has 'k' twice"),
        ("/?q=1", 400, "unknown word 'q' in the address"),
        ("/picture/300", 404, "there is no picture 300"),
        ("/picture/..%2F..%2Fetc%2Fpasswd", 400, "the id of the picture is '../../etc/passwd'"),
        ("/nowhere", 404, "there is no page '/nowhere' here"),
    ],
)
def test_bad_input_is_answered_by_a_page_that_names_it(site: Site, path: str, status: int, message: str) -> None:
    code, page, headers = site.get(path)
    assert (code, headers["X-Content-Type-Options"]) == (status, "nosniff")
    assert message in unescape(page)
    assert "<script>" not in page
    assert 'href="/"' in page


def test_only_reading_and_only_by_its_own_name(site: Site) -> None:
    status, page, headers = site.get("/", method="POST")
    assert (status, headers["Allow"]) == (405, "GET,HEAD")
    assert "POST is not served here" in page
    assert site.get("/?seed=1", host=f"localhost:{site.port}")[0] == 200
    status, page, _ = site.get("/?seed=1", host="evil.example")
    assert (status, "this page is served as 127.0.0.1" in page) == (403, True)


def test_a_picture_is_a_jpeg_and_one_that_is_gone_is_told(site: Site) -> None:
    status, data, headers = site.get("/picture/0")
    assert (status, headers["Content-Type"]) == (200, "image/jpeg")
    assert "JFIF" in data[:16]
    os.remove(site.folder / site.pictures.names[299])
    status, page, _ = site.get("/picture/299")
    assert (status, "picture 299 can no longer be read" in page) == (404, True)


def test_many_at_once_are_answered_or_refused(site: Site) -> None:
    answers: list[int] = []
    threads = [threading.Thread(target=lambda: answers.append(site.get("/?like=1&k=100")[0])) for _ in range(MOST_AT_ONCE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert answers == [200] * MOST_AT_ONCE


@pytest.mark.skipif(not LONG, reason="starts a browser: make test-long")
@pytest.mark.skipif(browser_program() is None, reason="no Chromium is installed (apt install chromium-headless-shell)")
def test_in_a_browser(site: Site, tmp_path: Path) -> None:
    pictures = asyncio.run(_browse(site, tmp_path))
    for name, data in pictures.items():
        (tmp_path / f"{name}.png").write_bytes(data)
        assert len(data) > 10_000
    assert len(set(pictures.values())) == 3


async def _browse(site: Site, folder: Path) -> dict[str, bytes]:
    program = browser_program()
    assert program is not None
    home = f"http://{HOST}:{site.port}"
    async with browser_tab(program, folder / "profile") as tab:
        await _at_a_desk(tab, home)
        pictures = await _by_day_and_night(tab)
        await _by_keys(tab, home)
        await _on_a_phone(tab, home)
        await tab.until(IN_VIEW_ARE_LOADED)
        return {**pictures, "phone": await tab.picture()}


async def _at_a_desk(tab: Tab, home: str) -> None:
    await tab.ask("Emulation.setDeviceMetricsOverride", width=1280, height=900, deviceScaleFactor=1, mobile=False)
    await tab.open(home)
    assert re.fullmatch(rf"{home}/\?seed=\d+", await tab.value("location.href"))
    assert await tab.value("document.querySelectorAll('.card').length") == 24
    await tab.until(IN_VIEW_ARE_LOADED)
    first = await tab.value("document.querySelector('.card').href")
    await tab.leave_by("document.querySelector('.card').click()")
    assert await tab.value("location.href") == first
    assert (await tab.value("document.querySelector('h2').textContent")).startswith("Like this one: ")
    assert await tab.value("document.querySelectorAll('.card .score').length") == 24
    await tab.leave_by("[...document.querySelectorAll('nav a')].find(each => each.textContent.startsWith('stripes')).click()")
    labels = await tab.value("[...new Set([...document.querySelectorAll('.card .label')].map(each => each.textContent))]")
    assert labels == [STRIPES]
    chosen = await tab.value("[...document.querySelectorAll('[aria-current]')].map(each => each.textContent)")
    assert chosen == ["24", f"{STRIPES} 150"]
    hosts = await tab.value("[...new Set(performance.getEntriesByType('resource').map(each => new URL(each.name).origin))]")
    assert hosts == [home]


async def _by_day_and_night(tab: Tab) -> dict[str, bytes]:
    found = {}
    for scheme, ground in (("light", LIGHT), ("dark", DARK)):
        await tab.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        assert await tab.value("getComputedStyle(document.body).backgroundColor") == ground
        await tab.until(IN_VIEW_ARE_LOADED)
        found[scheme] = await tab.picture()
    return found


async def _by_keys(tab: Tab, home: str) -> None:
    """The first tab stop leads to the pictures, the next one is the first picture, and Enter follows it."""
    await tab.open(f"{home}/?seed=1")
    await tab.press("Tab", 9)
    assert await tab.value("document.activeElement.textContent") == "To the pictures"
    await tab.press("Enter", 13, "\r")
    assert await tab.value("location.hash") == "#pictures"
    await tab.press("Tab", 9)
    first = await tab.value("document.querySelector('.card').href")
    assert await tab.value("document.activeElement.href") == first
    assert await tab.value("document.activeElement.getAttribute('aria-label').startsWith('More like this, ')")
    await tab.press_to_leave("Enter", 13, "\r")
    assert await tab.value("location.href") == first


async def _on_a_phone(tab: Tab, home: str) -> None:
    await tab.ask("Emulation.setDeviceMetricsOverride", width=360, height=740, deviceScaleFactor=2, mobile=True)
    await tab.open(f"{home}/?like=3")
    assert await tab.value("document.documentElement.scrollWidth") == 360, "nothing is wider than the screen"
    assert await tab.value("getComputedStyle(document.querySelector('.grid')).gridTemplateColumns.split(' ').length") == 3


@pytest.fixture
def started(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
    folder = folder_of_pictures(tmp_path / "mine", 60)
    environment = {**os.environ, "COLUMNS": "200", "TMPDIR": str(tmp_path), "NO_COLOR": "1"}
    command = [sys.executable, "-u", "-m", "examples.images", str(folder), "--port", "0", request.param]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


@pytest.mark.timeout(170)
@pytest.mark.parametrize("started", ["--once"], indirect=True)
def test_it_searches_once_and_ends(started: subprocess.Popen[str], tmp_path: Path) -> None:
    said, wrong = started.communicate(timeout=160)
    assert (started.returncode, wrong) == (0, "")
    assert "mine: 120 pictures, 2 labels" in said
    assert "recall@10 = 1.0000" in said
    assert said.count("10/10") == 10
    assert re.search(r"the page http://127\.0\.0\.1:\d+/\?like=\d+&k=10 shows 10 pictures\n", said)
    assert list(tmp_path.glob("shoal-images-*")) == []


@pytest.mark.timeout(170)
@pytest.mark.skipif(not LONG, reason="one more start; test_local_signals ends clusters in more ways")
@pytest.mark.parametrize("started", ["--serve"], indirect=True)
def test_ctrl_c_ends_the_page_and_its_cluster(started: subprocess.Popen[str], tmp_path: Path) -> None:
    assert started.stdout is not None
    assert next((line for line in started.stdout if line.startswith("The page is at http://127.0.0.1:")), None)
    started.send_signal(signal.SIGINT)
    said, wrong = started.communicate(timeout=160)
    assert (started.returncode, wrong) == (0, "")
    assert "stopped" in said
    assert list(tmp_path.glob("shoal-images-*")) == []
