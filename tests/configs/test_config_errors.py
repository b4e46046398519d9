"""What a wrong config is answered: every problem at once, one line each, with the way out."""

import math
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.errors import ConfigError
from pipelines.config import RunConfig, load_expectations, load_run, run_files
from tests.pipelines.small_project import CONFIG

ROOT = Path(__file__).resolve().parents[2]


def refusal(tmp_path: Path, text: str, *assignments: str) -> list[str]:
    """The lines that a config's text is refused with."""
    file = tmp_path / "a.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=r".") as caught:
        load_run(file, assignments)
    return str(caught.value).splitlines()


def line_of(text: str) -> int:
    """The line of the small config that holds a text."""
    return next(n for n, line in enumerate(CONFIG.splitlines(), 1) if text in line)


def test_the_small_config_is_valid(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(CONFIG)
    assert load_run(file).name == "tiny"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("{lr: 1e-2}", "{lerning_rate: 1e-2, lr: 1e-2}",
         "finetune.optimizer.lerning_rate: unknown key, known here: lr, weight_decay"),
        ("{lr: 1e-2}", "{lr: 1e-2, weight_decai: 0}",
         "finetune.optimizer.weight_decai: unknown key, did you mean weight_decay"),
        ("{lr: 1e-2}", "{lr: quick}", "finetune.optimizer.lr: Input should be a valid number"),
        ("{lr: 1e-2}", "{lr: -1}", "finetune.optimizer.lr: Input should be greater than 0"),
        ("{lr: 1e-2}", "{lr: .nan}", "finetune.optimizer.lr: Input should be a valid number"),
        ("{lr: 1e-2}", "{lr: nan}", "finetune.optimizer.lr: Input should be a finite number"),
        ("{lr: 1e-2}", "{lr: 1e999}", "finetune.optimizer.lr: 1e999 is too large a number"),
        ("{lr: 1e-2}", "{lr: inf}", "finetune.optimizer.lr: Input should be a finite number"),
        ("{lr: 1e-2}", "{lr: true}", "finetune.optimizer.lr: Input should be a valid number"),
        ("{lr: 1e-2}", "{}", "finetune.optimizer.lr: missing"),
        ("{epochs: 4,", "{epochs: 4.5,", "finetune.budget.epochs: Input should be a valid integer"),
        ("{epochs: 4,", "{epochs: 0,", "finetune.budget.epochs: Input should be greater than 0"),
        ("{epochs: 4,", f"{{epochs: {'9' * 5000},", "finetune.budget.epochs: 9999"),
        ("{kind: int8_dynamic}", "{kind: int8_dinamic}", "did you mean 'int8_dynamic'"),
        ("{kind: int8_dynamic}", "{kind: int8_dynamic, bits: 4}",
         "compress.1.0.bits: unknown key"),
        ("{kind: int8_dynamic}", "{}", "compress.1.0: names no kind; there are: distillation"),
        ("data: [words]", "data: [../words]", "data.0: String should match pattern"),
        ("data: [words]", "data: [words, words]", "data.1: stands twice"),
        ("data: [words]", "data: []", "data: Tuple should have at least 1 item"),
        ("[majority, linear]", "[majority, majority]", "baselines.1: stands twice"),
        ("[majority, linear]", "[linear]", "gate.first: 'majority' is not among the baselines"),
        ("name: tiny", "name: Tiny Model", "name: String should match pattern"),
        ("optimizer.lr: {low", "optimizer.lrr: {low", "search.space"),
        ("measure: {single_rows: 6", "measure: {single_rows: [6]",
         "measure.single_rows: Input should be a valid integer"),
        ("name: tiny", "name: tiny\nname: small", "name: stands here twice"),
        ("name: tiny", "[name]: tiny", "a key is a list or a mapping"),
        ("compress:\n  - []\n", "compress:\n", "compress: the first chain is []"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_named_with_its_line_and_key(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    assert CONFIG.count(old) >= 1
    [said] = refusal(tmp_path, CONFIG.replace(old, new, 1))[:1]
    where, _, rest = said.partition(" ")
    assert message in said
    name, _, line = where.removesuffix(":").rpartition(":")
    assert name.endswith("a.yaml"), said
    wanted = line_of("first:" if "gate" in message else old.splitlines()[0])
    if "space" not in message and "stands here twice" not in message:
        assert int(line) == wanted, said
    assert rest


def test_all_problems_of_a_file_are_told_at_once(tmp_path: Path) -> None:
    text = (
        CONFIG.replace("{lr: 1e-2}", "{lr: 0, clip: 1}")
        .replace("batch_size: 16", "batch_size: true")
        .replace("max_drop: 0.5", "max_drop: much")
        .replace("trials: 2", "trials: -2")
        + "quick: yes\n"
    )
    said = refusal(tmp_path, text)
    keys = ["clip", "lr", "batch_size", "max_drop", "trials", "quick"]
    assert len(said) == len(keys)
    for key in keys:
        assert sum(f".{key}: " in line or f" {key}: " in line for line in said) == 1, said


def test_an_assignment_is_named_instead_of_a_line(tmp_path: Path) -> None:
    [said] = refusal(tmp_path, CONFIG, "finetune.optimizer.lr=-1")
    assert said.startswith("--set finetune.optimizer.lr=-1 finetune.optimizer.lr: ")
    [said] = refusal(tmp_path, CONFIG, "compress=[[], [{kind: int8}]]")
    assert said.startswith("--set compress=[[], [{kind: int8}]] compress.1.0: ")


def test_nesting_that_would_exhaust_the_parser_is_refused(tmp_path: Path) -> None:
    assert "nested more than 20 deep" in refusal(tmp_path, "a: " + "[" * 100_000)[0]
    assert "nested more than 20 deep" in refusal(tmp_path, CONFIG, "data=" + "[" * 100_000)[0]


@pytest.mark.parametrize("text", ["- a\n- b\n", "just a word\n", "7\n"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    assert "not keys and values" in refusal(tmp_path, text)[0]


@pytest.mark.parametrize("text", ["1_000_", "1__0", "1_.5", "٣", "１"])
def test_what_only_python_takes_for_a_number_is_a_word(tmp_path: Path, text: str) -> None:
    said = refusal(tmp_path, CONFIG.replace("trials: 2", f"trials: {text}"))
    assert "search.trials: Input should be a valid integer" in said[0]


# What we ship.


@pytest.mark.parametrize("file", run_files(ROOT / "configs"), ids=lambda file: file.stem)
def test_every_shipped_config_is_a_run_with_expectations(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    config = load_run(file)
    assert isinstance(config, RunConfig)
    assert len(config.digest) == 64
    for data_set in config.data:
        assert load_expectations(data_set).name == data_set


@pytest.mark.parametrize(
    "file", sorted(ROOT.glob("configs/expectations/*.yaml")), ids=lambda file: file.stem
)
def test_every_shipped_suite_is_one(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert load_expectations(file.stem).expectations


# Mutations.

QUICKSTART = (ROOT / "configs/quickstart.yaml").read_text()
PIECES = [
    "{", "}", "[", "]", ": ", ":", "- ", "-", ",", "#", "'", '"', "|", ">", "? ", "<<: ", "&a ",
    "*a", "!!int ", "%", "@", "`", "\t", "\n", "  ", "\r", "---\n", "...\n", "~", "null", "true",
    "no", "0", "-1", "010", "1e999", "-1e999", ".inf", ".nan", "nan", "inf", "1_0_",
    "9" * 400, "1e-400", "0x1f", "12:30", "2026-01-01", "\u2028", "\ufeff", "é", "kind",
    "name", "[]", "{}", "[[[[",
    "kind: encoder", "auto", "bf16",
]  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """The quickstart's text after a few cuts, copies, swaps and insertions."""
    lines = QUICKSTART.splitlines(keepends=True)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(lines) - 1))
        kind = draw(st.sampled_from(["cut", "copy", "swap", "insert", "insert", "replace"]))
        if kind == "cut" and len(lines) > 1:
            del lines[at]
        elif kind == "copy":
            lines.insert(draw(st.integers(0, len(lines))), lines[at])
        elif kind == "swap":
            other = draw(st.integers(0, len(lines) - 1))
            lines[at], lines[other] = lines[other], lines[at]
        else:
            text = draw(st.sampled_from(PIECES) | st.text(max_size=3))
            place = draw(st.integers(0, len(lines[at])))
            keep = lines[at][place:] if kind == "insert" else lines[at][place + len(text) :]
            lines[at] = lines[at][:place] + text + keep
    return "".join(lines)


@given(text=mutated())
@settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_a_mutated_config_is_a_run_or_a_config_error(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    file = tmp_path_factory.getbasetemp() / "mutated.yaml"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        config = load_run(file)
    except ConfigError as error:
        config, said = None, error.message
    if config is None:
        assert said.strip()
    else:
        assert len(config.digest) == 64
        assert math.isfinite(config.finetune.optimizer.lr)
