import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from components import bundle, mlflow_store
from components.bundle.assembly import assemble
from components.bundle.served_model import ServedModel, stacked
from components.inference.predictor import Predictor
from components.inference.readers import ImageInputs, ImageReader
from components.registry import fetching, registering
from components.steps.register import RegisterConfig, register
from tests.registry.variants import a_prepared, a_variant

TEXTS = [
    "good fine",
    "dull bad bad",
    "",
    "fine 好 good dull bad fine good good good good",
    "unheard",
]

ELSEWHERE = """
import sys
sys.modules["torch"] = sys.modules["components"] = None
import mlflow, pandas
mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pyfunc.load_model("models:/reviews/1", model_config={"variant": sys.argv[2]})
print(model.predict(pandas.DataFrame({"text": ["good fine", "dull bad bad"]})).label.tolist())
"""


@pytest.fixture
def version(tmp_path):
    variant = a_variant(tmp_path / "v")
    data = a_prepared(tmp_path)
    return register((variant,), variant.exported, RegisterConfig(name="reviews"), data=data)


class Context:
    """What MLflow hands to the model: where its files are, and its settings."""

    def __init__(self, folder: Path, **config: object) -> None:
        self.artifacts = {"bundle": str(folder)}
        self.model_config = config


def loaded(folder: Path, **config: object) -> ServedModel:
    model = ServedModel()
    model.load_context(Context(folder, **config))
    return model


def test_it_answers_bit_for_bit_as_the_house_does(version):
    folder = fetching.fetch("reviews", 1).folder
    frame = loaded(folder).predict(None, pd.DataFrame({"text": TEXTS}))
    answers = Predictor(folder).predict(TEXTS)
    assert frame.label.tolist() == list(answers.labels)
    np.testing.assert_array_equal(
        frame[["probability/bad", "probability/good"]].to_numpy(np.float32), answers.probability
    )


def test_no_rows_give_no_answers(version):
    folder = fetching.fetch("reviews", 1).folder
    assert len(loaded(folder).predict(None, pd.DataFrame({"text": []}))) == 0


def test_pictures_are_read_as_the_house_reads_them(tmp_path):
    from PIL import Image

    inputs = {
        "reader": "image", "height": 4, "width": 6, "labels": ["a", "b"],
        "inputs": [{"name": "pixels", "dtype": "float32", "shape": ["batch", 1, 4, 6]}],
    }  # fmt: skip
    rng = np.random.default_rng(0)
    pictures = []
    for size, mode in (((6, 4), "L"), ((9, 7), "RGB")):
        values = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        file = io.BytesIO()
        Image.fromarray(values).convert(mode).save(file, "PNG")
        pictures.append(file.getvalue())
    model = ServedModel()
    model.inputs = inputs
    house = ImageReader(ImageInputs.model_validate(inputs))
    expected = house.batch(house.read(pictures))["pixels"]
    np.testing.assert_array_equal(stacked(model.images(pictures)), expected)


def test_a_changed_file_is_refused_before_it_is_parsed(version, tmp_path):
    folder = fetching.fetch("reviews", 1).folder
    graph = folder / "model.onnx"
    graph.write_bytes(graph.read_bytes() + b"x")
    with pytest.raises(ValueError, match=r"model\.onnx of the model is not the file"):
        loaded(folder)


def test_its_requirements_are_pinned_and_hold_no_torch():
    pins = registering.requirements("text")
    assert all("==" in pin for pin in pins)
    assert {pin.partition("==")[0] for pin in pins} == {
        "mlflow-skinny", "numpy", "pandas", "onnxruntime", "tokenizers"
    }  # fmt: skip


def test_what_mlflow_keeps_names_no_folder_of_this_machine(version, home):
    [description] = (home / "mlflow" / "artifacts").rglob("MLmodel")
    text = description.read_text()
    assert str(home) not in text
    assert "/tmp" not in text


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["model", "fp32"])
def test_mlflow_loads_it_in_a_process_without_our_code_and_torch(version, store, tmp_path, variant):
    """MLFLOW_ALLOW_PICKLE_DESERIALIZATION is false there, as everywhere."""
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, store, variant],
        cwd=tmp_path,
        env={**os.environ, **mlflow_store.settings()},
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert done.stdout.strip() == "['good', 'bad']", done.stderr


def test_a_bundle_made_here_is_the_one_that_is_served(version, tmp_path):
    variant = a_variant(tmp_path / "w")
    folder = tmp_path / "again"
    folder.mkdir()
    made = assemble(folder, "reviews", (variant,), variant.exported, a_prepared(tmp_path))
    assert made.digest == version.bundle
    assert bundle.open(folder).selected == "fp32"
