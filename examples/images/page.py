"""The page as HTML. It needs no script: every control is a link, so that each state has an address. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path

from examples.images.search import Answer, ShownPicture
from examples.images.wishes import SEEDS, PicturesLike, RandomPictures, Wish, address_of, with_k, with_label

STYLE = Path(__file__).with_name("page.css")
CHOICES_OF_K = (12, 24, 48, 96)
MANY_LABELS = 40
"""More labels than this are shown in a box that scrolls."""

_SCORES = {"l2": "distance", "cosine": "similarity"}


@dataclass(frozen=True, kw_only=True, slots=True)
class About:
    """What every page tells. title: of the pictures; embedding: its name; metric: of the collection; recall: measured
    against exact search, at `recall_k` hits, with `recall_sample` pictures; labels: with their numbers of pictures.
    """

    title: str
    embedding: str
    metric: str
    count: int
    recall: float
    recall_k: int
    recall_sample: int
    labels: Mapping[str, int]


def results_page(about: About, answer: Answer, next_seed: int) -> str:
    """Return the page of an answer. next_seed: for other random pictures."""
    wish = answer.wish
    return _page(
        _title(about, answer),
        [
            '<a class="skip" href="#pictures">To the pictures</a>',
            _header(about),
            _controls(about, wish, next_seed),
            "<main>",
            _asked(about, answer),
            f'<ul id="pictures" class="grid" tabindex="-1">{"".join(_card(each, wish, about.metric) for each in answer.pictures)}</ul>',
            "" if answer.pictures else '<p class="none">No other picture has this label.</p>',
            "</main>",
        ],
    )


def error_page(title: str, message: str) -> str:
    """Return the page of an error, with a way back."""
    return _page(
        title,
        [
            "<main>",
            f"<h1>{escape(title)}</h1>",
            f'<p role="alert">{escape(message)}</p>',
            '<p><a class="button" href="/">Random pictures</a></p>',
            "</main>",
        ],
    )


def _page(title: str, body: Iterable[str]) -> str:
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(title)}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/page.css">
</head>
<body>
{"".join(body)}
</body>
</html>
"""


def _title(about: About, answer: Answer) -> str:
    if answer.asked is not None:
        return f"Like {answer.asked.name} ({answer.asked.label}) - {about.title}"
    return f"{about.title} - image search with Shoal"


def _header(about: About) -> str:
    measured = f"recall@{about.recall_k} {about.recall:.3f}, measured against exact search with {about.recall_sample:,} of them"
    facts = (f"{about.count:,} pictures", about.embedding, measured)
    return f'<header><h1>{escape(about.title)}</h1><p class="facts">{" · ".join(map(escape, facts))}</p></header>'


def _controls(about: About, wish: Wish, next_seed: int) -> str:
    labels: list[str] = [_choice("All", with_label(wish, None), wish.label is None)]
    labels += [_choice(label, with_label(wish, label), wish.label == label, about.labels[label]) for label in about.labels]
    numbers = [_choice(str(k), with_k(wish, k), wish.k == k) for k in CHOICES_OF_K]
    elsewhere = RandomPictures(seed=next_seed % SEEDS, label=wish.label, k=wish.k)
    many = " many" if len(labels) > MANY_LABELS else ""
    return (
        '<div class="controls">'
        f'<div class="choices"><a class="button" href="{_href(elsewhere)}">Random pictures</a>'
        f'<nav class="choices" aria-label="Number of pictures"><span class="name">Show</span>{"".join(numbers)}</nav></div>'
        f'<nav class="choices{many}" aria-label="Label">{"".join(labels)}</nav>'
        "</div>"
    )


def _choice(text: str, wish: Wish, chosen: bool, count: int | None = None) -> str:
    mark = ' aria-current="true"' if chosen else ""
    number = "" if count is None else f' <span class="count">{count:,}</span>'
    return f'<a href="{_href(wish)}"{mark}>{escape(text)}{number}</a>'


def _asked(about: About, answer: Answer) -> str:
    count = len(answer.pictures)
    pictures = "1 picture" if count == 1 else f"{count:,} pictures"
    of_label = "" if answer.wish.label is None else f", of the label {answer.wish.label}"
    if answer.asked is None or answer.exact_ms is None:
        return f'<p class="facts" role="status">{escape(f"{pictures} at random{of_label}; read in {answer.search_ms:.1f} ms")}</p>'
    asked = answer.asked
    told = (
        f"{pictures} found in {answer.search_ms:.1f} ms{of_label}: {answer.nearest} of the {count} nearest"
        f" (exact search: {answer.exact_ms:.1f} ms)"
    )
    if about.metric == "l2":
        told += ". The distance is squared: smaller is nearer."
    return (
        '<section class="asked">'
        f'<img src="/picture/{asked.id}" alt="{escape(asked.label)}" width="224" height="224">'
        f"<div><h2>Like this one: {escape(asked.label)}</h2>"
        f'<p class="name">{escape(asked.name)}</p>'
        f'<p class="facts" role="status">{escape(told)}</p></div></section>'
    )


def _card(picture: ShownPicture, wish: Wish, metric: str) -> str:
    score = "" if picture.score is None else f"{_SCORES[metric]} {picture.score:.2f}"
    like = PicturesLike(id=picture.id, label=wish.label, k=wish.k)
    spoken = ", ".join(filter(None, ("More like this", picture.label, picture.name, score)))
    return (
        f'<li><a class="card" href="{_href(like)}" aria-label="{escape(spoken)}" title="{escape(picture.name)}">'
        f'<img src="/picture/{picture.id}" alt="" width="224" height="224" loading="lazy">'
        f'<span class="label">{escape(picture.label)}</span>'
        f'<span class="score">{escape(score)}</span>'
        '<span class="more">More like this</span></a></li>'
    )


def _href(wish: Wish) -> str:
    return escape(address_of(wish))
