"""What data look like, in words that models, graphs and readers share."""

from typing import Literal

from components.records import Record

PAD, UNKNOWN, MASK = 0, 1, 2
"""Token ids that every text tokenizer of the house reserves."""


class Input(Record):
    """One array that a model reads: name, dtype and axes; a named axis is free."""

    name: str
    dtype: Literal["int64", "float32"]
    shape: tuple[int | str, ...]


class DataSpec(Record):
    """What a model can know of its data before it sees any."""

    modality: Literal["text", "image"]
    inputs: tuple[Input, ...]
    labels: tuple[str, ...]
    vocabulary_size: int = 0
    """Number of token ids, reserved ones included; 0 where there are no tokens."""
    max_length: int = 0
    """Longest sequence in tokens; 0 where there is no length."""
    mean: float = 0.0
    """Mean of the training inputs; scaling happens inside the graph."""
    std: float = 1.0
