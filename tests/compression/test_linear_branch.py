"""A linear branch is the regression that it was fitted as, inside the graph."""

from pathlib import Path

import numpy as np
from scipy.sparse import csr_matrix

from components import objects, workspace
from components.architectures.branches import Branches
from components.architectures.ngrams import Ngrams
from components.batches.examples import Examples
from components.compression import Compression
from components.steps.compress import compress
from components.training import weights
from tests.compression.learnt import Learnt


def test_the_branch_is_added_and_the_rest_keeps_its_weights(text: Learnt, tmp_path: Path) -> None:
    method = Compression.model_validate({"kind": "linear_branch", "buckets": 512, "longest": 2})
    with workspace.opened(tmp_path / "work"):
        exported = compress(text.model, text.data, (method,))
    grown = exported.model
    assert isinstance(grown.architecture, Branches)
    assert grown.architecture.branches[0] == text.model.architecture
    assert isinstance(grown.architecture.branches[1], Ngrams)
    before, after = weights.tensors(text.model), weights.tensors(grown)
    kept = {name.replace("backbone.", "backbone.branches.0.", 1): v for name, v in before.items()}
    for name, value in kept.items():
        if not name.startswith("head."):
            assert np.array_equal(after[name], value)
    scales = after["head.outputs.0.weight"] / kept["head.outputs.0.weight"]
    np.testing.assert_allclose(scales, scales[0, 0], rtol=1e-5)


def test_the_graph_answers_the_weighted_sum_of_the_model_and_the_regression(
    text: Learnt, tmp_path: Path
) -> None:
    from components.compression.linear_branch import LinearBranch

    method = LinearBranch(buckets=512, longest=2)
    examples = Examples.load(objects.path(text.data.files["val.safetensors"]), text.data.spec)
    with workspace.opened(tmp_path / "work"):
        grown = compress(text.model, text.data, (method,)).model

        class Bench:
            data = text.data
            folder = tmp_path

        fitted = method._fit(Bench(), text.model)  # type: ignore[arg-type]
        shares = method._shares(Bench(), text.model, fitted)  # type: ignore[arg-type]
    regression = fitted.logits(method._counts(examples, text.model))
    own = weights.logits(weights.load(text.model), examples)
    both = weights.logits(weights.load(grown), examples)
    np.testing.assert_allclose(both, shares[0] * own + shares[1] * regression, atol=1e-3)
    assert np.abs(regression).max() > 0.1
    answers = examples.columns["label"]
    assert loss(both, answers) <= min(loss(own, answers), loss(regression, answers)) + 1e-3


def loss(logits: np.ndarray, answers: np.ndarray) -> float:
    """Mean cross-entropy."""
    shifted = logits - logits.max(1, keepdims=True)
    right = np.take_along_axis(shifted, answers[:, None], axis=1)[:, 0]
    return float(np.mean(np.log(np.exp(shifted).sum(1)) - right))


def test_columns_that_tell_the_labels_apart_get_the_larger_ratio() -> None:
    from components.compression.linear_branch import _ratios

    rows = csr_matrix(np.array([[1, 1, 0], [1, 1, 0], [1, 0, 1], [1, 0, 1]]))
    both, first, second = _ratios(rows, np.array([0, 0, 1, 1]), np.arange(2))
    assert both == 0
    assert first > 0.5
    np.testing.assert_allclose(first, second)


def test_of_three_labels_each_has_a_score_of_its_own() -> None:
    from components.compression.linear_branch import Regression

    counts = csr_matrix(np.array([[1.0, 0.0], [0.0, 2.0]]))
    three = Regression(np.array([[1.0, 0], [0, 1], [1, 1]]), np.array([0.0, 0, 1]), np.eye(3))
    np.testing.assert_allclose(three.logits(counts), [[1, 0, 2], [0, 2, 3]])
    two = Regression(np.array([[3.0, -1]]), np.array([1.0]), np.array([[-0.5], [0.5]]))
    np.testing.assert_allclose(two.logits(counts), [[-2, 2], [0.5, -0.5]])
