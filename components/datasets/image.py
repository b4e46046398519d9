"""Pictures of one size: `x.npy` uint8 (N, H, W) or (N, H, W, 3), and `y.npy` int64 (N,)."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from components.datasets import Dataset, Rows, card, shards, splits
from components.errors import DataRejected

if TYPE_CHECKING:
    from pandas import DataFrame


class Image(Dataset):
    """Labelled pictures; `Rows` has `id` (of the pixels), `image` uint8 and `label` by name."""

    def read(self, folder: Path, split: str) -> Rows:
        """Every picture of a split as one array, its label by name."""
        [pixels_path], [labels_path] = (shards(folder, split, f"{name}.npy") for name in "xy")
        pixels, labels = _array(pixels_path), _array(labels_path)
        names = card(folder).labels
        _demand_pictures(f"{folder.name}/{split}/x.npy", pixels)
        _demand_labels(f"{folder.name}/{split}/y.npy", labels, len(pixels), names)
        return Rows(
            {
                "id": [_hash(one)[:16] for one in pixels],
                "image": list(pixels),
                "label": [names[label] for label in labels],
            }
        )

    def frame(self, folder: Path) -> "DataFrame":
        """One row per picture: `id`, `label`, `split`, hash of the pixels, size, mean and std.

        `mean` and `std` are of the pixels' values, 0 to 255.
        """
        import pandas as pd

        return pd.concat(
            [
                pd.DataFrame({**_features(self.read(folder, split)), "split": split})
                for split in splits(folder)
            ],
            ignore_index=True,
        )


def _features(rows: Rows) -> dict[str, object]:
    pixels = np.asarray(rows["image"])
    height, width = pixels.shape[1:3]
    inner = tuple(range(1, pixels.ndim))
    return {
        "id": rows["id"],
        "label": rows["label"],
        "pixels_sha256": [_hash(one) for one in pixels],
        "width": width,
        "height": height,
        "mean": pixels.mean(axis=inner),
        "std": pixels.std(axis=inner),
    }


def _hash(pixels: np.ndarray) -> str:
    return hashlib.sha256(pixels.tobytes()).hexdigest()


def _array(path: Path) -> np.ndarray:
    """An array file, never unpickled."""
    try:
        return np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        place = "/".join(path.parts[-3:])
        raise DataRejected(f"{place}: not an array file: {error}") from error


def _demand_pictures(place: str, pixels: np.ndarray) -> None:
    plain = pixels.ndim == 3 or (pixels.ndim == 4 and pixels.shape[3] == 3)
    if pixels.dtype != np.uint8 or not plain or not pixels.size:
        raise DataRejected(
            f"{place}: {pixels.dtype} {pixels.shape}, wanted uint8 (N, H, W) or (N, H, W, 3)"
        )


def _demand_labels(place: str, labels: np.ndarray, pictures: int, names: tuple[str, ...]) -> None:
    if labels.dtype != np.int64 or labels.shape != (pictures,):
        raise DataRejected(f"{place}: {labels.dtype} {labels.shape}, wanted int64 ({pictures},)")
    wrong = np.flatnonzero((labels < 0) | (labels >= len(names)))
    if wrong.size:
        raise DataRejected(
            f"{place}:{wrong[0]}: label {labels[wrong[0]]} is no position in {', '.join(names)} "
            f"({wrong.size} such)"
        )
