from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from components import objects
from components.artifacts import Parity
from components.batches.examples import Examples
from components.errors import IntegrityError
from components.export import graph
from components.export.parity import Outputs, compare, demand_alike, demand_equal
from components.layers.backbone import Model
from components.training import weights
from tests.compression.learnt import Learnt


@pytest.fixture
def examples(text: Learnt) -> Examples:
    return Examples.load(objects.path(text.data.files["val.safetensors"]), text.data.spec)


def change_one_weight(path: Path, by: float) -> str:
    """Move the first number of the last matrix in a graph."""
    model = onnx.load(path)
    matrix = [
        entry
        for entry in model.graph.initializer
        if entry.data_type == onnx.TensorProto.FLOAT and len(entry.dims) == 2
    ][-1]
    values = numpy_helper.to_array(matrix).copy()
    values.flat[0] += by
    matrix.CopyFrom(numpy_helper.from_array(values, matrix.name))
    onnx.save(model, path)
    return matrix.name


def test_an_honest_graph_is_proven(text: Learnt, examples: Examples, tmp_path: Path) -> None:
    module = weights.load(text.model)
    graph.write(module, text.data.spec, tmp_path / "model.onnx")
    parity = compare(tmp_path / "model.onnx", module, examples, text.data.spec)
    demand_equal(parity, "fp32")
    assert 0 < parity.max_difference <= 1e-5
    assert parity.top1_agreement == 1


def test_a_graph_with_one_weight_changed_is_refused(
    text: Learnt, examples: Examples, tmp_path: Path
) -> None:
    module = weights.load(text.model)
    graph.write(module, text.data.spec, tmp_path / "model.onnx")
    change_one_weight(tmp_path / "model.onnx", 1e-2)
    parity = compare(tmp_path / "model.onnx", module, examples, text.data.spec)
    with pytest.raises(IntegrityError, match="the graph fp32 computes other logits"):
        demand_equal(parity, "fp32")


class Frozen(Model):
    """Branches in Python on a length, which tracing decides once and for all."""

    def __init__(self, honest: Model) -> None:
        super().__init__(honest.backbone, honest.head)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        logits = self.head(self.backbone(ids=ids))
        return logits + 1 if ids.shape[1] > 30 else logits


def test_a_branch_that_tracing_froze_is_found(
    text: Learnt, examples: Examples, tmp_path: Path
) -> None:
    module = Frozen(weights.load(text.model))
    graph.write(module, text.data.spec, tmp_path / "model.onnx")
    parity = compare(tmp_path / "model.onnx", module, examples, text.data.spec)
    assert parity.max_difference >= 1
    with pytest.raises(IntegrityError, match="tracing freezes it"):
        demand_equal(parity, "fp32")


class Stiff(Model):
    """Reshapes to the number of tokens of the example."""

    def __init__(self, honest: Model) -> None:
        super().__init__(honest.backbone, honest.head)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.backbone(ids=ids.reshape(-1, int(ids.shape[1]))))


def test_a_length_that_tracing_froze_is_found(
    text: Learnt, examples: Examples, tmp_path: Path
) -> None:
    module = Stiff(weights.load(text.model))
    graph.write(module, text.data.spec, tmp_path / "model.onnx")
    with pytest.raises(IntegrityError, match=r"does not run on an input|the graph answers"):
        compare(tmp_path / "model.onnx", module, examples, text.data.spec)


def test_parity_leaves_torch_its_threads(text: Learnt, examples: Examples, tmp_path: Path) -> None:
    module = weights.load(text.model)
    graph.write(module, text.data.spec, tmp_path / "model.onnx")
    before = torch.get_num_threads()
    compare(tmp_path / "model.onnx", module, examples, text.data.spec)
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("difference", [float("nan"), float("inf"), 1.0001e-4, 1.0])
def test_a_difference_beyond_rounding_never_passes(difference: float) -> None:
    parity = Parity(rows=1, max_difference=difference, top1_agreement=1, shapes=())
    with pytest.raises(IntegrityError, match="other logits"):
        demand_equal(parity, "fp32")


@pytest.mark.parametrize(
    ("difference", "agreement"), [(0.1, 0.89), (float("inf"), 1.0), (float("nan"), 1.0)]
)
def test_a_quantized_graph_must_agree_and_give_numbers(difference: float, agreement: float) -> None:
    coarse = Parity(rows=9, max_difference=0.5, top1_agreement=0.9, shapes=())
    demand_alike(coarse, "int8")
    broken = Parity(rows=9, max_difference=difference, top1_agreement=agreement, shapes=())
    with pytest.raises(IntegrityError, match="leave this model in float"):
        demand_alike(broken, "int8")


def test_a_missing_number_is_an_infinite_difference() -> None:
    outputs = Outputs(np.array([[np.nan, 1.0]]), np.array([[0.0, 1.0]]))
    assert outputs.difference == float("inf")
