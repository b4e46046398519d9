"""Pixel preparation: kept as they are, the scale from training rows only."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from components import objects
from components.artifacts import RawData, ValidatedData
from components.data.tree import scan
from components.errors import ConfigError, DataRejected, IntegrityError
from components.preparation import Earlier, Preparation
from components.steps.prepare import prepare
from components.workspace import opened

PIXELS = Preparation.model_validate({"kind": "pixels"})


def write_pictures(folder: Path, seed: int = 0, held_out: int = 255) -> Path:
    """Random 4 x 4 pictures of two labels; those held out go up to another brightness."""
    rng = np.random.default_rng(seed)
    for split, rows, top in (("train", 12, 200), ("val", 4, held_out), ("test", 4, held_out)):
        (folder / split).mkdir(parents=True, exist_ok=True)
        np.save(folder / split / "x.npy", rng.integers(0, top, (rows, 4, 4), dtype=np.uint8))
        np.save(folder / split / "y.npy", np.arange(rows, dtype=np.int64) % 2)
    card = {
        "name": folder.name, "modality": "image", "labels": ["zwei", "acht"], "counts": {},
        "schema": {}, "split_rule": "none", "licence": "none", "provenance": "made up",
    }  # fmt: skip
    (folder / "dataset.json").write_text(json.dumps(card))
    return folder


def test_the_scale_is_that_of_the_training_pixels(tmp_path) -> None:
    folder = write_pictures(tmp_path / "digits")
    fitted = PIXELS.prepare({"digits": folder}, tmp_path / "out")
    pixels = np.load(folder / "train/x.npy").astype(np.float64)
    assert fitted.spec.mean == pytest.approx(pixels.mean(), rel=1e-12)
    assert fitted.spec.std == pytest.approx(pixels.std(), rel=1e-12)
    assert fitted.spec.inputs[0].shape == ("batch", 1, 4, 4)
    assert fitted.rows == {"train": 12, "val": 4, "test": 4}


def test_labels_are_sorted_and_rows_keep_theirs(tmp_path) -> None:
    folder = write_pictures(tmp_path / "digits")
    fitted = PIXELS.prepare({"digits": folder}, tmp_path / "out")
    assert fitted.spec.labels == ("acht", "zwei")
    arrays = load_file(tmp_path / "out/val.safetensors")
    assert arrays["label"].tolist() == [1, 0, 1, 0]
    np.testing.assert_array_equal(arrays["pixels"], np.load(folder / "val/x.npy"))
    row = json.loads((tmp_path / "out/rows.val.jsonl").read_text().splitlines()[0])
    assert row["text"] is None
    assert row["label"] == "zwei"
    inputs = json.loads((tmp_path / "out/inputs.json").read_text())
    assert (inputs["reader"], inputs["height"], inputs["width"]) == ("image", 4, 4)


def test_held_out_pictures_change_no_scale(tmp_path) -> None:
    first = PIXELS.prepare({"a": write_pictures(tmp_path / "a")}, tmp_path / "one")
    second = PIXELS.prepare({"b": write_pictures(tmp_path / "b", held_out=9)}, tmp_path / "two")
    assert first.spec == second.spec
    third = PIXELS.prepare({"c": write_pictures(tmp_path / "c", seed=1)}, tmp_path / "three")
    assert third.spec != first.spec


def test_what_cannot_be_learnt_from_is_refused(tmp_path) -> None:
    folder = write_pictures(tmp_path / "digits")
    with pytest.raises(ConfigError, match="reads one data set, not also other"):
        PIXELS.prepare({"digits": folder, "other": folder.parent / "other"}, tmp_path / "out")
    np.save(folder / "test/x.npy", np.zeros((4, 5, 4), dtype=np.uint8))
    with pytest.raises(DataRejected, match=r"test holds \(5, 4\) pictures, train holds \(4, 4\)"):
        PIXELS.prepare({"digits": folder}, tmp_path / "out")
    np.save(folder / "test/x.npy", np.zeros((4, 4, 4, 3), dtype=np.uint8))
    with pytest.raises(DataRejected, match="wanted grey ones"):
        PIXELS.prepare({"digits": folder}, tmp_path / "out")
    flat = write_pictures(tmp_path / "flat")
    np.save(flat / "train/x.npy", np.full((12, 4, 4), 7, dtype=np.uint8))
    with pytest.raises(DataRejected, match="all training pixels have one value"):
        PIXELS.prepare({"flat": flat}, tmp_path / "out")


def test_what_was_fitted_before_scales_later_pictures(tmp_path) -> None:
    first = PIXELS.prepare({"a": write_pictures(tmp_path / "a")}, tmp_path / "one")
    later = {"b": write_pictures(tmp_path / "b", seed=1)}
    earlier = Earlier(first.spec, tmp_path / "one")
    assert PIXELS.prepare(later, tmp_path / "two", earlier).spec == first.spec
    assert PIXELS.prepare(later, tmp_path / "three").spec != first.spec


def test_the_step_keeps_every_file_and_gives_the_same_record_anywhere(project, tmp_path) -> None:
    validated = record_of(write_pictures(project / "data/digits"))
    made = []
    for name in ("here", "there"):
        with opened(tmp_path / name):
            made.append(prepare((validated,), PIXELS))
    assert made[0] == made[1]
    assert set(made[0].files) == {
        "inputs.json", "rows.test.jsonl", "rows.train.jsonl", "rows.val.jsonl",
        "test.safetensors", "train.safetensors", "val.safetensors",
    }  # fmt: skip
    assert load_file(objects.path(made[0].files["train.safetensors"]))["pixels"].shape == (12, 4, 4)
    assert made[0].sources == (validated,)
    assert not (tmp_path / "here/prepared").exists()


def test_the_step_refuses_data_that_changed_since_they_were_validated(project) -> None:
    folder = write_pictures(project / "data/digits")
    validated = record_of(folder)
    np.save(folder / "val/y.npy", np.zeros(4, dtype=np.int64))
    with pytest.raises(IntegrityError, match=r"data/digits is .* planned for"):
        prepare((validated,), PIXELS)


def record_of(folder: Path) -> ValidatedData:
    raw = RawData(name=folder.name, tree=scan(folder).digest, rows={})
    return ValidatedData(raw=raw, checks=())
