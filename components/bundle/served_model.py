"""The model as MLflow's `pyfunc` loads it anywhere: no Athanor, no torch, no pickle.

`mlflow.pyfunc.load_model(uri, model_config={"variant": "fp32"})` picks the uncompressed graph.
Needs mlflow-skinny, numpy, pandas, onnxruntime and what the reader of raw input needs: tokenizers
for text, Pillow for images.
"""

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd

PAD, UNKNOWN = 0, 1
ROWS_PER_CALL = 32


class ServedModel(mlflow.pyfunc.PythonModel):
    """Label and probability of each row; the bundle's files are verified before they are parsed."""

    def load_context(self, context: Any) -> None:  # pyrefly: ignore
        """Verify the bundle, then open its graph and its reader."""
        import onnxruntime

        folder = Path(context.artifacts["bundle"])
        verify(folder)
        config = context.model_config or {}
        name = "fp32.onnx" if config.get("variant", "model") == "fp32" else "model.onnx"
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(config.get("threads", 1))
        options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            str(folder / name), options, providers=["CPUExecutionProvider"]
        )
        self.inputs = json.loads((folder / "inputs.json").read_text(encoding="utf-8"))
        self.labels = self.inputs["labels"]
        if self.inputs["reader"] == "text":
            from tokenizers import Tokenizer

            self.tokenizer = Tokenizer.from_file(str(folder / self.inputs["tokenizer"]))
            self.tokenizer.no_padding()
            self.tokenizer.enable_truncation(self.inputs["max_length"])

    # A frame is the one hint that MLflow neither warns about nor makes a schema of its own from.
    def predict(self, context, model_input: pd.DataFrame, params=None):  # pyrefly: ignore
        """A frame with `label`, `probability` and one `probability/<label>` column per label."""
        text = self.inputs["reader"] == "text"
        values = list(model_input["text" if text else "image"])
        rows = (self.texts if text else self.images)(values) if values else []
        chances = np.zeros((len(rows), len(self.labels)), dtype=np.float32)
        # Short rows with short rows: padding costs more than anything else here.
        order = np.argsort([row.shape[-1] for row in rows], kind="stable")
        for start in range(0, len(order), ROWS_PER_CALL):
            places = order[start : start + ROWS_PER_CALL]
            feed = {self.inputs["inputs"][0]["name"]: stacked([rows[place] for place in places])}
            chances[places] = softmax(np.asarray(self.session.run(["logits"], feed)[0]))
        best = chances.argmax(axis=1)
        answer = pd.DataFrame(
            {
                "label": [self.labels[index] for index in best],
                "probability": chances.max(axis=1, initial=0.0).astype(np.float64),
            }
        )
        for index, label in enumerate(self.labels):
            answer[f"probability/{label}"] = chances[:, index].astype(np.float64)
        return answer

    def texts(self, values: list[str]) -> list[np.ndarray]:
        """Token ids of each text, int64 (length,)."""
        encoded = self.tokenizer.encode_batch(values)
        return [np.array(row.ids or [UNKNOWN], dtype=np.int64) for row in encoded]

    def images(self, values: list[bytes]) -> list[np.ndarray]:
        """Grey values of each encoded picture, float32 (1, height, width) in 0..255."""
        from PIL import Image, ImageOps

        size = (self.inputs["width"], self.inputs["height"])
        pictures = []
        for value in values:
            with Image.open(io.BytesIO(value)) as picture:
                grey = ImageOps.exif_transpose(picture).convert("L")
            if grey.size != size:
                grey = grey.resize(size, Image.Resampling.BILINEAR)
            pictures.append(np.asarray(grey, dtype=np.float32)[None])
        return pictures


def stacked(rows: list[np.ndarray]) -> np.ndarray:
    """Rows as one array, shorter ones padded at the end."""
    shape = (*rows[0].shape[:-1], max(row.shape[-1] for row in rows))
    batch = np.full((len(rows), *shape), PAD, dtype=rows[0].dtype)
    for place, row in enumerate(rows):
        batch[place, ..., : row.shape[-1]] = row
    return batch


def verify(folder: Path) -> None:
    """Refuse a bundle of which a file is missing or changed."""
    files = json.loads((folder / "manifest.json").read_bytes())["files"]
    for name, facts in files.items():
        found = "" if "/" in name else hashlib.sha256((folder / name).read_bytes()).hexdigest()
        if found != facts["sha256"]:
            raise ValueError(f"{name} of the model is not the file that was registered")


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities along the last axis, float32."""
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return (powers / powers.sum(axis=-1, keepdims=True)).astype(np.float32)


mlflow.models.set_model(ServedModel())
