"""The page: every control is a link to a state, and texts of users are only texts."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from examples.images.page import STYLE, About, error_page, results_page
from examples.images.search import Answer, ShownPicture, same_count
from examples.images.wishes import PicturesLike, RandomPictures

EVIL = '"><script>alert(1)</script>'
ABOUT = About(
    title="Mine",
    embedding="pixels by PCA, 64 dimensions",
    metric="l2",
    count=1_200,
    recall=0.9871,
    recall_k=10,
    recall_sample=200,
    labels={"cat": 1_000, EVIL: 200},
)
LIKE = Answer(
    wish=PicturesLike(id=4, label="cat", k=12),
    pictures=(ShownPicture(id=7, label="cat", name="cat/7.png", score=3.14159), ShownPicture(id=9, label=EVIL, name=EVIL, score=1234.5)),
    search_ms=1.26,
    asked=ShownPicture(id=4, label=EVIL, name="x.png"),
    exact_ms=4.5,
    nearest=1,
)


class Links(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        self.links += [value or "" for name, value in attrs if tag == "a" and name == "href"]


def test_the_page_of_a_search_tells_what_was_found() -> None:
    page = results_page(ABOUT, LIKE, 1_000_005)
    for told in (
        "1,200 pictures · pixels by PCA, 64 dimensions · recall@10 0.987, measured against exact search with 200 of them",
        "2 pictures found in 1.3 ms, of the label cat: 1 of the 2 nearest (exact search: 4.5 ms)",
        "distance 3.14",
        "distance 1234.50",
        'src="/picture/4"',
    ):
        assert told in page
    links = Links(page).links
    assert links[:2] == ["#pictures", "/?seed=5&label=cat&k=12"]
    assert {"/?like=4&k=12", "/?like=4&label=cat&k=12", "/?like=4&label=cat", "/?like=4&label=cat&k=96"} <= set(links)
    assert links[-2:] == ["/?like=7&label=cat&k=12", "/?like=9&label=cat&k=12"]


def test_texts_of_users_are_only_texts() -> None:
    page = results_page(replace(ABOUT, title=EVIL), LIKE, 1) + error_page(EVIL, EVIL)
    seen = Links(page)
    assert "script" not in seen.tags
    assert not [name for name, _ in seen.attributes if name.startswith("on")]
    assert page.count("&lt;script&gt;") > 4


def test_nothing_is_asked_of_others() -> None:
    page = results_page(ABOUT, LIKE, 1) + STYLE.read_text(encoding="utf-8")
    assert re.findall(r"https?:|//[a-z]|@import|url\(", page) == []


def test_random_pictures_have_no_scores() -> None:
    drawn = Answer(wish=RandomPictures(seed=3), pictures=(ShownPicture(id=1, label="cat", name="1"),), search_ms=2.0)
    page = results_page(ABOUT, drawn, 4)
    assert "1 picture at random; read in 2.0 ms" in page
    assert "distance" not in page
    empty = results_page(ABOUT, replace(LIKE, pictures=(), nearest=0), 4)
    assert "No other picture has this label." in empty


def test_many_labels_scroll() -> None:
    assert "choices many" not in results_page(ABOUT, LIKE, 1)
    assert "choices many" in results_page(replace(ABOUT, labels={f"{at}": 1 for at in range(60)}), LIKE, 1)


@pytest.mark.parametrize(
    ("found", "exact", "same"),
    [
        ([1.0, 2.0], [1.0, 2.0], 2),
        ([1.0, 3.0], [1.0, 2.0], 1),
        ([2.0, 2.0], [2.0], 1),
        ([0.0], [0.0], 1),
        ([1.0000001], [1.0], 1),
        ([], [], 0),
    ],
)
def test_hits_count_by_their_scores(found: list[float], exact: list[float], same: int) -> None:
    assert same_count(found, exact) == same
