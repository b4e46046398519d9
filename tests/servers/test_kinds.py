"""Every option that can be chosen is shown whole, without loading PyTorch."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from components.errors import UsageError
from components.options import kinds as files_of
from pipelines import kinds

ROOT = Path(__file__).resolve().parents[2]
EVERY = [
    (family, kind) for family, base in kinds.FAMILIES.items() for kind in files_of(base.family)
]


def test_every_file_of_every_family_is_listed() -> None:
    assert [(kind.family, kind.kind) for kind in kinds.listed()] == EVERY


@pytest.mark.parametrize(("family", "kind"), EVERY)
def test_an_option_says_what_it_is_and_what_each_parameter_takes(family: str, kind: str) -> None:
    shown = kinds.describe(family, kind)
    assert shown.text.endswith(".")
    assert not [one.name for one in shown.parameters if one.type in ("", "anything")]


@pytest.mark.parametrize("part", kinds.PARTS)
def test_a_part_of_a_training_is_described(part: str) -> None:
    [shown] = kinds.listed(part)
    assert [one.name for one in shown.parameters] == list(kinds.PARTS[part].model_fields)


def test_a_parameter_shows_type_range_default_and_text() -> None:
    [shown] = [p for p in kinds.describe("objective", "masked_lm").parameters if p.name == "share"]
    assert shown.type == "number > 0, < 1"
    assert shown.default == "0.15"
    assert shown.text == "Of the tokens that are guessed."


def test_a_value_that_must_be_given_has_no_default() -> None:
    [shown] = kinds.listed("compression.distillation")
    [student] = [one for one in shown.parameters if one.name == "student"]
    assert student.default is None
    assert "(must be given)" in kinds.text((shown,))


def test_the_answer_is_json() -> None:
    assert json.loads(json.dumps(kinds.document(kinds.listed())))["kinds"]


@pytest.mark.parametrize(
    ("which", "said"),
    [
        ("architectur", "did you mean architecture"),
        ("architecture.encodr", "did you mean encoder"),
        ("nothing.at_all", "there are: architecture"),
    ],
)
def test_a_wrong_name_gets_the_nearest(which: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        kinds.listed(which)


def test_listing_every_option_loads_nothing_heavy() -> None:
    heavy = ("torch", "onnxruntime", "mlflow", "prefect", "optuna", "sklearn")
    script = (
        "import sys; from pipelines import kinds; kinds.text(kinds.listed());"
        f" print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
