"""The PyTorch module as the measure of its graph: it runs on the arrays that a graph takes."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch

from components.layers.backbone import Model


class Reference:
    """A module with the manner of a `Session`."""

    def __init__(self, model: Model) -> None:
        self._model = model.eval()

    def run(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """Logits, float32 (rows, labels)."""
        with torch.inference_mode():
            tensors = {name: torch.from_numpy(value) for name, value in inputs.items()}
            return self._model(**tensors).float().numpy()


@contextmanager
def one_thread() -> Iterator[None]:
    """Inside, PyTorch computes on one thread: another number gives other last bits and times."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
