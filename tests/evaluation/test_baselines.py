"""Baselines, their n-grams and the records that evaluation makes of answers."""

import json
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file, save
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import log_loss

from components import objects
from components.artifacts import Prepared
from components.evaluation import baselines, grams, report
from components.evaluation.rows import read
from components.files import canonical
from components.spec import DataSpec, Input
from components.steps.baseline import baseline
from components.workspace import opened

GOOD, BAD = "很好喜欢不错", "太差退货失望"


def texts_of(rows: int, seed: int) -> tuple[list[str], np.ndarray]:
    """Random texts whose letters tell the label in most cases."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 2, rows)
    texts = [
        "".join(rng.choice(list((GOOD if one else BAD) + "的了是我在"), size=rng.integers(3, 12)))
        for one in label
    ]
    return texts, label


@pytest.fixture
def prepared() -> Prepared:
    """A small text data set in the object store; labels are unevenly shared."""
    files: dict[str, str] = {}
    for seed, (split, rows) in enumerate((("train", 200), ("val", 60), ("test", 80))):
        texts, label = texts_of(rows, seed)
        lengths = np.array([len(text) for text in texts])
        arrays = {
            "ids": np.zeros(lengths.sum(), dtype=np.int32),
            "offsets": np.concatenate([[0], np.cumsum(lengths)]),
            "label": label.astype(np.int64),
            "unit": np.arange(rows),
        }
        files[f"{split}.safetensors"] = objects.put_bytes(save(arrays))
        lines = [
            canonical({"id": f"{split}{i}", "text": text, "label": "np"[one]}) + b"\n"
            for i, (text, one) in enumerate(zip(texts, label, strict=True))
        ]
        files[f"rows.{split}.jsonl"] = objects.put_bytes(b"".join(lines))
    spec = DataSpec(
        modality="text",
        inputs=(Input(name="ids", dtype="int64", shape=("batch", "length")),),
        labels=("n", "p"),
        vocabulary_size=20,
        max_length=12,
    )
    counts = {"train": 200, "val": 60, "test": 80}
    return Prepared(sources=(), spec=spec, files=files, rows=counts)


def test_n_gram_weights_are_those_of_scikit_learn() -> None:
    texts, _ = texts_of(50, 3)
    texts += ["", "a", "aa"]
    reference = TfidfVectorizer(analyzer="char", ngram_range=(1, 3), min_df=2, sublinear_tf=True)
    wanted = reference.fit_transform(texts)
    counted = grams.count(texts)
    weights = grams.Weights.fit(counted)
    names = {_code(name): column for name, column in reference.vocabulary_.items()}
    assert set(names) == set(weights.grams.tolist())
    order = [names[code] for code in weights.grams.tolist()]
    found = weights.rows(counted).toarray()
    np.testing.assert_allclose(found, wanted.toarray()[:, order], atol=1e-6)
    held_out = ["好好新", "的"]
    found = weights.rows(grams.count(held_out)).toarray()
    np.testing.assert_allclose(found, reference.transform(held_out).toarray()[:, order], atol=1e-6)


def _code(gram: str) -> int:
    code = 0
    for letter in gram:
        code = code << grams.BITS | (ord(letter) + 1)
    return code


def test_the_majority_answers_with_the_training_shares(prepared) -> None:
    made = baseline(prepared, "majority", split="test")
    rows = read(objects.path(made.files["rows.safetensors"]))
    label = load_file(objects.path(prepared.files["train.safetensors"]))["label"]
    np.testing.assert_allclose(rows.probability[:, 1], label.mean(), rtol=1e-6)
    assert made.model == "majority"
    assert made.data == prepared.digest
    assert made.split == "test"


def test_the_linear_baseline_learns_what_the_letters_tell(prepared) -> None:
    made = baseline(prepared, "linear", split="test")
    floor = baseline(prepared, "majority", split="test")
    assert made.scores["accuracy"].low > floor.scores["accuracy"].high
    assert made.made is not None
    assert made.made.facts["inverse_strength"] in (1.0, 3.0, 10.0, 30.0)


def test_the_penalty_is_the_one_with_the_smallest_validation_loss(prepared, monkeypatch) -> None:
    label = load_file(objects.path(prepared.files["val.safetensors"]))["label"]
    chosen = baselines.linear(prepared, "val", 0)
    losses = {}
    for strength in baselines.STRENGTHS["text"]:
        monkeypatch.setattr(baselines, "STRENGTHS", {"text": (strength,)})
        losses[strength] = log_loss(label, baselines.linear(prepared, "val", 0).probability)
    assert chosen.inverse_strength == min(losses, key=losses.__getitem__)
    assert log_loss(label, chosen.probability) == pytest.approx(min(losses.values()))


def test_a_baseline_made_twice_is_the_same_record(prepared, tmp_path) -> None:
    made = []
    for name in ("here", "there"):
        with opened(tmp_path / name):
            made.append(baseline(prepared, "linear", split="val"))
    assert made[0] == made[1]
    assert made[0].files == made[1].files


def test_the_report_says_where_a_model_fails(prepared, tmp_path) -> None:
    label = load_file(objects.path(prepared.files["test.safetensors"]))["label"]
    sure = np.where(np.arange(80) < 5, 1 - label, label)
    probability = np.stack([1 - sure, sure], axis=1) * 0.8 + 0.1
    with opened(tmp_path / "work") as here:
        made = report.predictions(
            "made up", "0" * 64, prepared, split="test", objective={}, probability=probability
        )
    content = json.loads(objects.path(made.files["report.json"]).read_bytes())
    assert content["scores"]["accuracy"]["value"] == pytest.approx(75 / 80)
    assert [one["label"] for one in content["classes"]] == ["n", "p"]
    assert np.sum(content["confusion"]["rows"]) == 80
    assert sum(one["n"] for one in content["slices"]) == 80
    assert sum(one["rows"] for one in content["calibration"]) == 80
    assert [one["id"] for one in content["worst"]] == [f"test{number}" for number in range(5)]
    for name in ("confusion.png", "reliability.png"):
        assert objects.path(made.files[name]).read_bytes().startswith(b"\x89PNG")
    names = [json.loads(line).get("name") for line in here.journal.read_text().splitlines()]
    assert "evaluation/test/confusion.png" in names
    assert json.loads(here.journal.read_text().splitlines()[0])["values"].keys() == {
        "test/accuracy", "test/macro_f1", "test/ece",
    }  # fmt: skip


def test_steps_and_evaluation_import_nothing_that_is_not_theirs() -> None:
    code = (
        "import sys, components.steps.validate, components.steps.prepare, "
        "components.steps.baseline; import components.validation.expectations;"
        "heavy = {'torch','prefect','mlflow','optuna','great_expectations','pandas','sklearn'};"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules);"
        "import components.evaluation.report, components.evaluation.paired;"
        "heavy -= {'pandas', 'sklearn'};"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_linear_baseline_reaches_84_percent_on_the_shipped_reviews(
    real_data, monkeypatch, tmp_path
) -> None:
    from components.artifacts import RawData, ValidatedData
    from components.data.tree import scan
    from components.preparation import Preparation
    from components.steps.prepare import prepare

    monkeypatch.chdir(real_data.parent)
    raw = RawData(name="reviews_zh", tree=scan(real_data / "reviews_zh").digest, rows={})
    source = ValidatedData(raw=raw, checks=())
    with opened(tmp_path):
        data = prepare((source,), Preparation.model_validate({"kind": "characters"}))
        made = baseline(data, "linear", split="val")
    assert made.scores["accuracy"].value == pytest.approx(0.847, abs=0.005)
