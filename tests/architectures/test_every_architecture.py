"""What every file in components/architectures promises; the folder is listed, so a new one too."""

import numpy as np
import pytest
import torch

from components import architectures, options
from components.architectures import Architecture
from components.objectives.classification import Classification
from components.recipe import Recipe
from components.spec import DataSpec
from components.training import determinism, weights
from components.training.loop import fit
from tests.training import small

NEEDED = {
    "branches": {
        "branches": [
            {"kind": "ngrams", "buckets": 64, "width": 8},
            small.ENCODER | {"embedding_width": 4},
        ]
    },
    "encoder": {"width": 16, "layers": 1, "heads": 2},
    "ngrams": {"buckets": 64, "width": 8},
    "cnn": {"channels": [6, 8], "halvings": 1},
}
"""Fields without a default, and small widths; a file that needs neither is tried as it is."""
SPECS = (small.TEXT, small.IMAGE)
KINDS = options.kinds(architectures.__name__)


def architecture(kind: str) -> Architecture:
    return Architecture.model_validate({"kind": kind} | NEEDED.get(kind, {}))


def spec_of(option: Architecture) -> DataSpec:
    """The first spec that this architecture can read."""
    for spec in SPECS:
        try:
            option.gives(spec)
        except ValueError:
            continue
        return spec
    pytest.fail(f"{option.kind} reads none of the specs")


def inputs(spec: DataSpec, rows: int, length: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    if spec.modality == "text":
        return {"ids": torch.randint(3, spec.vocabulary_size, (rows, length))}
    return {"pixels": torch.randint(0, 256, (rows, 1, 8, 8)).float()}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("rows", "length"), [(1, 1), (2, 7), (3, 20)])
def test_the_widths_are_those_it_says_it_gives(kind: str, rows: int, length: int) -> None:
    option = architecture(kind)
    spec = spec_of(option)
    given, backbone = option.gives(spec), option.build(spec).eval()
    encoded = backbone(**inputs(spec, rows, length))
    assert tuple(vector.shape for vector in encoded.pooled) == tuple(
        (rows, width) for width in given.pooled
    )
    if given.states is None:
        assert encoded.states is None
    else:
        assert encoded.states.shape == (rows, length, given.states)
        assert encoded.mask.shape == (rows, length)
    if given.embedding is not None:
        assert encoded.embedding.shape == (spec.vocabulary_size, given.embedding)


@pytest.mark.parametrize("kind", KINDS)
def test_padding_changes_nothing(kind: str) -> None:
    option = architecture(kind)
    spec = spec_of(option)
    if spec.modality != "text":
        pytest.skip("has no length")
    backbone = option.build(spec).eval()
    short = inputs(spec, 4, 7)["ids"]
    long = torch.nn.functional.pad(short, (0, 9))
    for one, other in zip(backbone(ids=short).pooled, backbone(ids=long).pooled, strict=True):
        assert torch.allclose(one, other, atol=1e-5)
    longer = torch.nn.functional.pad(short, (0, 1), value=5)
    for one, other in zip(backbone(ids=short).pooled, backbone(ids=longer).pooled, strict=True):
        assert not torch.allclose(one, other, atol=1e-5), "a token is no padding"


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_without_tokens_gives_numbers(kind: str) -> None:
    option = architecture(kind)
    spec = spec_of(option)
    if spec.modality != "text":
        pytest.skip("has no tokens")
    encoded = option.build(spec).eval()(ids=torch.zeros((2, 3), dtype=torch.int64))
    assert all(torch.isfinite(vector).all() for vector in encoded.pooled)


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_is_read_alone(kind: str) -> None:
    option = architecture(kind)
    spec = spec_of(option)
    backbone = option.build(spec).eval()
    given = inputs(spec, 5, 9)
    alone = backbone(**{name: value[2:3] for name, value in given.items()})
    for together, single in zip(backbone(**given).pooled, alone.pooled, strict=True):
        assert torch.allclose(together[2:3], single, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_it_learns(kind: str) -> None:
    option = architecture(kind)
    spec = spec_of(option)
    recipe = small.recipe(architecture=option.model_dump(), budget={"epochs": 25, "batch_size": 12})
    data = small.prepared(spec)
    with determinism.settled(1, 0):
        losses = [
            progress.metrics["train/loss"]
            for progress in fit(
                weights.fresh(recipe, spec), small.task(data, recipe, validation=None)
            )
        ]
    assert np.isfinite(losses).all()
    assert np.mean(losses[-10:]) < 0.5 * np.mean(losses[:10])


@pytest.mark.parametrize("kind", KINDS)
def test_the_record_survives_json_and_names_its_kind(kind: str) -> None:
    option = architecture(kind)
    again = Architecture.model_validate_json(option.model_dump_json())
    assert again == option
    assert again.model_dump()["kind"] == kind
    wider = {"kind": "classification"}
    held = small.recipe(architecture=option.model_dump(), objective=wider)
    assert Recipe.model_validate(held.model_dump(mode="json")) == held


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_builds_the_same_tensors(kind: str) -> None:
    option = architecture(kind)
    spec = spec_of(option)
    states = []
    for _ in range(2):
        torch.manual_seed(4)
        states.append(option.build(spec).state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.parametrize("kind", KINDS)
def test_it_fits_the_classification_of_its_data(kind: str) -> None:
    option = architecture(kind)
    spec = spec_of(option)
    given = option.gives(spec)
    Classification().check(given, spec)
    head = Classification().head(given, spec)
    assert head(option.build(spec).eval()(**inputs(spec, 2, 5))).shape == (2, 2)


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"kind": "encoder", "width": 0}, "greater than 0"),
        ({"kind": "encoder", "dropout": 1.0}, "less than 1"),
        ({"kind": "encoder", "wdith": 64}, "wdith"),
        ({"kind": "ngrams", "longest": 6}, "less than or equal to 5"),
        ({"kind": "ngrams", "buckets": 1}, "greater than or equal to 2"),
        ({"kind": "branches", "branches": []}, "at least 1 item"),
        ({"kind": "cnn", "channels": []}, "at least 1 item"),
        ({"kind": "cnn", "channels": [8, 0]}, "greater than 0"),
        ({"kind": "transfomer"}, "no architecture is called 'transfomer'"),
    ],
)
def test_values_out_of_bounds_are_refused(values: dict, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        Architecture.model_validate(values)


@pytest.mark.parametrize(
    ("values", "spec", "match"),
    [
        ({"kind": "encoder"}, small.IMAGE, "encoder reads text"),
        ({"kind": "encoder", "width": 30}, small.TEXT, "no multiple of heads"),
        ({"kind": "ngrams"}, small.IMAGE, "ngrams reads text"),
        ({"kind": "cnn"}, small.TEXT, "cnn reads images"),
        ({"kind": "cnn", "halvings": 3}, small.IMAGE, "sides of at least 16 pixels"),
        ({"kind": "branches", "branches": [{"kind": "cnn"}]}, small.TEXT, "cnn reads images"),
    ],
)
def test_data_that_it_cannot_read_are_refused_before_anything_is_built(
    values: dict, spec: DataSpec, match: str
) -> None:
    with pytest.raises(ValueError, match=match):
        Architecture.model_validate(values).gives(spec)
