"""A linear branch is the regression that it was fitted as, inside the graph."""

from pathlib import Path

import numpy as np

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
    assert all(np.array_equal(after[name], value) for name, value in kept.items())


def test_the_graph_answers_the_mean_of_the_model_and_the_regression(
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

        weight, bias = method._fit(Bench(), text.model)  # type: ignore[arg-type]
    regression = np.asarray(method._counts(examples, text.model) @ weight.T) + bias
    own = weights.logits(weights.load(text.model), examples)
    both = weights.logits(weights.load(grown), examples)
    np.testing.assert_allclose(both, (own + regression) / 2, atol=1e-4)
    assert np.abs(regression).max() > 0.1
