"""Grey pictures as they are, with the mean and the spread of the training pixels."""

from pathlib import Path
from typing import ClassVar

import numpy as np

from components.errors import ConfigError, DataRejected
from components.preparation import Earlier, Fitted, Preparation
from components.spec import DataSpec, Input

VALUES = 256


class Pixels(Preparation):
    """Pixels 0 to 255; the graph itself scales them by the training rows' mean and spread."""

    source: ClassVar[str] = "numpy"

    def prepare(
        self, sources: dict[str, Path], target: Path, earlier: Earlier | None = None
    ) -> Fitted:
        """Write `inputs.json` and three labelled splits.

        Raises:
            ConfigError: there is a second source, the first holds no pictures, or `earlier` is of
                pictures of another size.
            DataRejected: pictures are not grey, differ in size between splits, or say nothing.
        """
        from components.datasets.image import Image
        from components.preparation import _arrays

        labelled, *others = sources.values()
        if others:
            raise ConfigError(
                f"preparation 'pixels' reads one data set, not also {others[0].name}",
                "remove it from the config's data",
            )
        _arrays.demand_modality("pixels", labelled, "image")
        rows = {split: Image().read(labelled, split) for split in _arrays.SPLITS}
        pixels = {split: np.asarray(rows[split]["image"]) for split in rows}
        _demand_alike(labelled.name, pixels)
        spec = _spec(labelled.name, pixels["train"], tuple(sorted(set(rows["train"]["label"]))))
        if earlier is not None:
            _demand_size(spec, earlier.spec)
            spec = earlier.spec
            _arrays.demand_known(labelled.name, rows["train"]["label"], spec.labels)
        for split, part in rows.items():
            label = _arrays.positions(f"{labelled.name}/{split}", part["label"], spec.labels)
            _arrays.write_labelled(target, split, {"pixels": pixels[split]}, label)
            columns = {"id": part["id"], "text": [None] * len(part), "label": part["label"]}
            _arrays.write_rows(target, split, columns)
        _, height, width = pixels["train"].shape
        reader = {"reader": "image", "height": height, "width": width}
        _arrays.write_inputs(target, spec, reader)
        return Fitted(spec=spec, rows={split: len(part) for split, part in rows.items()})


def _spec(name: str, pixels: np.ndarray, labels: tuple[str, ...]) -> DataSpec:
    """Mean and standard deviation from counts of the 256 values: exact on every machine."""
    _, height, width = pixels.shape
    counts = np.bincount(pixels.ravel(), minlength=VALUES)
    values = np.arange(VALUES)
    total, first, second = (int((counts * values**power).sum()) for power in range(3))
    variance = (total * second - first**2) / total**2
    if variance == 0:
        raise DataRejected(f"data/{name}: all training pixels have one value")
    return DataSpec(
        modality="image",
        inputs=(Input(name="pixels", dtype="float32", shape=("batch", 1, height, width)),),
        labels=labels,
        mean=first / total,
        std=variance**0.5,
    )


def _demand_size(found: DataSpec, earlier: DataSpec) -> None:
    if found.inputs != earlier.inputs:
        shapes = [spec.inputs[0].shape[2:] for spec in (found, earlier)]
        raise ConfigError(
            f"pictures are {shapes[0]} here, the model that is to go on reads {shapes[1]}",
            "start afresh: athanor run CONFIG",
        )


def _demand_alike(name: str, pixels: dict[str, np.ndarray]) -> None:
    wanted = pixels["train"].shape[1:]
    for split, part in pixels.items():
        if part.ndim != 3:
            raise DataRejected(
                f"data/{name}/{split} holds pictures of shape {part.shape[1:]}, wanted grey ones",
                "convert them: one value per pixel",
            )
        if part.shape[1:] != wanted:
            raise DataRejected(
                f"data/{name}/{split} holds {part.shape[1:]} pictures, train holds {wanted}"
            )
