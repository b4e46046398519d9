"""What the two int8 methods share: a quiet quantizer and canonical bytes from it."""

import logging
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx

from components import files
from components.export.graph import canonical


def quantized(
    source: Path, target: Path, quantize: Callable[[onnx.ModelProto, Path], object]
) -> None:
    """Put at target what `quantize` makes of the source, in canonical bytes.

    `quantize` gets the graph without shapes of intermediate values, which ONNX Runtime would find
    to contradict its own, and a path to write to.
    """
    model = onnx.load_model_from_string(canonical(onnx.load(source)))
    _give_each_its_own(model.graph)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder, _quiet():
        written = Path(folder) / "int8.onnx"
        quantize(model, written)
        files.write_bytes(target, canonical(onnx.load(written)))


def _give_each_its_own(graph: onnx.GraphProto) -> None:
    """Give every node its own copy of a constant that several use.

    The exporter shares equal ones, and two convolutions with one bias stay in float: its scale
    would have to be that of both.
    """
    constants = {constant.name: constant for constant in graph.initializer}
    used: set[str] = set()
    for number, node in enumerate(graph.node):
        for place, name in enumerate(node.input):
            if node.op_type not in ("Conv", "Gemm") or name not in constants:
                continue
            if name in used:
                copy = graph.initializer.add()
                copy.CopyFrom(constants[name])
                copy.name = node.input[place] = f"{name}/{number}"
            used.add(name)


@contextmanager
def _quiet() -> Iterator[None]:
    """The quantizer recommends a preparation on the root logger, whatever was prepared."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
