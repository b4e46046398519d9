import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from components import files
from components.architectures import Architecture
from components.export import graph
from components.export.reference import Reference
from components.inference.session import Session
from components.layers.backbone import Model, assemble
from components.objectives import Objective
from components.spec import DataSpec, Input

TEXT = DataSpec(
    modality="text",
    inputs=(Input(name="ids", dtype="int64", shape=("batch", "length")),),
    labels=("a", "b", "c"),
    vocabulary_size=50,
    max_length=64,
)
IMAGE = DataSpec(
    modality="image",
    inputs=(Input(name="pixels", dtype="float32", shape=("batch", 1, 20, 20)),),
    labels=("a", "b", "c"),
    mean=30,
    std=70,
)
ENCODER = {"kind": "encoder", "width": 16, "layers": 2, "heads": 2}
NGRAMS = {"kind": "ngrams", "buckets": 64, "width": 8}
ARCHITECTURES = {
    "encoder": ENCODER,
    "encoder with 2-grams": ENCODER | {"ngram_buckets": 32, "embedding_width": 8},
    "ngrams": NGRAMS,
    "branches": {"kind": "branches", "branches": [ENCODER, NGRAMS | {"pooling": "unit"}]},
    "cnn": {"kind": "cnn", "channels": [8, 8]},
    "cnn, global": {"kind": "cnn", "channels": [8, 8, 8], "pooling": "global"},
}
TEXTS = [name for name in ARCHITECTURES if not name.startswith("cnn")]
SHAPES = [(1, 1), (1, 64), (3, 33), (7, 2), (32, 64)]


def spec_of(name: str) -> DataSpec:
    return IMAGE if name.startswith("cnn") else TEXT


def build(name: str) -> Model:
    torch.manual_seed(0)
    architecture = Architecture.model_validate(ARCHITECTURES[name])
    objective = Objective.model_validate({"kind": "classification"})
    head = objective.head(architecture.gives(spec_of(name)), spec_of(name))
    return assemble(architecture.build(spec_of(name)), head, spec_of(name)).eval()


def padded(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Ids of rows of every length from 1 to the whole."""
    ids = rng.integers(1, TEXT.vocabulary_size, shape)
    lengths = rng.integers(1, shape[1] + 1, shape[0])
    ids[np.arange(shape[1]) >= lengths[:, None]] = 0
    return ids


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_graph_takes_every_batch_and_length(name: str, tmp_path: Path) -> None:
    model, rng = build(name), np.random.default_rng(0)
    graph.write(model, TEXT, tmp_path / "model.onnx")
    session, reference = Session(tmp_path / "model.onnx"), Reference(model)
    for shape in SHAPES:
        inputs = {"ids": padded(shape, rng)}
        np.testing.assert_allclose(session.run(inputs), reference.run(inputs), atol=1e-5)


@pytest.mark.parametrize("name", ["cnn", "cnn, global"])
def test_an_image_graph_takes_every_batch_of_grey_values(name: str, tmp_path: Path) -> None:
    model, rng = build(name), np.random.default_rng(0)
    graph.write(model, IMAGE, tmp_path / "model.onnx")
    session, reference = Session(tmp_path / "model.onnx"), Reference(model)
    for rows in (1, 3, 32):
        pixels = rng.uniform(0, 255, (rows, 1, 20, 20)).astype(np.float32)
        inputs = {"pixels": pixels}
        np.testing.assert_allclose(session.run(inputs), reference.run(inputs), atol=1e-5)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_same_weights_give_the_same_bytes_whatever_was_exported_before(
    name: str, tmp_path: Path
) -> None:
    paths = tmp_path / "first.onnx", tmp_path / "second.onnx"
    graph.write(build(name), spec_of(name), paths[0])
    graph.write(build("ngrams"), TEXT, tmp_path / "between.onnx")
    graph.write(build(name), spec_of(name), paths[1])
    assert files.digest(paths[0]) == files.digest(paths[1])


def test_other_weights_give_other_bytes(tmp_path: Path) -> None:
    model = build("encoder")
    graph.write(model, TEXT, tmp_path / "first.onnx")
    with torch.no_grad():
        next(model.head.parameters()).view(-1)[0] += 1e-6
    graph.write(model, TEXT, tmp_path / "second.onnx")
    assert files.digest(tmp_path / "first.onnx") != files.digest(tmp_path / "second.onnx")


@pytest.mark.parametrize("name", ["branches", "cnn"])
def test_a_graph_says_nothing_of_where_and_by_what_it_was_written(
    name: str, tmp_path: Path
) -> None:
    graph.write(build(name), spec_of(name), tmp_path / "model.onnx")
    written = (tmp_path / "model.onnx").read_bytes()
    model = onnx.load_model_from_string(written)
    assert not model.producer_name + model.producer_version + model.doc_string
    assert not model.metadata_props
    assert not model.graph.value_info
    assert not any(node.doc_string or node.metadata_props for node in model.graph.node)
    for secret in (b"components/", b".py", str(Path.home()).encode()):
        assert secret not in written
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", graph.OPSET)]


def test_a_graph_names_its_axes_and_its_output(tmp_path: Path) -> None:
    graph.write(build("encoder"), TEXT, tmp_path / "model.onnx")
    model = onnx.load(tmp_path / "model.onnx")
    [entry], [output] = model.graph.input, model.graph.output
    assert [axis.dim_param for axis in entry.type.tensor_type.shape.dim] == ["batch", "length"]
    axes = output.type.tensor_type.shape.dim
    assert (output.name, axes[0].dim_param, axes[1].dim_value) == ("logits", "batch", 3)


def test_canonical_bytes_are_their_own_canonical_bytes(tmp_path: Path) -> None:
    graph.write(build("ngrams"), TEXT, tmp_path / "model.onnx")
    written = (tmp_path / "model.onnx").read_bytes()
    assert graph.canonical(onnx.load_model_from_string(written)) == written


def test_writing_is_silent(tmp_path: Path, recwarn: pytest.WarningsRecorder, capfd) -> None:
    graph.write(build("encoder"), TEXT, tmp_path / "model.onnx")
    assert not recwarn.list
    assert capfd.readouterr() == ("", "")


ELSEWHERE = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import components
from components import files
from tests.export.test_graph import ARCHITECTURES, build, spec_of
from components.compression.int8_dynamic import Int8Dynamic
from components.export import graph
from types import SimpleNamespace
folder = Path(sys.argv[2])
assert Path(components.__file__).is_relative_to(sys.argv[1])
for name in ARCHITECTURES:
    graph.write(build(name), spec_of(name), folder / "model.onnx")
    Int8Dynamic().graph(folder / "model.onnx", folder / "int8.onnx", SimpleNamespace(folder=folder))
    print(files.digest(folder / "model.onnx"), files.digest(folder / "int8.onnx"))
"""


@pytest.mark.slow
def test_a_clone_elsewhere_with_other_comments_writes_the_same_bytes(tmp_path: Path) -> None:
    here = Path(graph.__file__).parents[2]
    there = tmp_path / "another place" / "clone"
    for package in ("components", "tests"):
        shutil.copytree(here / package, there / package, ignore=shutil.ignore_patterns("*.pyc"))
    for module in ("layers/transformer.py", "layers/convolution.py", "export/graph.py"):
        path = there / "components" / module
        source = path.read_text()
        path.write_text("# A remark.\n# Another one.\n\n" + source)
    digests = [
        subprocess.run(
            [sys.executable, "-c", ELSEWHERE, str(place), str(tmp_path)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for place in (here, there)
    ]
    assert re.fullmatch(r"([0-9a-f]{64} [0-9a-f]{64}\n){6}", digests[0])
    assert digests[0] == digests[1]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["branches", "cnn"])
def test_the_newer_exporter_writes_a_graph_with_the_same_answers(name: str, tmp_path: Path) -> None:
    """When PyTorch drops the tracing exporter, this is what `write` becomes."""
    model, spec = build(name), spec_of(name)
    [entry] = spec.inputs
    largest = {"batch": None, "length": spec.max_length}
    axes = {
        place: torch.export.Dim(axis, max=largest[axis])
        for place, axis in graph.free_axes(entry).items()
    }
    torch.onnx.export(
        model,
        (graph.example(entry, spec),),
        tmp_path / "newer.onnx",
        dynamo=True,
        dynamic_shapes={entry.name: axes},
        input_names=[entry.name],
        output_names=["logits"],
        opset_version=graph.OPSET,
        external_data=False,
        verbose=False,
    )
    graph.write(model, spec, tmp_path / "ours.onnx")
    newer, ours = Session(tmp_path / "newer.onnx"), Session(tmp_path / "ours.onnx")
    rng = np.random.default_rng(1)
    for rows in (1, 3, 32):
        batch = (
            padded((rows, 33), rng)
            if spec is TEXT
            else rng.uniform(0, 255, (rows, 1, 20, 20)).astype(np.float32)
        )
        inputs = {entry.name: batch}
        np.testing.assert_allclose(newer.run(inputs), ours.run(inputs), atol=1e-5)
