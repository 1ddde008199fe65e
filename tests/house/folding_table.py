"""`python -m tests.house.folding_table TSCharacters.txt` writes shard_worker/text/analysis/folding_table.py from a
dictionary of OpenCC (https://github.com/BYVoid/OpenCC, data/dictionary/TSCharacters.txt), whose licence is Apache-2.0.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from tests.support.repository import ROOT

TABLE = ROOT / "shard_worker/text/analysis/folding_table.py"
_LINE_CHARACTERS = 60

_HEAD = '''"""Traditional Han characters and the simplified character that each is folded to, in the same order.

Written by `python -m tests.house.folding_table TSCharacters.txt` from TSCharacters.txt of OpenCC
(https://github.com/BYVoid/OpenCC), which is licensed under the Apache License, Version 2.0. Copyright of the data:
the authors of OpenCC. Changed: only the first choice of each character, only choices of one character, followed to
the end where a choice has a choice itself.
"""

from __future__ import annotations

'''


def pairs_of(lines: Iterable[str]) -> dict[str, str]:
    """Return the simplified character of each traditional one; those without another form are left out."""
    first = dict(_choices(lines))
    return {character: final for character in sorted(first) if (final := _followed(character, first)) != character}


def source_of(pairs: Mapping[str, str]) -> str:
    """Return the text of the generated module."""
    return _HEAD + "\n".join([*_literal("TRADITIONAL", "".join(pairs)), *_literal("SIMPLIFIED", "".join(pairs.values()))]) + "\n"


def _choices(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    for line in lines:
        character, _, choices = line.rstrip("\n").partition("\t")
        first = choices.split(" ")[0]
        if not line.startswith("#") and len(character) == len(first) == 1:
            yield character, first


def _followed(character: str, first: Mapping[str, str]) -> str:
    """Return the end of the choices from a character on: itself, where they go in a circle."""
    seen = [character]
    while (choice := first.get(seen[-1], seen[-1])) not in seen:
        seen.append(choice)
    return seen[-1] if choice == seen[-1] else character


def _literal(name: str, characters: str) -> list[str]:
    cuts = range(0, len(characters), _LINE_CHARACTERS)
    return [f"{name} = (", *(f'    "{characters[cut : cut + _LINE_CHARACTERS]}"' for cut in cuts), ")"]


if __name__ == "__main__":
    TABLE.write_text(source_of(pairs_of(Path(sys.argv[1]).read_text(encoding="utf-8").splitlines())), encoding="utf-8")
