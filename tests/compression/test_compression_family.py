"""Every file in components/compression keeps these promises; a new one is found by itself."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from components import objects
from components.artifacts import Exported
from components.compression import Compression, chain_name
from components.errors import UsageError
from components.inference.predictor import Predictor
from components.options import kinds
from components.steps.compress import compress
from tests.compression import tiny
from tests.compression.learnt import Learnt

KINDS = kinds("components.compression")

STUDENT = tiny.TEXT | {
    "architecture": tiny.TEXT["architecture"] | {"width": 8},
    "guidance": {"alpha": 0.7, "temperature": 3.0},
}
PUPIL = STUDENT | {"architecture": {"kind": "cnn", "channels": [8, 8, 16]}}

NEEDED = {
    "distillation": {"text": {"student": STUDENT}, "image": {"student": PUPIL}},
    "linear_branch": {"text": {"buckets": 512}},
    "structured": {"image": {"multiple": 4}},
}
"""Fields without a default, and sizes for so small a model."""

MISFITS = {
    ("structured", "text"): "structured prunes cnn, not encoder",
    ("linear_branch", "image"): "linear_branch reads classified texts, not image",
}
"""What cannot work on which data, and how it is refused."""

INT8 = {"text": "int8_dynamic", "image": "int8_static"}


@pytest.fixture(params=["text", "image"])
def learnt(request: pytest.FixtureRequest) -> Learnt:
    return request.getfixturevalue(request.param)


def option(kind: str, modality: str) -> Compression:
    fields = NEEDED.get(kind, {}).get(modality, {})
    return Compression.model_validate({"kind": kind, **fields})


def bundle(exported: Exported, learnt: Learnt, folder: Path) -> Path:
    files = learnt.data.files
    for name in ("inputs.json", *(name for name in files if name == "tokenizer.json")):
        objects.link(files[name], folder / name)
    objects.link(exported.files["model.onnx"], folder / "model.onnx")
    return folder


def items(modality: str) -> tuple[list, list[str]]:
    rng = np.random.default_rng(9)
    make = tiny.a_text if modality == "text" else tiny.a_picture
    truth = [bool(row % 2) for row in range(20)]
    return [make(one, rng) for one in truth], [tiny.LABELS[one] for one in truth]


@pytest.mark.parametrize("kind", KINDS)
def test_each_option_is_carried_through_export_int8_and_predict(
    kind: str, learnt: Learnt, tmp_path: Path
) -> None:
    modality = learnt.data.spec.modality
    method = option(kind, modality)
    int8 = Compression.model_validate({"kind": INT8[modality]})
    chain = (method,) if method.works_on == "graph" else (method, int8)
    if refusal := MISFITS.get((kind, modality)):
        with pytest.raises(UsageError, match=refusal):
            compress(learnt.model, learnt.data, chain)
        return
    exported = compress(learnt.model, learnt.data, chain)
    assert exported.name == chain_name(chain)
    assert [Compression.model_validate(link) for link in exported.chain] == list(chain)
    asked, truth = items(modality)
    answers = Predictor(bundle(exported, learnt, tmp_path / "bundle")).predict(asked)
    assert list(answers.labels) == truth


@pytest.mark.parametrize("kind", KINDS)
def test_each_option_says_where_it_comes_from_and_refuses_the_other_work(kind: str) -> None:
    method = option(kind, next(iter(NEEDED.get(kind, {"text": {}}))))
    assert method.source
    on_graphs = method.works_on == "graph"
    other = partial(method.model, None) if on_graphs else partial(method.graph, None, None)
    with pytest.raises(TypeError, match=f"{kind} works on a {method.works_on}"):
        other(None)


def test_the_same_chain_gives_the_same_record(learnt: Learnt) -> None:
    chain = (option(INT8[learnt.data.spec.modality], learnt.data.spec.modality),)
    assert compress(learnt.model, learnt.data, chain) == compress(learnt.model, learnt.data, chain)
