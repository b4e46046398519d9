"""A PyTorch model as a canonical ONNX file: the same weights give the same bytes anywhere."""

import io
import warnings
from pathlib import Path

import onnx
import torch
from torch import Tensor

from components import files
from components.inference.session import OUTPUT
from components.layers.backbone import Model
from components.spec import PAD, DataSpec, Input

OPSET = 20
"""The first with `Gelu` as one operator. From 23 on the exporter writes `Attention` nodes, which
ONNX Runtime 1.31 loads and then refuses to run with a padding mask."""

EXAMPLE_ROWS = 2
"""Never 1: an axis of one is frozen as such."""

EXAMPLE_LENGTH = 12


def write(model: Model, spec: DataSpec, target: Path) -> None:
    """Put the model at the target as one ONNX file with the inputs of the spec and `logits`.

    This is PyTorch's tracing exporter. The newer one (`dynamo=True`) takes 3 to 9 s where this
    takes 0.2 to 0.6 s, cannot keep the length of a plain RNN free, and its graphs are no faster
    and no smaller (torch 2.13). What tracing can get wrong, a branch or a size frozen at the
    example's, is what `parity` looks for. When PyTorch drops this exporter, `dynamo=True` with
    `dynamic_shapes` takes its place here; a slow test holds the two against each other.
    """
    examples = tuple(example(entry, spec) for entry in spec.inputs)
    axes = {entry.name: free_axes(entry) for entry in spec.inputs} | {OUTPUT: {0: "batch"}}
    traced = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's age; sizes that are constants on purpose
        torch.onnx.export(
            model.eval(),
            examples,
            traced,  # type: ignore[arg-type]  # the tracing exporter writes to memory too
            input_names=[entry.name for entry in spec.inputs],
            output_names=[OUTPUT],
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
        )
    graph = onnx.load_model_from_string(traced.getvalue())
    files.write_bytes(target, canonical(graph))


def canonical(model: onnx.ModelProto) -> bytes:
    """The file's bytes without what differs from clone to clone or is worth nothing.

    Cleared are the writer's name and version, notes on source lines, and the shapes of
    intermediate values, which quantization does not keep in step.
    """
    model.ClearField("producer_name")
    model.ClearField("producer_version")
    graph = model.graph
    del graph.value_info[:]
    parts = [graph, *graph.node, *graph.initializer, *graph.input, *graph.output]
    for part in [model, *parts]:
        part.ClearField("doc_string")
        part.ClearField("metadata_props")
    for node in graph.node:
        for attribute in node.attribute:
            attribute.ClearField("doc_string")
    return model.SerializeToString(deterministic=True)


def example(entry: Input, spec: DataSpec) -> Tensor:
    """An input to trace with: two rows, the second one padded where there are lengths."""
    sizes = {"batch": EXAMPLE_ROWS, "length": min(spec.max_length, EXAMPLE_LENGTH)}
    shape = tuple(sizes[axis] if isinstance(axis, str) else axis for axis in entry.shape)
    ramp = torch.arange(torch.Size(shape).numel())
    if entry.dtype == "float32":
        return (ramp % 256).float().reshape(shape)
    ids = (ramp % (spec.vocabulary_size - PAD - 1) + PAD + 1).reshape(shape)
    ids[-1, (shape[1] + 1) // 2 :] = PAD
    return ids


def free_axes(entry: Input) -> dict[int, str]:
    """The axes of an input that may have any size, by place."""
    return {place: axis for place, axis in enumerate(entry.shape) if isinstance(axis, str)}
