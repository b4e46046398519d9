"""Weights and activations as 8-bit integers; ranges are measured beforehand on training rows."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import PositiveInt

from components.compression import Bench, Compression

if TYPE_CHECKING:
    import onnx


class Int8Static(Compression):
    """Right for convolutions: unsigned activations, signed weights with a scale per channel."""

    source: ClassVar[str] = "Jacob et al., arXiv:1712.05877; ONNX Runtime's QDQ format"
    works_on: ClassVar[Literal["model", "graph"]] = "graph"

    calibration_rows: PositiveInt = 400
    """Training rows from which the ranges are taken."""

    def graph(self, source: Path, target: Path, bench: Bench) -> None:
        """The graph with `QuantizeLinear` and `DequantizeLinear` around what integers can do."""
        from onnxruntime.quantization import (
            CalibrationDataReader,
            CalibrationMethod,
            QuantFormat,
            QuantType,
            quantize_static,
        )

        from components.compression._quantizing import quantized

        class Rows(CalibrationDataReader):
            """Hands out one batch after another, then None."""

            def __init__(self, batches: Iterator[dict]) -> None:
                self._batches = batches

            def get_next(self) -> dict | None:  # type: ignore[override]  # None ends it
                return next(self._batches, None)

        def quantize(model: "onnx.ModelProto", written: Path) -> None:
            quantize_static(
                model,
                written,
                Rows(iter(bench.calibration(self.calibration_rows))),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                # U8S8: with signed activations a transformer becomes slower than in float.
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=CalibrationMethod.MinMax,
                op_types_to_quantize=_operators(model),
            )

        quantized(source, target, quantize)


def _operators(model: "onnx.ModelProto") -> list[str] | None:
    """Around convolutions everything that can be integers, so that they flow through; else what
    pays in a transformer."""
    if any(node.op_type == "Conv" for node in model.graph.node):
        return None
    return ["MatMul", "Gemm", "Gather"]
