"""Data and models small enough to train in a blink, which still learn their task."""

import io
import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save
from tokenizers import Regex, Tokenizer, models, pre_tokenizers

from components import objects
from components.artifacts import Prepared, TrainedModel
from components.files import canonical
from components.recipe import Recipe
from components.spec import DataSpec, Input
from components.training.trained import trained

LETTERS = "abcdefghijklmnopqrstuvwxyz"
LABELS = ("negative", "positive")
ROWS = {"train": 256, "val": 96, "test": 64}
SIDE = 16

TEXT = {
    "architecture": {"kind": "encoder", "width": 16, "layers": 1, "heads": 2, "dropout": 0.0},
    "objective": {"kind": "classification", "dropout": 0.0},
    "optimizer": {"lr": 0.02},
    "budget": {"epochs": 4, "batch_size": 32},
    "precision": "fp32",
    "threads": 1,
}
IMAGE = TEXT | {"architecture": {"kind": "cnn", "channels": [16, 16, 24], "pooling": "grid"}}
RECIPES = {"text": TEXT, "image": IMAGE}


def prepared(modality: str) -> Prepared:
    """Texts that say `z` or do not, or pictures with light in the upper or the lower half."""
    return _texts() if modality == "text" else _images()


def model(data: Prepared, folder: Path, **changes: object) -> TrainedModel:
    """A network that has learnt the task."""
    recipe = Recipe.model_validate(RECIPES[data.spec.modality] | changes)
    return trained(data, recipe, folder)


def a_text(positive: bool, rng: np.random.Generator, longest: int = 24) -> str:
    """Random letters, with three `z` among them where it is positive."""
    letters = list(rng.choice(list(LETTERS[:-1]), rng.integers(5, longest - 3)))
    for _ in range(3 if positive else 0):
        letters.insert(int(rng.integers(0, len(letters))), "z")
    return "".join(letters)


def a_picture(below: bool, rng: np.random.Generator) -> np.ndarray:
    """Noise, and light in one half."""
    picture = rng.integers(0, 90, (SIDE, SIDE))
    half = slice(SIDE // 2, None) if below else slice(0, SIDE // 2)
    picture[half] += 120
    return picture.astype(np.uint8)


def tokenizer() -> Tokenizer:
    """One token per letter."""
    words = ["[PAD]", "[UNK]", "[MASK]", *LETTERS]
    made = Tokenizer(models.WordLevel({word: at for at, word in enumerate(words)}, "[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    return made


def _texts() -> Prepared:
    spec = DataSpec(
        modality="text",
        inputs=(Input(name="ids", dtype="int64", shape=("batch", "length")),),
        labels=LABELS,
        vocabulary_size=3 + len(LETTERS),
        max_length=40,
    )
    split = tokenizer()
    files = {"tokenizer.json": split.to_str().encode()}
    files["inputs.json"] = _described(
        spec, reader="text", tokenizer="tokenizer.json", max_length=40
    )
    for number, (name, rows) in enumerate(ROWS.items()):
        rng = np.random.default_rng(number)
        label = np.arange(rows) % 2
        texts = [a_text(bool(one), rng) for one in label]
        ids = [encoding.ids for encoding in split.encode_batch(texts)]
        arrays = {
            "ids": np.array([one for row in ids for one in row], dtype=np.int32),
            "offsets": np.cumsum([0, *map(len, ids)]).astype(np.int64),
        }
        files |= _split(name, arrays, label, texts)
    return _record(spec, files)


def _images() -> Prepared:
    spec = DataSpec(
        modality="image",
        inputs=(Input(name="pixels", dtype="float32", shape=("batch", 1, SIDE, SIDE)),),
        labels=LABELS,
        mean=100.0,
        std=70.0,
    )
    files = {"inputs.json": _described(spec, reader="image", height=SIDE, width=SIDE)}
    for number, (name, rows) in enumerate(ROWS.items()):
        rng = np.random.default_rng(number)
        label = np.arange(rows) % 2
        pixels = np.stack([a_picture(bool(one), rng) for one in label])
        files |= _split(name, {"pixels": pixels}, label, [None] * rows)
    return _record(spec, files)


def _described(spec: DataSpec, **reader: object) -> bytes:
    inputs = [entry.model_dump(mode="json") for entry in spec.inputs]
    return canonical({**reader, "inputs": inputs, "labels": list(spec.labels)})


def _split(
    name: str, arrays: dict[str, np.ndarray], label: np.ndarray, texts: list[str | None]
) -> dict[str, bytes]:
    arrays = arrays | {"label": label.astype(np.int64), "unit": np.arange(len(label))}
    lines = io.StringIO()
    for row, (text, one) in enumerate(zip(texts, label, strict=True)):
        lines.write(json.dumps({"id": f"{name}-{row}", "text": text, "label": LABELS[one]}) + "\n")
    return {
        f"{name}.safetensors": save(arrays),
        f"rows.{name}.jsonl": lines.getvalue().encode(),
    }


def _record(spec: DataSpec, files: dict[str, bytes]) -> Prepared:
    return Prepared(
        sources=(),
        spec=spec,
        files={name: objects.put_bytes(content) for name, content in files.items()},
        rows=ROWS,
    )
