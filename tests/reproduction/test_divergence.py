"""The step that a difference is put down to, and the words for it."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from components.bundle.origin import Origin
from pipelines.divergence import divergence
from tests.reproduction.makings import a_making

Edit = Callable[[Origin], Any]


def edited(edit: Edit, **parts: Any) -> Origin:
    """A making with something else in it."""
    making = copy.deepcopy(a_making())
    edit(making)
    return making._replace(**parts)


def test_two_equal_makings_do_not_diverge() -> None:
    assert divergence(a_making(), a_making()) is None


def test_time_host_and_scores_are_no_divergence() -> None:
    later = a_making(host="other", at="2030", scores={}, libraries={"numpy": "1"})
    assert divergence(a_making(), later) is None


def set_in(path: tuple[Any, ...], value: Any) -> Edit:
    def edit(making: Origin) -> None:
        node: Any = making.facts["steps"]
        for part in path[:-1]:
            node = node[part]
        assert node[path[-1]] != value, "the edit changes nothing"
        node[path[-1]] = value

    return edit


@pytest.mark.parametrize(
    ("path", "value", "step", "what"),
    [
        (("validate-words", "inputs", "raw", "tree"), "2.dir", "validate-words",
         "inputs.raw.tree: 2.dir -> 1.dir"),
        (("finetune", "inputs", "recipe", "threads"), 2, "finetune",
         "inputs.recipe.threads: 2 -> 1"),
        (("finetune", "inputs", "recipe", "optimizer", "lr"), 0.02, "finetune",
         "inputs.recipe.optimizer.lr: 0.02 -> 0.01"),
        (("finetune", "function"), "m:g", "finetune", "function: m:g -> m:f"),
        (("finetune", "libraries", "numpy"), "3", "finetune", "libraries.numpy: 3 -> 2"),
        (("prepare", "code"), "9" * 64, "prepare", f"code: {'9' * 12} -> {'e' * 12}"),
        (("prepare", "result"), "9" * 64, "prepare",
         f"equal inputs came to another result: {'9' * 12} -> {'d' * 12}"),
        (("finetune", "files", "weights.safetensors"), "9" * 64, "finetune",
         f"equal inputs came to another weights.safetensors: {'9' * 12} -> {'a' * 12}"),
    ],
)  # fmt: skip
def test_an_edited_step_is_named_with_its_first_difference(
    path: tuple[Any, ...], value: Any, step: str, what: str
) -> None:
    there = edited(set_in(path, value), bundle="9" * 64)
    assert divergence(there, a_making()) == (step, what)


def test_the_first_in_running_order_is_told_and_not_the_first_by_name() -> None:
    def edit(making: Origin) -> None:
        for name in ("compress-fp32", "prepare"):
            making.facts["steps"][name]["result"] = "9" * 64

    assert sorted(a_making().facts["steps"])[0] == "compress-fp32"
    assert divergence(edited(edit), a_making()).step == "prepare"


def test_a_step_too_few_or_too_many_is_named() -> None:
    fewer = edited(lambda making: making.facts["steps"].pop("compress-fp32"))
    assert divergence(fewer, a_making()) == ("compress-fp32", "the step is missing there")
    assert divergence(a_making(), fewer) == ("compress-fp32", "the step is missing here")


def in_manifest(*path: str, value: Any) -> Edit:
    def edit(making: Origin) -> None:
        node: Any = making.manifest
        for part in path[:-1]:
            node = node[part]
        node[path[-1]] = value

    return edit


@pytest.mark.parametrize(
    ("path", "value", "step"),
    [
        (("files", "weights.safetensors", "sha256"), "9" * 64, "finetune"),
        (("files", "model.onnx", "sha256"), "9" * 64, "compress-fp32"),
        (("remake", "exported", "model", "recipe", "optimizer", "lr"), 0.02, "finetune"),
        (("remake", "exported", "size_bytes"), 10, "compress-fp32"),
        (("remake", "threads"), 2, "finetune"),
        (("remake", "prepared"), "9" * 64, "prepare"),
        (("remake", "variants", "fp32"), "9" * 64, "compress-fp32"),
        (("format",), 2, "register"),
        (("files", "extra.bin"), {"sha256": "9" * 64}, "register"),
    ],
)
def test_a_manifest_that_no_step_made_is_put_down_to_the_step_of_its_part(
    path: tuple[str, ...], value: Any, step: str
) -> None:
    there = edited(in_manifest(*path, value=value), bundle="9" * 64)
    found = divergence(there, a_making())
    assert found is not None
    assert found.step == step
    assert found.what.startswith(f"{'.'.join(path)}: ")
    assert found.what.endswith("in the manifest alone")


def test_without_a_manifest_the_digest_itself_is_told() -> None:
    there = a_making()._replace(bundle="9" * 64, manifest=None)
    assert divergence(there, a_making()) == ("register", f"bundle: {'9' * 12} -> {'b' * 12}")


def test_a_distilled_graphs_weights_are_its_compression_s() -> None:
    def edit(making: Origin) -> None:
        making.manifest["files"]["weights.safetensors"]["sha256"] = "8" * 64

    here = edited(edit)
    there = edited(in_manifest("files", "weights.safetensors", "sha256", value="7" * 64))
    found = divergence(there._replace(bundle="9" * 64), here)
    assert found.step == "compress-fp32"
