import pytest
from pydantic import ValidationError

from components.compression import Compression, chain_name, chain_names, check_chain
from tests.compression.test_compression_family import STUDENT


def chain(*kinds: str) -> tuple[Compression, ...]:
    fields = {"distillation": {"student": STUDENT}}
    return tuple(Compression.model_validate({"kind": k, **fields.get(k, {})}) for k in kinds)


@pytest.mark.parametrize(
    "kinds",
    [
        (),
        ("int8_dynamic",),
        ("distillation", "int8_dynamic"),
        ("structured", "int8_static"),
        ("structured", "distillation", "int8_static"),
    ],
)
def test_models_shrink_before_graphs_do(kinds: tuple[str, ...]) -> None:
    check_chain(chain(*kinds))
    assert chain_name(chain(*kinds)) == ("+".join(kinds) or "fp32")


def pruned(**fields: object) -> tuple[Compression, ...]:
    return (Compression.model_validate({"kind": "structured", **fields}), *chain("int8_static"))


def distilled(**fields: object) -> tuple[Compression, ...]:
    student = {**STUDENT, "architecture": {**STUDENT["architecture"], **fields}}
    return (Compression.model_validate({"kind": "distillation", "student": student}),)


def test_chains_of_the_same_methods_are_told_apart_by_what_differs() -> None:
    chains = ((), pruned(), chain("int8_static"), pruned(ratio=0.7), pruned(ratio=0.9, lr=1e-4))
    names = chain_names(chains)
    assert names == (
        "fp32",
        "structured+int8_static",
        "int8_static",
        "structured+int8_static-ratio0.7",
        "structured+int8_static-lr0.0001-ratio0.9",
    )
    for count in range(len(chains)):
        assert chain_names(chains[:count]) == names[:count], "one more renames none"


def test_settings_inside_a_setting_tell_chains_apart_and_many_give_way_to_a_number() -> None:
    width = STUDENT["architecture"]["width"]
    wide, deep = distilled(width=2 * width), distilled(width=3 * width, layers=7)
    budget = {"epochs": 77, "batch_size": 123_456, "max_steps": 1_234_567}
    student = {**STUDENT, "budget": budget, "seed": 1_234_567_890}
    far = (Compression.model_validate({"kind": "distillation", "student": student}),)
    assert chain_names((distilled(), wide, deep, far)) == (
        "distillation",
        f"distillation-width{2 * width}",
        f"distillation-layers7-width{3 * width}",
        "distillation-4",
    )


@pytest.mark.parametrize(
    ("kinds", "message"),
    [
        (("int8_dynamic", "distillation"), "put distillation first"),
        (("distillation", "int8_static", "structured"), "put structured first"),
        (("int8_dynamic", "int8_static"), "the same thing twice"),
        (("structured", "structured"), "the same thing twice"),
    ],
)
def test_an_order_that_cannot_be_is_refused(kinds: tuple[str, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_chain(chain(*kinds))


def test_a_student_without_guidance_is_refused_with_what_to_add() -> None:
    student = {name: value for name, value in STUDENT.items() if name != "guidance"}
    with pytest.raises(ValidationError, match="add guidance:"):
        Compression.model_validate({"kind": "distillation", "student": student})
