"""Small but real records: a graph that runs, a tokenizer that reads, answers that can be judged."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from components import objects
from components.artifacts import (
    Exported,
    Made,
    Measured,
    Parity,
    Predictions,
    Prepared,
    RawData,
    Score,
    TrainedModel,
    ValidatedData,
    Variant,
)
from components.evaluation.rows import Rows
from components.recipe import Recipe
from components.spec import DataSpec, Input

LABELS = ("bad", "good")
WORDS = ["[PAD]", "[UNK]", "[MASK]", "bad", "good", "dull", "fine"]


def a_recipe(seed: int = 0) -> Recipe:
    """Any recipe that the house knows."""
    return Recipe.model_validate(
        {
            "architecture": {"kind": "ngrams"},
            "objective": {"kind": "classification"},
            "optimizer": {"lr": 0.01},
            "budget": {"epochs": 1},
            "seed": seed,
        }
    )


def text_spec() -> DataSpec:
    """Two labels, seven words."""
    return DataSpec(
        modality="text",
        inputs=(Input(name="ids", dtype="int64", shape=("batch", "length")),),
        labels=LABELS,
        vocabulary_size=len(WORDS),
        max_length=8,
    )


def a_graph(path: Path, shift: float = 0.0) -> Path:
    """ONNX: the mean over tokens of one weight row per word; `bad` and `dull` against the rest."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    table = np.zeros((len(WORDS), 2), dtype=np.float32)
    table[[3, 5], 0] = 2.0
    table[[4, 6], 1] = 2.0 + shift
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["rows"]),
        helper.make_node("ReduceMean", ["rows", "axis"], ["logits"], keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["batch", "length"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 2])],
        [
            numpy_helper.from_array(table, "table"),
            numpy_helper.from_array(np.array([1], dtype=np.int64), "axis"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, path)
    return path


def a_prepared(folder: Path) -> Prepared:
    """Two labels of text with a tokenizer that splits at spaces."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    words = {word: at for at, word in enumerate(WORDS)}
    tokenizer = Tokenizer(WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    spec = text_spec()
    inputs = {
        "reader": "text",
        "tokenizer": "tokenizer.json",
        "max_length": spec.max_length,
        "inputs": [entry.model_dump(mode="json") for entry in spec.inputs],
        "labels": list(LABELS),
    }
    (folder / "inputs.json").write_text(json.dumps(inputs))
    names = ("tokenizer.json", "inputs.json")
    raw = RawData(name="reviews", tree="0" * 32 + ".dir", rows={"train": 9, "val": 2, "test": 4})
    return Prepared(
        sources=(ValidatedData(raw=raw, checks=()),),
        spec=spec,
        files={name: objects.put(folder / name) for name in names},
        rows={"train": 9, "val": 2, "test": 4},
    )


def some_answers(
    folder: Path, right: np.ndarray, model: str = "fp32", split: str = "test"
) -> Predictions:
    """Predictions that are right where the mask says so, on alternating labels."""
    label = np.arange(len(right)) % 2
    chosen = np.where(right, label, 1 - label)
    probability = np.full((len(right), 2), 0.1, dtype=np.float32)
    probability[np.arange(len(right)), chosen] = 0.9
    rows = Rows(probability, label, np.arange(len(right)))
    share = float(right.mean())
    return Predictions(
        model=model,
        of="0" * 64,
        data="d" * 64,
        split=split,
        objective={"kind": "classification"},
        files={"rows.safetensors": objects.put_bytes(rows.to_bytes())},
        scores={"accuracy": Score(value=share, low=share, high=share, n=len(right))},
    )


def a_variant(folder: Path, **changes: Any) -> Variant:
    """An exported, measured and evaluated model; `changes`: name, chain, shift, right, size, ms."""
    right = changes.get("right", np.array([True] * 90 + [False] * 10))
    name = changes.get("name", "fp32")
    folder.mkdir(parents=True, exist_ok=True)
    weights = folder / "weights.safetensors"
    save_file({"backbone.table": np.ones((2, 2), dtype=np.float32)}, weights)
    graph = objects.put(a_graph(folder / "model.onnx", changes.get("shift", 0.0)))
    recipe = a_recipe(changes.get("seed", 0))
    exported = Exported(
        name=name,
        model=TrainedModel(
            architecture=recipe.architecture,
            spec=text_spec(),
            files={"weights.safetensors": objects.put(weights)},
            recipe=recipe,
        ),
        chain=changes.get("chain", ()),
        files={"model.onnx": graph},
        size_bytes=changes.get("size", 1000),
        parity=Parity(
            rows=100,
            max_difference=1e-6,
            top1_agreement=changes.get("agreement", 1.0),
            shapes=("1x4",),
        ),
    )
    return Variant(
        exported=exported,
        measured=_measured(exported, changes),
        validation=some_answers(folder, right, name, "val"),
        test=some_answers(folder, right, name),
    )


def _measured(exported: Exported, changes: dict[str, Any]) -> Measured:
    milliseconds = changes.get("ms", 1.0)
    names = ("batch_1_p50", "batch_1_p95", "batch_32_p50", "batch_32_p95")
    facts = {"latency_ms": dict.fromkeys(names, milliseconds)} if milliseconds else {}
    return Measured(
        exported=exported.digest, size_bytes=exported.size_bytes, made=Made(facts=facts)
    )
