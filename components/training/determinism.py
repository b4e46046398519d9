"""The settings under which the same recipe gives the same bits."""

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def settled(threads: int, seed: int) -> Iterator[None]:
    """Inside: this many threads, deterministic kernels, every generator seeded.

    Threads and kernels are given back afterwards; generators are not.
    """
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    kernels = torch.utils.deterministic
    fill = kernels.fill_uninitialized_memory  # pyrefly: ignore[missing-attribute]
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS refuses without it
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    # Filling memory that is overwritten anyway would cost time in every step.
    kernels.fill_uninitialized_memory = False  # pyrefly: ignore[missing-attribute]
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.use_deterministic_algorithms(before[1])
        kernels.fill_uninitialized_memory = fill  # pyrefly: ignore[missing-attribute]


@contextmanager
def drawn(seed: int) -> Iterator[None]:
    """Inside, torch draws from this seed; outside, as if nothing had been drawn inside."""
    before = generator_tensors()
    torch.manual_seed(seed)
    try:
        yield
    finally:
        _restore_tensors(before)


def generator_tensors() -> dict[str, torch.Tensor]:
    """The state of torch's generators."""
    tensors = {"torch": torch.get_rng_state()}
    if torch.cuda.is_available():
        tensors["cuda"] = torch.cuda.get_rng_state()
    return tensors


def generator_facts() -> dict[str, list]:
    """The state of Python's and NumPy's global generators, as JSON."""
    version, words, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    return {
        "python": [version, list(words), gauss],
        "numpy": [name, [int(key) for key in keys], int(position), int(has_gauss), float(cached)],
    }


def restore_generators(tensors: dict[str, torch.Tensor], facts: dict[str, list]) -> None:
    """Bring every generator back to a saved state."""
    version, words, gauss = facts["python"]
    random.setstate((version, tuple(words), gauss))
    name, keys, *rest = facts["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), *rest))
    _restore_tensors(tensors)


def _restore_tensors(tensors: dict[str, torch.Tensor]) -> None:
    torch.set_rng_state(tensors["torch"])
    if "cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["cuda"])
