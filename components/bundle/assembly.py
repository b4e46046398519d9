"""Writing a bundle: records become a folder."""

import hashlib
from pathlib import Path
from typing import Any

from components import bundle, files, objects
from components.artifacts import Exported, Prepared, Variant
from components.bundle import card, provenance
from components.errors import UsageError
from components.records import content


def assemble(
    folder: Path, name: str, variants: tuple[Variant, ...], selected: Exported, data: Prepared
) -> bundle.Bundle:
    """Write the bundle of a version into an empty folder, sign it and open it.

    Raises:
        UsageError: the selected graph is none of the variants.
        IntegrityError: an object that a record names is absent or damaged.
    """
    chosen = the_variant(variants, selected)
    listed = _identity_files(folder, variants, selected, data)
    manifest = {
        "format": bundle.FORMAT,
        "selected": selected.name,
        "files": listed,
        "remake": remake(variants, selected, data),
    }
    text = files.canonical(manifest) + b"\n"
    files.write_bytes(folder / bundle.MANIFEST, text)
    beside = _circumstances(folder, card.card(name, variants, chosen, data))
    facts = {**provenance.facts(), "scores": _scores(chosen)}
    digest = hashlib.sha256(text).hexdigest()
    files.write_bytes(folder / bundle.PROVENANCE, bundle.sealed(digest, beside, facts))
    bundle.sign(folder)
    return bundle.open(folder, digest)


def the_variant(variants: tuple[Variant, ...], selected: Exported) -> Variant:
    """The variant of this graph.

    Raises:
        UsageError: it is none of them.
    """
    for variant in variants:
        if variant.exported == selected:
            return variant
    names = ", ".join(variant.exported.name for variant in variants)
    raise UsageError(f"the selected graph {selected.name!r} is none of the variants ({names})")


def remake(variants: tuple[Variant, ...], selected: Exported, data: Prepared) -> dict[str, Any]:
    """What it takes to make the same files again: data, recipe, chain, seed, threads."""
    recipe = selected.model.recipe
    return {
        "exported": content(selected.model_dump(mode="json")),
        "variants": {variant.exported.name: variant.exported.digest for variant in variants},
        "seed": recipe.seed,
        "threads": recipe.threads,
        "prepared": data.digest,
        "data": [
            {"name": source.raw.name, "tree": source.raw.tree, "rows": source.raw.rows}
            for source in data.sources
        ],
    }


def _identity_files(
    folder: Path, variants: tuple[Variant, ...], selected: Exported, data: Prepared
) -> dict[str, Any]:
    named = {
        "model.onnx": selected.files["model.onnx"],
        "weights.safetensors": selected.model.files["weights.safetensors"],
        **_reader(data),
    }
    for variant in variants:
        if not variant.exported.chain:
            named["fp32.onnx"] = variant.exported.files["model.onnx"]
    listed = {}
    for name, sha in named.items():
        place = objects.link(sha, folder / name)
        # The record's sha256, not the copy's: what was copied is then held against it.
        listed[name] = {"sha256": sha, "size_bytes": place.stat().st_size}
    model = selected.model
    files.write_json(
        folder / "architecture.json",
        {
            "architecture": model.architecture.model_dump(mode="json"),
            "spec": model.spec.model_dump(mode="json"),
        },
    )
    files.copy(Path(__file__).with_name("served_model.py"), folder / "served_model.py")
    made = ("architecture.json", "served_model.py")
    return listed | {name: bundle.describe(folder / name) for name in made}


def _reader(data: Prepared) -> dict[str, str]:
    """`inputs.json` and the tokenizer: what turns raw input into the graph's arrays."""
    return {
        name: sha for name, sha in data.files.items() if name in ("inputs.json", "tokenizer.json")
    }


def _circumstances(folder: Path, text: str) -> dict[str, Any]:
    files.write_bytes(folder / "card.md", text.encode())
    names = ["card.md"]
    if changes := provenance.patch():
        files.write_bytes(folder / "source.patch", changes)
        names.append("source.patch")
    return {name: bundle.describe(folder / name) for name in names}


def _scores(variant: Variant) -> dict[str, Any]:
    kept = {"validation": variant.validation, "test": variant.test}
    return {
        split: {name: score.model_dump() for name, score in predictions.scores.items()}
        for split, predictions in kept.items()
        if predictions is not None
    }
