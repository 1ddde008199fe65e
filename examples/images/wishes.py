"""What a page is asked for: the words after the ? of its address, checked. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from urllib.parse import urlencode

from shoal.core.errors import InvalidArgument, NotFound

LEAST_K, MOST_K = 1, 100
USUAL_K = 24
SEEDS = 1_000_000
"""Random pictures are drawn with seeds from 0 to this number, less one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RandomPictures:
    """k pictures drawn with a seed; equal wishes give equal pictures. label: of all of them; None for any."""

    seed: int
    label: str | None = None
    k: int = USUAL_K


@dataclass(frozen=True, kw_only=True, slots=True)
class PicturesLike:
    """The k pictures that are most like the picture `id`. label: of all of them; None for any."""

    id: int
    label: str | None = None
    k: int = USUAL_K


Wish = RandomPictures | PicturesLike


def wish_of(words: Mapping[str, str], count: int, labels: Collection[str], otherwise: int) -> Wish:
    """Return the wish of an address.

    words: like (id of a picture) or seed, label, k; count: of pictures, whose ids are from 0; labels: those there are;
    otherwise: the seed if the address has none. Raises InvalidArgument or NotFound that names the word.
    """
    unknown = sorted(words.keys() - {"like", "seed", "label", "k"})
    if unknown:
        raise InvalidArgument(f"unknown word {_cut(unknown[0])!r} in the address, allowed are like, seed, label, k")
    if "like" in words and "seed" in words:
        raise InvalidArgument("the address has both like and seed, one of them is allowed")
    label = words.get("label") or None
    if label is not None and label not in labels:
        raise NotFound(f"no picture has the label {_cut(label)!r}")
    k = _number("k", words["k"], LEAST_K, MOST_K) if "k" in words else USUAL_K
    if "like" in words:
        return PicturesLike(id=picture_of(words["like"], count), label=label, k=k)
    seed = _number("seed", words["seed"], 0, SEEDS - 1) if "seed" in words else otherwise
    return RandomPictures(seed=seed, label=label, k=k)


def picture_of(text: str, count: int) -> int:
    """Return the id of a picture. Raises InvalidArgument if it is no number, NotFound if no picture has it."""
    if not _is_number(text):
        raise InvalidArgument(f"the id of the picture is {_cut(text)!r}, it must be a number from 0 to {count - 1:,}")
    if int(text) >= count:
        raise NotFound(f"there is no picture {int(text):,}, ids are from 0 to {count - 1:,}")
    return int(text)


def address_of(wish: Wish) -> str:
    """Return the address of a wish, without host. What is usual is left out."""
    words: dict[str, str | int] = {"like": wish.id} if isinstance(wish, PicturesLike) else {"seed": wish.seed}
    if wish.label is not None:
        words["label"] = wish.label
    if wish.k != USUAL_K:
        words["k"] = wish.k
    return f"/?{urlencode(words)}"


def with_label(wish: Wish, label: str | None) -> Wish:
    """Return the wish for pictures of another label."""
    return replace(wish, label=label)


def with_k(wish: Wish, k: int) -> Wish:
    """Return the wish for another number of pictures."""
    return replace(wish, k=k)


def _number(field: str, text: str, least: int, most: int) -> int:
    if not _is_number(text) or not least <= int(text) <= most:
        raise InvalidArgument(f"{field} is {_cut(text)!r}, it must be a number from {least} to {most:,}")
    return int(text)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 9


def _cut(text: str) -> str:
    return text if len(text) <= 64 else text[:64] + "..."
