import pytest
from pydantic import ValidationError

from components.compression import Compression, chain_name, check_chain
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
