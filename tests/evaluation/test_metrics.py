"""Metrics against scikit-learn, and intervals against what intervals promise."""

import time

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, f1_score, precision_recall_fscore_support

from components.evaluation import intervals, metrics, slices
from components.evaluation.rows import Rows, read


def random_rows(rows: int, labels: int, seed: int = 0) -> Rows:
    """Answers that are right in about two of three rows."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, labels, rows)
    logits = rng.normal(size=(rows, labels)) + 1.5 * np.eye(labels)[label]
    probability = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return Rows(probability.astype(np.float32), label, np.arange(rows))


@pytest.mark.parametrize("labels", [2, 10])
def test_counts_agree_with_scikit_learn(labels: int) -> None:
    rows = random_rows(700, labels)
    counts = metrics.tally(rows)
    reference = precision_recall_fscore_support(rows.label, rows.chosen, zero_division=0)
    np.testing.assert_array_equal(
        metrics.confusion(rows), confusion_matrix(rows.label, rows.chosen)
    )
    np.testing.assert_allclose(metrics.precision(counts), reference[0])
    np.testing.assert_allclose(metrics.recall(counts), reference[1])
    np.testing.assert_allclose(metrics.f1(counts), reference[2])
    assert metrics.macro_f1(counts) == pytest.approx(
        f1_score(rows.label, rows.chosen, average="macro")
    )
    assert metrics.accuracy(counts) == pytest.approx(rows.right.mean())


def test_a_label_that_is_never_seen_does_not_count_in_the_mean() -> None:
    rows = Rows(np.eye(3, dtype=np.float32)[[0, 1]], np.array([0, 1]), np.arange(2))
    assert metrics.macro_f1(metrics.tally(rows)) == 1.0


def test_a_calibrated_model_has_a_small_error_and_an_overconfident_one_a_large() -> None:
    rng = np.random.default_rng(0)
    sure = rng.uniform(0.5, 1, 20_000)
    label = (rng.random(20_000) > sure).astype(np.int64)
    honest = Rows(np.stack([sure, 1 - sure], 1).astype(np.float32), label, np.arange(20_000))
    boast = np.full(20_000, 0.99)
    loud = Rows(np.stack([boast, 1 - boast], 1).astype(np.float32), label, np.arange(20_000))
    assert metrics.ece(metrics.bins(honest)) < 0.02
    assert metrics.ece(metrics.bins(loud)) == pytest.approx(0.99 - honest.right.mean(), abs=1e-3)


def test_bins_hold_equally_many_rows_and_never_part_equal_confidences() -> None:
    rows = random_rows(1500, 4)
    assert set(metrics.bins(rows).rows) == {100}
    flat = Rows(np.full((30, 2), 0.5, dtype=np.float32), np.arange(30) % 2, np.arange(30))
    assert np.count_nonzero(metrics.bins(flat).rows) == 1


def test_the_interval_holds_the_true_accuracy_about_as_often_as_it_says() -> None:
    held = []
    for seed in range(200):
        right = np.random.default_rng(seed).random(120) < 0.85
        probability = np.where(right[:, None], [0.9, 0.1], [0.1, 0.9]).astype(np.float32)
        zero = np.zeros(120, dtype=np.int64)
        found = intervals.accuracy(Rows(probability, zero, np.arange(120)))
        held.append(found.low <= 0.85 <= found.high)
    assert 0.88 <= np.mean(held) <= 0.99


def test_every_interval_holds_its_value_and_2000_rows_take_no_time() -> None:
    rows = random_rows(2000, 2)
    intervals.scores(rows.take(np.arange(50)))
    start = time.process_time()
    scores = intervals.scores(rows)
    seconds = time.process_time() - start
    assert set(scores) == {"accuracy", "macro_f1", "ece"}
    for score in scores.values():
        assert 0 <= score.low <= score.value <= score.high <= 1
        assert score.n == 2000
    assert seconds < 2, "about 0.2 s on an idle core"
    assert intervals.scores(rows) == scores


def test_the_interval_of_a_calibration_error_holds_even_an_error_of_zero() -> None:
    sure = np.repeat([0.6, 0.7, 0.8, 0.9], 100)
    label = (np.arange(400) % 100 >= sure * 100).astype(np.int64)
    rows = Rows(np.stack([sure, 1 - sure], 1).astype(np.float32), label, np.arange(400))
    error = intervals.scores(rows)["ece"]
    assert error.value == pytest.approx(0, abs=1e-6)
    assert error.low <= error.value <= error.high


def test_the_order_of_rows_changes_no_score() -> None:
    rows = random_rows(500, 3)
    order = np.random.default_rng(1).permutation(500)
    assert intervals.scores(rows.take(order)) == intervals.scores(rows)


def test_rows_survive_their_file(tmp_path) -> None:
    rows = random_rows(20, 3)
    path = tmp_path / "rows.safetensors"
    path.write_bytes(rows.to_bytes())
    back = read(path)
    np.testing.assert_array_equal(back.probability, rows.probability)
    np.testing.assert_array_equal(back.label, rows.label)
    assert back.to_bytes() == rows.to_bytes()


@pytest.mark.parametrize(
    ("probability", "label", "reason"),
    [
        ([[0.5, 0.4]], [0], "a sum is off by 0.1"),
        ([[float("nan"), 1.0]], [0], "not finite"),
        ([[0.5, 0.5]], [2], "a label is outside 0..1"),
        ([[0.5, 0.5]], [0, 1], "not one answer per row"),
    ],
)
def test_what_are_no_answers_is_refused(probability, label, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Rows(np.array(probability, dtype=np.float32), np.array(label), np.arange(len(label)))


def test_slices_part_all_rows_and_show_where_a_model_fails() -> None:
    lengths = np.repeat([4, 12, 100], 50)
    groups = slices.by_length(lengths)
    assert list(groups) == ["0-8 tokens", "9-16 tokens", "65-128 tokens"]
    assert sum(mask.sum() for mask in groups.values()) == 150
    right = lengths < 50
    probability = np.where(right[:, None], [1.0, 0.0], [0.0, 1.0]).astype(np.float32)
    rows = Rows(probability, np.zeros(150, dtype=np.int64), np.arange(150))
    assert [one["value"] for one in slices.scored(rows, groups)] == [1.0, 1.0, 0.0]


def test_slices_of_pictures_are_thirds_of_their_ink() -> None:
    pixels = np.arange(30, dtype=np.uint8)[:, None, None] * np.ones((1, 2, 2), dtype=np.uint8)
    groups = slices.by_ink(pixels)
    assert [int(mask.sum()) for mask in groups.values()] == [10, 10, 10]
