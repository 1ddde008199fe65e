"""Counts how often each JSON text is parsed, by any decoder of the product."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from shoal.core import deep_json, joined_json, payload


def counted_parses(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count from now on. Return the number of times that each text was parsed; it keeps growing."""
    counts: Counter[str] = Counter()
    decode, read_deep, together = json.JSONDecoder.decode, deep_json.read_json, joined_json.decoded_together

    def counting(self: json.JSONDecoder, text: str, *rest: Any) -> Any:
        counts[text] += 1
        return decode(self, text, *rest)

    def counting_together(texts: Sequence[bytes], decoder: json.JSONDecoder) -> Any:
        counts.update(text.decode() for text in texts)
        with pytest.MonkeyPatch.context() as uncounted:
            uncounted.setattr(json.JSONDecoder, "decode", decode)
            return together(texts, decoder)

    def counting_deep(text: str, **options: Any) -> Any:
        counts[text] += 1
        return read_deep(text, **options)

    monkeypatch.setattr(json.JSONDecoder, "decode", counting)
    monkeypatch.setattr(payload, "decoded_together", counting_together)
    monkeypatch.setattr(payload, "read_json", counting_deep)
    return counts
