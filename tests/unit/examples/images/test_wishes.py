"""What the address of a page may ask for."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.images.wishes import MOST_K, SEEDS, PicturesLike, RandomPictures, Wish, address_of, wish_of, with_k, with_label
from shoal.core.errors import InvalidArgument, NotFound

LABELS = ("a&b", "<b>", "é ü")


def asked(words: dict[str, str]) -> Wish:
    return wish_of(words, 50, LABELS, 7)


@given(
    st.one_of(
        st.builds(RandomPictures, seed=st.integers(0, SEEDS - 1), label=st.sampled_from((None, *LABELS)), k=st.integers(1, MOST_K)),
        st.builds(PicturesLike, id=st.integers(0, 49), label=st.sampled_from((None, *LABELS)), k=st.integers(1, MOST_K)),
    )
)
def test_the_address_of_a_wish_asks_for_it(wish: Wish) -> None:
    assert asked(dict(parse_qsl(urlsplit(address_of(wish)).query))) == wish


def test_what_is_left_out() -> None:
    assert asked({}) == RandomPictures(seed=7)
    assert asked({"like": "3", "label": ""}) == PicturesLike(id=3)
    assert address_of(with_k(with_label(RandomPictures(seed=1), "<b>"), 12)) == "/?seed=1&label=%3Cb%3E&k=12"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"like": "x"}, "the id of the picture is 'x', it must be a number from 0 to 49"),
        ({"like": "-1"}, "the id of the picture is '-1'"),
        ({"like": "٣"}, "the id of the picture is '٣'"),
        ({"like": "9" * 5_000}, "it must be a number from 0 to 49"),
        ({"k": "0"}, "k is '0', it must be a number from 1 to 100"),
        ({"k": "101"}, "k is '101', it must be a number from 1 to 100"),
        ({"k": ""}, "k is ''"),
        ({"seed": "1000000"}, "seed is '1000000', it must be a number from 0 to 999,999"),
        ({"seed": "1", "like": "1"}, "the address has both like and seed"),
        ({"lable": "x"}, "unknown word 'lable' in the address, allowed are like, seed, label, k"),
    ],
)
def test_a_word_that_does_not_fit_is_named(words: dict[str, str], message: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        asked(words)
    assert message in refused.value.message
    assert len(refused.value.message) < 200


def test_what_does_not_exist_is_not_found() -> None:
    with pytest.raises(NotFound, match="there is no picture 50, ids are from 0 to 49"):
        asked({"like": "50"})
    with pytest.raises(NotFound, match="no picture has the label 'c'"):
        asked({"label": "c"})
