"""What compression is for: less to store, less to compute, the same answers."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from components import objects
from components.architectures import Architecture
from components.compression import Compression
from components.compression.int8_dynamic import Int8Dynamic
from components.errors import IntegrityError, UsageError
from components.export import graph
from components.inference.session import Session
from components.objectives import Objective
from components.spec import DataSpec, Input
from components.steps.compress import Workbench, compress
from components.training import weights
from tests.compression.learnt import Learnt


def widths(path: Path) -> list[int]:
    """Output channels of every convolution in a graph."""
    model = onnx.load(path)
    shapes = {entry.name: list(entry.dims) for entry in model.graph.initializer}
    return [shapes[node.input[1]][0] for node in model.graph.node if node.op_type == "Conv"]


def test_int8_shrinks_a_model_that_is_mostly_embedding_more_than_three_times(
    tmp_path: Path, text: Learnt
) -> None:
    from components.layers.backbone import assemble

    spec = DataSpec(
        modality="text",
        inputs=(Input(name="ids", dtype="int64", shape=("batch", "length")),),
        labels=("a", "b"),
        vocabulary_size=5000,
        max_length=16,
    )
    architecture = Architecture.model_validate({"kind": "encoder", "width": 32, "layers": 1})
    objective = Objective.model_validate({"kind": "classification"})
    head = objective.head(architecture.gives(spec), spec)
    model = assemble(architecture.build(spec), head, spec)
    large, small = tmp_path / "large.onnx", tmp_path / "small.onnx"
    graph.write(model, spec, large)
    Int8Dynamic().graph(large, small, Workbench(text.data, tmp_path))
    assert large.stat().st_size > 3 * small.stat().st_size


def test_structured_really_removes_channels(image: Learnt) -> None:
    method = Compression.model_validate({"kind": "structured", "ratio": 0.5, "multiple": 4})
    whole = compress(image.model, image.data, ())
    pruned = compress(image.model, image.data, (method,))
    assert image.model.architecture.channels == (16, 16, 24)
    assert widths(objects.path(whole.files["model.onnx"])) == [16, 16, 24]
    assert pruned.model.architecture.kind == "cnn"
    assert pruned.model.architecture.channels == (8, 8, 12)
    assert widths(objects.path(pruned.files["model.onnx"])) == [8, 8, 12]
    assert pruned.size_bytes < whole.size_bytes / 2


def test_a_pruned_network_is_a_plain_one_whose_weights_load_strictly(image: Learnt) -> None:
    method = Compression.model_validate({"kind": "structured", "multiple": 4})
    pruned = compress(image.model, image.data, (method,)).model
    model = weights.load(pruned)
    assert [block.convolution.out_channels for block in model.backbone.blocks] == [8, 8, 12]
    assert pruned.parents["teacher"] == image.model.digest
    assert pruned.recipe.objective == image.model.recipe.objective


def test_pruning_that_removes_nothing_is_refused(image: Learnt) -> None:
    method = Compression.model_validate({"kind": "structured", "ratio": 0.3, "multiple": 32})
    with pytest.raises(UsageError, match="removes nothing from channels"):
        compress(image.model, image.data, (method,))


def test_a_student_names_its_teacher(text: Learnt) -> None:
    from tests.compression.test_compression_family import STUDENT

    method = Compression.model_validate({"kind": "distillation", "student": STUDENT})
    exported = compress(text.model, text.data, (method,))
    assert exported.model.architecture.width == 8
    assert exported.model.parents == {"teacher": text.model.digest}


def test_the_plain_export_is_proven_equal_and_int8_alike(text: Learnt) -> None:
    plain = compress(text.model, text.data, ())
    assert plain.name == "fp32"
    assert plain.parity.max_difference <= 1e-4
    assert plain.parity.top1_agreement == 1
    assert plain.parity.rows == 96
    assert plain.parity.shapes == ("1x1", "1x40", "3x33", "32x40")
    coarse = compress(text.model, text.data, (Int8Dynamic(),))
    assert coarse.parity.max_difference > plain.parity.max_difference
    assert coarse.parity.top1_agreement >= 0.9


class Contrary(Int8Dynamic):
    """Writes a graph that answers the opposite."""

    def graph(self, source: Path, target: Path, bench: object) -> None:
        model = onnx.load(source)
        for entry in model.graph.initializer:
            if entry.name.startswith("head."):
                array = -onnx.numpy_helper.to_array(entry)
                entry.CopyFrom(onnx.numpy_helper.from_array(array, entry.name))
        onnx.save(model, target)


def test_a_graph_that_disagrees_is_refused_with_what_to_do(text: Learnt) -> None:
    with pytest.raises(IntegrityError, match=r"90% is demanded; take another method"):
        compress(text.model, text.data, (Contrary(),))


class Recurrent(torch.nn.Module):
    """A table, a bidirectional LSTM and a mean."""

    def __init__(self) -> None:
        super().__init__()
        self.table = torch.nn.Embedding(500, 32)
        self.lstm = torch.nn.LSTM(32, 32, batch_first=True, bidirectional=True)
        self.output = torch.nn.Linear(64, 2)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.output(self.lstm(self.table(ids))[0].mean(1))


def test_int8_reaches_into_a_recurrent_network(tmp_path: Path, text: Learnt) -> None:
    spec = text.data.spec.model_copy(update={"vocabulary_size": 500})
    large, small = tmp_path / "large.onnx", tmp_path / "small.onnx"
    graph.write(Recurrent(), spec, large)
    Int8Dynamic().graph(large, small, Workbench(text.data, tmp_path))
    kinds = [node.op_type for node in onnx.load(small).graph.node]
    assert "DynamicQuantizeLSTM" in kinds
    assert "LSTM" not in kinds
    assert large.stat().st_size > 3 * small.stat().st_size
    for shape in ((1, 1), (5, 17)):
        inputs = {"ids": np.random.default_rng(0).integers(1, 500, shape)}
        exact, coarse = Session(large).run(inputs), Session(small).run(inputs)
        np.testing.assert_allclose(coarse, exact, atol=0.02)
