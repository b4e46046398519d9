import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from components import objects
from components.export import graph
from components.inference.predictor import Predictor, by_length, softmax
from components.training import weights
from tests.compression import tiny
from tests.compression.learnt import Learnt

ROOT = Path(__file__).resolve().parents[2]


def bundle(learnt: Learnt, folder: Path) -> Path:
    """A folder as a registry keeps it."""
    graph.write(weights.load(learnt.model), learnt.data.spec, folder / "model.onnx")
    for name in ("inputs.json", "tokenizer.json"):
        if name in learnt.data.files:
            objects.link(learnt.data.files[name], folder / name)
    return folder


def texts(count: int) -> list[str]:
    rng = np.random.default_rng(3)
    return [tiny.a_text(bool(row % 2), rng) for row in range(count)]


def test_answers_come_in_the_order_of_the_questions(text: Learnt, tmp_path: Path) -> None:
    predictor = Predictor(bundle(text, tmp_path))
    asked = texts(41)
    answers = predictor.predict(asked, batch_size=8)
    assert answers.labels == tuple(tiny.LABELS[row % 2] for row in range(41))
    np.testing.assert_allclose(answers.probability.sum(1), 1, atol=1e-6)
    again = predictor.predict(asked[::-1], batch_size=8)
    np.testing.assert_allclose(again.probability[::-1], answers.probability, atol=1e-5)
    assert answers.read_s >= 0
    assert answers.run_s > 0


def test_the_same_question_gives_the_same_bits(text: Learnt, tmp_path: Path) -> None:
    folder = bundle(text, tmp_path)
    first, second = (Predictor(folder).predict(texts(9)).probability for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_pictures_are_answered(image: Learnt, tmp_path: Path) -> None:
    predictor = Predictor(bundle(image, tmp_path))
    rng = np.random.default_rng(3)
    answers = predictor.predict([tiny.a_picture(bool(row % 2), rng) for row in range(10)])
    assert answers.labels == tuple(tiny.LABELS[row % 2] for row in range(10))


def test_no_question_gets_no_answer(text: Learnt, tmp_path: Path) -> None:
    answers = Predictor(bundle(text, tmp_path)).predict([])
    assert answers.probability.shape == (0, 2)
    assert answers.labels == ()


def test_an_empty_and_an_endless_text_are_answered(text: Learnt, tmp_path: Path) -> None:
    answers = Predictor(bundle(text, tmp_path)).predict(["", "z" * 100_000])
    assert np.isfinite(answers.probability).all()


def test_batches_hold_every_row_once_the_shortest_first() -> None:
    rows = [np.zeros(length) for length in (5, 1, 9, 1, 3)]
    assert [list(part) for part in by_length(rows, 2)] == [[1, 3], [4, 0], [2]]


@pytest.mark.parametrize("shift", [0, 1e4, -1e4])
def test_softmax_survives_large_logits(shift: float) -> None:
    logits = np.array([[0.0, np.log(3)]], dtype=np.float64) + shift
    np.testing.assert_allclose(softmax(logits), [[0.25, 0.75]], atol=1e-6)


def test_inference_loads_no_torch_and_no_exporter() -> None:
    """A server has none of them installed."""
    code = (
        "import sys; import components.inference.predictor, components.inference.session;"
        "print(sorted({'torch', 'onnx', 'onnxscript', 'sklearn', 'pandas', 'prefect', 'mlflow'}"
        " & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_steps_load_nothing_heavy_when_they_are_imported() -> None:
    code = (
        "import sys; import components.steps.compress, components.steps.measure,"
        "components.steps.evaluate, components.steps.select, components.steps.train;"
        "print(sorted({'torch', 'onnx', 'onnxruntime', 'sklearn', 'pandas', 'prefect', 'mlflow'}"
        " & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
