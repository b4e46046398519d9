"""Prepared data and recipes so small that a training takes a blink."""

import hashlib
import itertools
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save
from torch import Tensor

from components import objects
from components.artifacts import Prepared
from components.batches.examples import Examples
from components.recipe import Recipe
from components.spec import DataSpec, Input
from components.training import weights
from components.training.loop import Task

TEXT = DataSpec(
    modality="text",
    inputs=(Input(name="ids", dtype="int64", shape=("batch", "length")),),
    labels=("even", "odd"),
    vocabulary_size=30,
    max_length=20,
)
IMAGE = DataSpec(
    modality="image",
    inputs=(Input(name="pixels", dtype="float32", shape=("batch", 1, 8, 8)),),
    labels=("up", "down"),
    mean=60.0,
    std=70.0,
)
ENCODER = {"kind": "encoder", "width": 16, "layers": 1, "heads": 2, "ngram_buckets": 32}
ROWS = {"train": 60, "val": 24, "test": 24, "pretrain": 60}


def recipe(**changes: object) -> Recipe:
    """An encoder with everything that draws chance; any field can be changed."""
    values = {
        "architecture": ENCODER,
        "objective": {"kind": "classification"},
        "optimizer": {"lr": 0.01},
        "budget": {"epochs": 3, "batch_size": 8, "checkpoint_steps": 1},
        "precision": "fp32",
        "threads": 1,
    }
    return Recipe.model_validate(values | changes)


def prepared(spec: DataSpec = TEXT) -> Prepared:
    """Texts whose label is whether odd tokens prevail, or pictures bright above or below."""
    make = _texts if spec.modality == "text" else _pictures
    files = {}
    for number, (split, rows) in enumerate(ROWS.items()):
        arrays = make(rows, np.random.default_rng(number))
        if split == "pretrain":
            arrays = {name: arrays[name] for name in ("ids", "offsets") if name in arrays}
        if arrays:
            files[f"{split}.safetensors"] = objects.put_bytes(save(arrays))
    return Prepared(sources=(), spec=spec, files=files, rows=ROWS)


def examples(data: Prepared, split: str = "train") -> Examples:
    """The rows of a split."""
    return Examples.load(objects.path(data.files[f"{split}.safetensors"]), data.spec)


def task(data: Prepared, wanted: Recipe, **changes: object) -> Task:
    """What `fit` works on."""
    rows = examples(data, wanted.objective.reads)
    return Task(
        wanted, data.spec, **({"train": rows, "validation": examples(data, "val")} | changes)
    )


def model(wanted: Recipe, spec: DataSpec, seed: int = 0) -> torch.nn.Module:
    """A fresh model."""
    torch.manual_seed(seed)
    return weights.fresh(wanted, spec)


def sha(state: dict[str, Tensor], folder: Path) -> str:
    """sha256 of the weights as a file."""
    path = folder / "sha.safetensors"
    weights.save(state, path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _texts(rows: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    lengths = rng.integers(1, TEXT.max_length + 1, rows)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    ids = rng.integers(3, TEXT.vocabulary_size, offsets[-1]).astype(np.int32)
    pairs = itertools.pairwise(offsets)
    label = np.array([int((ids[first:last] % 2).mean() > 0.5) for first, last in pairs])
    return {"ids": ids, "offsets": offsets, "label": label, "unit": np.arange(rows)}


def _pictures(rows: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    label = rng.integers(0, 2, rows)
    pixels = rng.integers(0, 90, (rows, 8, 8))
    pixels[label == 0, :4] += 120
    pixels[label == 1, 4:] += 120
    return {"pixels": pixels.astype(np.uint8), "label": label, "unit": np.arange(rows)}
