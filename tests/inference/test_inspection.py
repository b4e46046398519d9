from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from components.errors import IntegrityError
from components.export import graph
from components.inference.inspection import OPERATORS, check, inspect
from components.inference.session import Session
from components.training import weights
from tests.compression.learnt import Learnt

FLOATS = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 2])
LOGITS = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 2])


def model(*nodes: onnx.NodeProto, weights: tuple = (), domains: tuple[str, ...] = ("",)) -> bytes:
    made = helper.make_graph(list(nodes), "g", [FLOATS], [LOGITS], list(weights))
    opsets = [helper.make_opsetid(domain, 20 if not domain else 1) for domain in domains]
    return helper.make_model(made, opset_imports=opsets, ir_version=10).SerializeToString()


def harmless() -> bytes:
    return model(helper.make_node("Softmax", ["x"], ["logits"]))


def external(location: str) -> TensorProto:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2])
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", location
    return tensor


def body() -> onnx.GraphProto:
    alive = helper.make_tensor_value_info("c", TensorProto.BOOL, [])
    again = helper.make_tensor_value_info("d", TensorProto.BOOL, [])
    count = helper.make_tensor_value_info("i", TensorProto.INT64, [])
    node = helper.make_node("Identity", ["c"], ["d"])
    return helper.make_graph([node], "b", [count, alive], [again])


def test_what_is_read_is_what_onnx_reads(text: Learnt, tmp_path: Path) -> None:
    graph.write(weights.load(text.model), text.data.spec, tmp_path / "model.onnx")
    written = (tmp_path / "model.onnx").read_bytes()
    parsed = onnx.load_model_from_string(written)
    contents = check(written, "model.onnx")
    assert contents.operators == {node.op_type for node in parsed.graph.node}
    assert contents.domains <= {entry.domain for entry in parsed.opset_import}
    assert not contents.external_data
    assert not contents.subgraphs


def test_a_harmless_graph_runs(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(harmless())
    inputs = {"x": np.zeros((3, 2), dtype=np.float32)}
    np.testing.assert_array_equal(Session(path).run(inputs), np.full((3, 2), 0.5))


ADD = helper.make_node("Add", ["x", "w"], ["logits"])


def hidden_in_an_attribute() -> bytes:
    constant = helper.make_node("Constant", [], ["w"], value=external("/etc/passwd"))
    return model(constant, ADD)


def hidden_in_a_sparse_tensor() -> bytes:
    sparse = onnx.SparseTensorProto(dims=[2], values=external("../secret"))
    sparse.indices.CopyFrom(numpy_helper.from_array(np.array([0], dtype=np.int64)))
    made = onnx.load_model_from_string(model(ADD))
    made.graph.sparse_initializer.append(sparse)
    return made.SerializeToString()


def a_function() -> bytes:
    made = onnx.load_model_from_string(harmless())
    inner = helper.make_node("Identity", ["a"], ["b"])
    opset = [helper.make_opsetid("", 20)]
    made.functions.append(helper.make_function("", "Softmax", ["a"], ["b"], [inner], opset))
    return made.SerializeToString()


HOSTILE = {
    "weights of an absolute path": (
        lambda: model(ADD, weights=(external("/etc/passwd"),)),
        "keeps weights in other files",
    ),
    "weights above the folder": (
        lambda: model(ADD, weights=(external("../secret"),)),
        "keeps weights in other files",
    ),
    "weights of another file in an attribute": (
        hidden_in_an_attribute,
        "keeps weights in other files",
    ),
    "weights of another file in a sparse tensor": (
        hidden_in_a_sparse_tensor,
        "keeps weights in other files",
    ),
    "an endless loop": (
        lambda: model(helper.make_node("Loop", ["", "x"], ["logits"], body=body())),
        "uses Loop, not among the allowed",
    ),
    "a branch": (
        lambda: model(
            helper.make_node("If", ["x"], ["logits"], then_branch=body(), else_branch=body())
        ),
        "uses If, not among the allowed",
    ),
    "a graph under an allowed operator": (
        lambda: model(helper.make_node("Softmax", ["x"], ["logits"], body=body())),
        "hides a graph inside a node",
    ),
    "a function that shadows an operator": (a_function, "hides a graph inside a node"),
    "chance": (
        lambda: model(helper.make_node("RandomNormalLike", ["x"], ["logits"])),
        "uses RandomNormalLike",
    ),
    "an operator of somebody's library": (
        lambda: model(
            helper.make_node("Softmax", ["x"], ["logits"], domain="evil.ops"),
            domains=("", "evil.ops"),
        ),
        "uses operators of evil.ops",
    ),
    "no model at all": (lambda: b"#!/bin/sh\necho no\n", "is not an ONNX model"),
    "nothing": (lambda: b"", "is not an ONNX model"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_graph_is_refused_before_anything_runs_it(name: str, tmp_path: Path) -> None:
    make, message = HOSTILE[name]
    (tmp_path / "model.onnx").write_bytes(make())
    with pytest.raises(IntegrityError, match=message):
        Session(tmp_path / "model.onnx")


def test_every_truncation_is_refused_or_says_less(tmp_path: Path) -> None:
    whole = harmless()
    for size in range(len(whole)):
        try:
            contents = inspect(whole[:size], "model.onnx")
        except IntegrityError:
            continue
        assert contents.operators == {"Softmax"}


def test_a_model_that_comes_in_two_halves_is_read_whole() -> None:
    """Protobuf merges a field that comes twice; so an operator cannot hide in the second half."""
    evil = model(helper.make_node("Loop", ["", "x"], ["logits"], body=body()))
    with pytest.raises(IntegrityError, match="uses Loop"):
        check(harmless() + evil, "model.onnx")


def test_a_graph_with_other_outputs_is_refused(tmp_path: Path) -> None:
    made = onnx.load_model_from_string(harmless())
    made.graph.output[0].name = made.graph.node[0].output[0] = "y"
    onnx.save(made, tmp_path / "model.onnx")
    with pytest.raises(IntegrityError, match="gives y, not the one output 'logits'"):
        Session(tmp_path / "model.onnx")


def test_what_the_runtime_refuses_is_our_error(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(model(helper.make_node("Add", ["x", "?"], ["logits"])))
    with pytest.raises(IntegrityError, match="refused by ONNX Runtime"):
        Session(tmp_path / "model.onnx")


def test_every_allowed_operator_exists() -> None:
    """In ONNX, or among ONNX Runtime's own, which are not listed anywhere that can be read."""
    known = {schema.name for schema in onnx.defs.get_all_schemas_with_history()}
    own = {name for name in OPERATORS - known if not name.startswith(("QLinear", "DynamicQuant"))}
    assert own <= {"FusedMatMul", "MatMulIntegerToFloat", "QGemm", "SkipLayerNormalization"}
