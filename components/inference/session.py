"""A graph in ONNX Runtime: the same input gives the same bits, run after run."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnxruntime
from onnxruntime.capi import (
    onnxruntime_pybind11_state as runtime,  # pyrefly: ignore[missing-module-attribute]  compiled
)

from components.errors import IntegrityError
from components.inference.inspection import check

OUTPUT = "logits"

_BROKEN = (
    runtime.Fail,
    runtime.InvalidArgument,
    runtime.InvalidGraph,
    runtime.InvalidProtobuf,
    runtime.NotImplemented,
    runtime.RuntimeException,
)


class Session:
    """A checked graph, ready to run on the processor."""

    def __init__(self, graph: Path, threads: int = 1) -> None:
        """Read the file once, check those bytes and hand the same bytes to the runtime.

        Raises:
            IntegrityError: the file is no ONNX model, or one that may not run here.
        """
        model = graph.read_bytes()
        check(model, graph.name)
        try:
            self._session = onnxruntime.InferenceSession(
                model, _options(threads), providers=["CPUExecutionProvider"]
            )
        except _BROKEN as error:
            raise IntegrityError(
                f"{graph.name} is refused by ONNX Runtime {onnxruntime.__version__}: {error}",
                "export the model again, or restore the file from its registry",
            ) from error
        self.inputs = tuple(entry.name for entry in self._session.get_inputs())
        outputs = [entry.name for entry in self._session.get_outputs()]
        if outputs != [OUTPUT]:
            raise IntegrityError(
                f"{graph.name} gives {', '.join(outputs)}, not the one output {OUTPUT!r}",
                "use a model that this project exported",
            )

    def run(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """Logits, float32 (rows, labels)."""
        [logits] = self._session.run([OUTPUT], dict(inputs))
        return np.asarray(logits)


def _options(threads: int) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.use_deterministic_compute = True
    # Idle threads sleep: a server shares its processor with its neighbours.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3  # errors; they also come as exceptions
    return options
