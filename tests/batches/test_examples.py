"""Array files become padded batches."""

import numpy as np
import pytest
from safetensors.numpy import save_file

from components.batches.examples import Examples
from tests.training import small


@pytest.fixture
def texts(tmp_path) -> Examples:
    ids = np.arange(3, 3 + 30, dtype=np.int32)
    offsets = np.array([0, 2, 2, 5, 30])
    save_file({"ids": ids, "offsets": offsets, "label": np.array([1, 0, 1, 0])}, tmp_path / "a")
    return Examples.load(tmp_path / "a", small.TEXT)


def test_rows_are_padded_to_the_longest_of_the_batch(texts: Examples) -> None:
    batch = texts.batch(np.array([2, 0]))
    assert batch["ids"].tolist() == [[5, 6, 7], [3, 4, 0]]
    assert batch["ids"].dtype == np.int64
    assert batch["label"].tolist() == [1, 1]


def test_a_text_is_cut_at_what_the_spec_allows(texts: Examples) -> None:
    assert texts.lengths.tolist() == [2, 0, 3, 20]
    assert texts.batch(np.array([3]))["ids"].shape == (1, 20)


def test_an_empty_text_is_one_place_of_padding(texts: Examples) -> None:
    assert texts.batch(np.array([1]))["ids"].tolist() == [[0]]


def test_a_file_of_empty_texts_can_be_read(tmp_path) -> None:
    empty = {"ids": np.zeros(0, dtype=np.int32), "offsets": np.zeros(3, dtype=np.int64)}
    save_file(empty, tmp_path / "a")
    assert Examples.load(tmp_path / "a", small.TEXT).batch(np.arange(2))["ids"].tolist() == [
        [0],
        [0],
    ]


def test_pictures_are_float_with_a_channel() -> None:
    rows = small.examples(small.prepared(small.IMAGE))
    batch = rows.batch(np.array([3, 1]))
    assert batch["pixels"].shape == (2, 1, 8, 8)
    assert batch["pixels"].dtype == np.float32
    assert np.array_equal(batch["pixels"][0, 0], rows.pixels[3])


def test_unlabelled_rows_have_no_label() -> None:
    rows = small.examples(small.prepared(), "pretrain")
    assert rows.batch(np.array([0])).keys() == {"ids"}
