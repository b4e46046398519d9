"""Where a remade version leaves the path of the first: the step, and the first differing input."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from components.bundle.origin import Origin
from pipelines.keys import differences

Step = dict[str, Any]


class Divergence(NamedTuple):
    """The first step, in running order, that was made of or came to something else."""

    step: str
    what: str
    """`path: there -> here`."""


def divergence(there: Origin, here: Origin) -> Divergence | None:
    """The first difference of two makings; None where both came to one bundle by equal steps.

    Steps come first, in running order; then, where every step agrees, what the manifest says of
    their results: a list that was edited names a file that no step made.
    """
    for name, step in there.steps.items():
        if name not in here.steps:
            return Divergence(name, "the step is missing here")
        if what := next(_step(step, here.steps[name]), None):
            return Divergence(name, what)
    if more := [name for name in here.steps if name not in there.steps]:
        return Divergence(more[0], "the step is missing there")
    if there.bundle == here.bundle:
        return None
    if there.manifest is not None and here.manifest is not None:
        for path in _places(here):
            if what := next(_leaf(path, there.manifest, here.manifest), None):
                return Divergence(_places(here)[path], what)
    return Divergence("register", f"bundle: {there.bundle[:12]} -> {here.bundle[:12]}")


def _step(there: Step, here: Step) -> Iterator[str]:
    """Differences of one step: what went in, what computed, then what came out."""
    for part in ("function", "inputs", "libraries", "code", "key"):
        yield from differences(part, there[part], here[part])
    for name in sorted(there["files"].keys() | here["files"].keys()):
        both = [step["files"].get(name) for step in (there, here)]
        yield from differences(f"equal inputs came to another {name}", *both)
    yield from differences("equal inputs came to another result", there["result"], here["result"])


def _places(here: Origin) -> dict[str, str]:
    """Parts of the manifest by dotted path -> the step that answers for them, in running order."""
    manifest = here.manifest or {}
    selected = f"compress-{manifest['selected']}"
    weights = manifest["files"]["weights.safetensors"]["sha256"]
    trained = weights in here.steps["finetune"]["files"].values()
    model = "finetune" if trained else selected
    variants = {f"remake.variants.{name}": f"compress-{name}" for name in _variants(manifest)}
    places = {
        **{f"remake.{part}": "prepare" for part in ("data", "prepared")},
        **{f"files.{name}": "prepare" for name in ("inputs.json", "tokenizer.json")},
        **{part: model for part in ("remake.seed", "remake.threads", "remake.exported.model")},
        **{f"files.{name}": model for name in ("weights.safetensors", "architecture.json")},
        "files.fp32.onnx": "compress-fp32",
        **variants,
        **{part: selected for part in ("remake.exported", "files.model.onnx")},
        "selected": "select",
        "": "register",
    }
    order = [*here.steps, "register"]
    return {path: places[path] for path in sorted(places, key=lambda at: order.index(places[at]))}


def _variants(manifest: dict[str, Any]) -> list[str]:
    return list(manifest["remake"]["variants"])


def _leaf(path: str, there: Any, here: Any) -> Iterator[str]:
    """Differences below a part of two manifests; names of files keep their dots."""
    rest = path
    while rest and isinstance(there, dict):
        name = next((n for n in here if rest == n or rest.startswith(f"{n}.")), None)
        if name is None:
            return
        there, here = there.get(name), here[name]
        rest = rest[len(name) + 1 :]
    for what in differences(path, there, here):
        yield f"{what.removeprefix('.')}, in the manifest alone"
