"""Rows are read as they lie, shards in order; what is malformed is named by file and line."""

import json
from pathlib import Path

import numpy as np
import pytest

from components.data import build
from components.data.cards import Card
from components.datasets import Dataset, reader, splits
from components.errors import DataRejected
from components.options import kinds


def write_text(folder: Path, lines: list[str], shard: str = "train/0000.jsonl") -> Path:
    """A text data set with one shard of these lines."""
    (folder / shard).parent.mkdir(parents=True, exist_ok=True)
    (folder / shard).write_text("".join(f"{line}\n" for line in lines))
    card = Card(name=folder.name, modality="text", labels=("bad", "good"))
    (folder / "dataset.json").write_bytes(card.to_bytes())
    return folder


def row(name: str, text: str = "好 2 天", label: str = "good") -> str:
    return json.dumps({"id": name, "text": text, "label": label})


def write_images(folder: Path, x: np.ndarray, y: np.ndarray) -> Path:
    """An image data set of one split."""
    (folder / "train").mkdir(parents=True)
    np.save(folder / "train/x.npy", x)
    np.save(folder / "train/y.npy", y)
    card = Card(name=folder.name, modality="image", labels=("zero", "one"))
    (folder / "dataset.json").write_bytes(card.to_bytes())
    return folder


@pytest.mark.parametrize("name", sorted(build.RECIPES))
def test_every_built_data_set_is_read_by_the_option_it_names(
    name: str, shelf: Path, tmp_path: Path
) -> None:
    [archive] = (shelf / "files").glob(f"{build.RECIPES[name].source}-*")
    build.build(name, archive, tmp_path)
    folder = tmp_path / name
    option = reader(folder)
    counts = json.loads((folder / "dataset.json").read_bytes())["counts"]
    assert {split: len(option.read(folder, split)) for split in splits(folder)} == counts
    frame = option.frame(folder)
    assert frame["split"].value_counts().to_dict() == counts
    assert frame["id"].notna().all()


def test_options_import_no_torch_and_no_pandas_to_read(tmp_path: Path) -> None:
    import subprocess
    import sys

    write_text(tmp_path / "set", [row("a")])
    code = (
        "import sys; from pathlib import Path; from components.datasets import reader\n"
        f"folder = Path({str(tmp_path / 'set')!r}); reader(folder).read(folder, 'train')\n"
        "print({'torch', 'pandas', 'prefect', 'mlflow'} & set(sys.modules))"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.stdout == "set()\n", done.stderr


def test_kinds_are_the_files_of_the_folder() -> None:
    assert {"text", "corpus", "image"} <= set(kinds(Dataset.family))
    assert Dataset.model_validate({"kind": "text"}).kind == "text"


def test_shards_are_read_in_the_order_of_their_names(tmp_path: Path) -> None:
    folder = write_text(tmp_path / "set", [row("b")], "train/0001.jsonl")
    write_text(folder, [row("c")], "train/0010.jsonl")
    write_text(folder, [row("a")], "train/0000.jsonl")
    assert reader(folder).read(folder, "train")["id"] == ["a", "b", "c"]


def test_only_a_line_feed_ends_a_line(tmp_path: Path) -> None:
    text = "one\u2028two\x85three\x0bfour"
    line = json.dumps({"id": "a", "text": text, "label": "good"}, ensure_ascii=False)
    folder = write_text(tmp_path / "set", [line])
    assert reader(folder).read(folder, "train")["text"] == [text]


def test_the_manifest_of_texts_says_what_letters_they_hold(tmp_path: Path) -> None:
    folder = write_text(tmp_path / "set", [row("a", "好2天！")])
    [found] = reader(folder).frame(folder).to_dict("records")
    assert found == {
        "id": "a",
        "text": "好2天！",
        "label": "good",
        "split": "train",
        "n_chars": 4,
        "cjk_share": 0.5,
        "digit_share": 0.25,
    }


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "wanted the fields id, text, label, found list"),
        ('{"id": "b", "text": "x"}', "wanted the fields id, text, label, found id, text"),
        (row("b", text="  "), "text is '  ', wanted a string with content"),
        ('{"id": 7, "text": "x", "label": "good"}', "id is 7, wanted a string"),
        (row("b", text="x\ud800"), "half of a surrogate pair"),
        (row("b", label="fine"), "label 'fine' is none of: bad, good"),
        (row("a"), r"id 'a' stands already at set/train/0000\.jsonl:1"),
        ("", "the line is blank"),
        (row("b", text="x" * (1 << 20)), "bytes in one line, at most 1 MiB"),
    ],
)
def test_a_malformed_line_is_named_with_its_place(line: str, reason: str, tmp_path: Path) -> None:
    folder = write_text(tmp_path / "set", [row("a"), line, row("c")])
    for verb in (
        lambda: reader(folder).read(folder, "train"),
        lambda: reader(folder).frame(folder),
    ):
        with pytest.raises(DataRejected, match=rf"^set/train/0000\.jsonl:2: {reason}|{reason}"):
            verb()


def test_an_empty_shard_is_named(tmp_path: Path) -> None:
    folder = write_text(tmp_path / "set", [])
    with pytest.raises(DataRejected, match=r"^set/train/0000\.jsonl: the file is empty$"):
        reader(folder).read(folder, "train")


def test_bytes_that_are_no_utf8_are_named_with_their_place(tmp_path: Path) -> None:
    folder = write_text(tmp_path / "set", [row("a")])
    with (folder / "train/0000.jsonl").open("ab") as file:
        file.write(b'{"id":"\xff"}\n')
    with pytest.raises(DataRejected, match=r"set/train/0000\.jsonl:2: not UTF-8 at byte 7"):
        reader(folder).read(folder, "train")


def test_a_split_that_is_not_there_is_answered_with_those_that_are(tmp_path: Path) -> None:
    folder = write_text(tmp_path / "set", [row("a")])
    with pytest.raises(DataRejected, match="set has no split 'val'; there are: train"):
        reader(folder).read(folder, "val")


@pytest.mark.parametrize(
    ("card", "reason"),
    [
        (None, r"set/dataset\.json cannot be read.*athanor data pull set"),
        ("{", r"set/dataset\.json: the file: Invalid JSON"),
        ('{"name": "set"}', r"set/dataset\.json: modality: Field required"),
        ('{"name": "set", "modality": "smell"}', "modality 'smell' has no reader; there are: "),
    ],
)
def test_a_card_that_cannot_be_used_is_named(card: str | None, reason: str, tmp_path: Path) -> None:
    folder = write_text(tmp_path / "set", [row("a")])
    (folder / "dataset.json").unlink()
    if card is not None:
        (folder / "dataset.json").write_text(card)
    with pytest.raises(DataRejected, match=reason):
        reader(folder)


def test_pictures_come_with_the_names_of_their_labels(tmp_path: Path) -> None:
    x = np.arange(3 * 2 * 4, dtype=np.uint8).reshape(3, 2, 4)
    folder = write_images(tmp_path / "set", x, np.array([1, 0, 1]))
    rows = reader(folder).read(folder, "train")
    assert rows["label"] == ["one", "zero", "one"]
    np.testing.assert_array_equal(rows["image"], x)
    frame = reader(folder).frame(folder)
    assert frame[["width", "height"]].to_numpy().tolist() == [[4, 2]] * 3
    assert frame["mean"].tolist() == [3.5, 11.5, 19.5]
    assert frame["pixels_sha256"].nunique() == 3


PIXELS = np.zeros((2, 2, 2), np.uint8)


@pytest.mark.parametrize(
    ("x", "y", "reason"),
    [
        (PIXELS.astype(float), np.array([0, 1]), r"x\.npy: float64 \(2, 2, 2\), wanted uint8"),
        (PIXELS[0], np.array([0, 1]), r"x\.npy: uint8 \(2, 2\), wanted"),
        (PIXELS[:0], np.array([], int), r"x\.npy: uint8 \(0, 2, 2\), wanted"),
        (PIXELS, np.array([0]), r"y\.npy: int64 \(1,\), wanted int64 \(2,\)"),
        (PIXELS, np.array([0, 2]), r"y\.npy:1: label 2 is no position in zero, one \(1 such\)"),
        (PIXELS, np.array([-1, 0]), r"y\.npy:0: label -1 is no position"),
        (PIXELS, np.array([{}, 1]), r"y\.npy: not an array file: Object arrays cannot be loaded"),
    ],
)
def test_arrays_that_do_not_fit_are_named(
    x: np.ndarray, y: np.ndarray, reason: str, tmp_path: Path
) -> None:
    folder = write_images(tmp_path / "set", x, y)
    with pytest.raises(DataRejected, match=rf"set/train/{reason}"):
        reader(folder).read(folder, "train")
