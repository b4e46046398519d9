"""What needs no network: the floor that a model must clear, and the rival that it must face."""

import json
import unicodedata
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from safetensors.numpy import load_file
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from threadpoolctl import threadpool_limits

from components import objects
from components.artifacts import Prepared, Split
from components.evaluation import grams

STRENGTHS = {"text": (1.0, 3.0, 10.0, 30.0), "image": (0.01, 0.03, 0.1, 0.3)}
"""Inverse strengths of the L2 penalty to choose from, the strongest penalty first."""

Features = np.ndarray | csr_matrix


class Fitted(NamedTuple):
    """Probabilities (rows, labels) of the wanted split, and the penalty that was chosen."""

    probability: np.ndarray
    inverse_strength: float


def majority(data: Prepared, split: Split) -> np.ndarray:
    """The training rows' label shares, the same for every row: float64 (rows, labels)."""
    counts = np.bincount(_labels(data, "train"), minlength=len(data.spec.labels))
    return np.tile(counts / counts.sum(), (data.rows[split], 1))


def linear(data: Prepared, split: Split, seed: int) -> Fitted:
    """Logistic regression on character 1-3-grams (TF-IDF) of the whole text, or on pixels.

    The penalty is the one with the smallest loss on validation rows. One thread: the sums of a
    multiplication have other last bits with another number of them.
    """
    splits = tuple(dict.fromkeys(("train", "val", split)))
    features = (
        _text_features(data, splits) if data.spec.modality == "text" else _pixels(data, splits)
    )
    train, val = _labels(data, "train"), _labels(data, "val")
    every = np.arange(len(data.spec.labels))
    losses: list[float] = []
    fits: list[Fitted] = []
    with threadpool_limits(limits=1):
        for strength in STRENGTHS[data.spec.modality]:
            model = LogisticRegression(
                C=strength, solver="newton-cg", max_iter=1000, random_state=seed
            )
            model.fit(features["train"], train)
            loss = log_loss(val, model.predict_proba(features["val"]), labels=every)
            losses.append(float(loss))
            fits.append(Fitted(model.predict_proba(features[split]), strength))
    return fits[int(np.argmin(losses))]


def _labels(data: Prepared, split: str) -> np.ndarray:
    return load_file(objects.path(data.files[f"{split}.safetensors"]))["label"]


def _text_features(data: Prepared, splits: Sequence[str]) -> Mapping[str, Features]:
    counted = {split: grams.count(_texts(data, split)) for split in splits}
    weights = grams.Weights.fit(counted["train"])
    return {split: weights.rows(counted[split]) for split in splits}


def _texts(data: Prepared, split: str) -> list[str]:
    lines = objects.path(data.files[f"rows.{split}.jsonl"]).read_bytes().splitlines()
    return [unicodedata.normalize("NFKC", json.loads(line)["text"]).lower() for line in lines]


def _pixels(data: Prepared, splits: Sequence[str]) -> Mapping[str, Features]:
    arrays = {
        split: load_file(objects.path(data.files[f"{split}.safetensors"]))["pixels"]
        for split in splits
    }
    return {
        split: (pixels.reshape(len(pixels), -1) / 255).astype(np.float32)
        for split, pixels in arrays.items()
    }
