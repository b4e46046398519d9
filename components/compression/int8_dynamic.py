"""Weights and tables as 8-bit integers; activations are quantized while the graph runs."""

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from components.compression import Bench, Compression

if TYPE_CHECKING:
    import onnx


class Int8Dynamic(Compression):
    """Right for text: matrix products and embedding tables, one scale per output channel.

    The range of the activations is taken over the whole batch, so a row's last digits can depend
    on its neighbours. Convolutions stay in float: they become slower this way.
    """

    source: ClassVar[str] = "ONNX Runtime, onnxruntime.quantization.quantize_dynamic"
    works_on: ClassVar[Literal["model", "graph"]] = "graph"

    def graph(self, source: Path, target: Path, bench: Bench) -> None:
        """The graph with int8 weights in `MatMul`, `Gemm`, `Gather` and `LSTM`."""
        from onnxruntime.quantization import QuantType, quantize_dynamic

        from components.compression._quantizing import quantized

        def quantize(model: "onnx.ModelProto", written: Path) -> None:
            recurrent = any(node.op_type == "LSTM" for node in model.graph.node)
            quantize_dynamic(
                model,
                written,
                op_types_to_quantize=["MatMul", "Gemm", "Gather", "LSTM"],
                weight_type=QuantType.QInt8,
                per_channel=not recurrent,  # ONNX Runtime has no LSTM with a scale per channel
            )

        quantized(source, target, quantize)
