"""Makings of versions, small and made up: what a provenance says."""

import json
from pathlib import Path
from typing import Any

from components import bundle, files, signing
from components.bundle import provenance
from components.bundle.origin import Origin

DATA, WEIGHTS, GRAPH = "d" * 64, "a" * 64, "c" * 64


def a_step(order: int, result: str, **parts: Any) -> dict[str, Any]:
    """One step as a bundle remembers it."""
    plain = {"function": "m:f", "inputs": {}, "libraries": {"numpy": "2"}, "code": "e" * 64}
    return {"order": order, "key": "k" * 64, **plain, "result": result, "files": {}, **parts}


def steps() -> dict[str, dict[str, Any]]:
    """Five steps whose order is not that of their names."""
    raw = {"name": "words", "tree": "1.dir", "rows": {"train": 3}}
    recipe = {"optimizer": {"lr": 0.01}, "threads": 1}
    return {
        "validate-words": a_step(
            0, "1" * 64, inputs={"raw": raw, "expectations": {"name": "words"}}
        ),
        "prepare": a_step(1, DATA),
        "finetune": a_step(
            2, "3" * 64, inputs={"recipe": recipe}, files={"weights.safetensors": WEIGHTS}
        ),
        "compress-fp32": a_step(3, "4" * 64, files={"model.onnx": GRAPH}),
        "select": a_step(4, "4" * 64),
    }


def a_manifest() -> dict[str, Any]:
    """What the version is."""
    listed = {"weights.safetensors": WEIGHTS, "model.onnx": GRAPH, "fp32.onnx": GRAPH}
    return {
        "format": 1,
        "selected": "fp32",
        "files": {name: {"sha256": sha, "size_bytes": 9} for name, sha in listed.items()},
        "remake": {
            "exported": {"model": {"recipe": {"optimizer": {"lr": 0.01}}}, "size_bytes": 9},
            "variants": {"fp32": "4" * 64},
            "seed": 0,
            "threads": 1,
            "prepared": DATA,
            "data": [{"name": "words", "tree": "1.dir", "rows": {"train": 3}}],
        },
    }


def a_making(**changes: Any) -> Origin:
    """A version made here and now; `changes` are facts."""
    score = {"value": 0.9, "low": 0.8, "high": 1.0, "n": 50}
    facts = {
        "commit": "0" * 40,
        "lock": "f" * 64,
        **provenance.circumstances(),
        "config": {"name": "tiny", "data": ["words"]},
        "steps": steps(),
        "scores": {"test": {"accuracy": score}},
        **changes,
    }
    # As it is read back: lists and dicts of its own, numbers as JSON has them.
    return Origin("b" * 64, json.loads(json.dumps(facts)), b"", a_manifest())


def write(making: Origin, folder: Path) -> Path:
    """The provenance alone in a folder, signed by the home's key."""
    listed = {}
    if making.patch:
        files.write_bytes(folder / "source.patch", making.patch)
        listed = {"source.patch": bundle.describe(folder / "source.patch")}
    text = bundle.sealed(making.bundle, listed, making.facts)
    files.write_bytes(folder / bundle.PROVENANCE, text)
    signed = {
        bundle.MANIFEST: making.bundle,
        bundle.PROVENANCE: files.digest(folder / bundle.PROVENANCE),
    }
    mark = signing.sign(files.canonical(signed))
    value = {"format": bundle.FORMAT, "key": mark.key, "signature": mark.value, "signed": signed}
    files.write_json(folder / bundle.SIGNATURE, value)
    return folder / bundle.PROVENANCE
