"""The same archives give the same bytes, and the rows that the rules promise."""

import gzip
import io
import json
import os
import subprocess
import sys
from itertools import chain
from pathlib import Path

import numpy as np
import pytest

from components.data import build, corpus, digits, reviews
from components.data.splits import Shares, by_chance, by_content
from components.data.tree import scan
from components.errors import IntegrityError

ROOT = Path(__file__).resolve().parents[2]

BUILD_ALL = """
import sys
from itertools import chain
from pathlib import Path
from components.data import build
from components.data.tree import scan
shelf, target = map(Path, sys.argv[1:])
for name, recipe in build.RECIPES.items():
    [archive] = shelf.glob(f"files/{recipe.source}-*")
    build.build(name, archive, target)
print(scan(target).digest)
"""


def rows(made: dict[str, bytes], split: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in made[f"{split}/0000.jsonl"].splitlines()]


def everything(made: dict[str, bytes]) -> list[dict[str, str]]:
    return [row for split in ("train", "val", "test") for row in rows(made, split)]


def test_two_builds_in_unlike_processes_give_the_same_tree(shelf: Path, tmp_path: Path) -> None:
    digests = set()
    for number, surroundings in enumerate(
        (
            {"PYTHONHASHSEED": "1", "TZ": "UTC", "LC_ALL": "C"},
            {"PYTHONHASHSEED": "77", "TZ": "Asia/Shanghai", "LC_ALL": "C.UTF-8"},
        )
    ):
        command = [sys.executable, "-c", BUILD_ALL, str(shelf), str(tmp_path / str(number))]
        done = subprocess.run(
            command, cwd=ROOT, env=os.environ | surroundings, capture_output=True, text=True
        )
        assert not done.returncode, done.stderr
        digests.add(done.stdout)
    assert len(digests) == 1


def test_clean_reviews_hold_every_text_once_and_none_of_two_minds(
    members: dict[str, bytes],
) -> None:
    texts = [row["text"] for row in everything(reviews.clean(members))]
    assert len(texts) == len(set(texts))
    assert "太贵了" in texts
    assert "一般" not in texts  # stands in both files


def test_raw_reviews_keep_every_line_that_is_not_blank(members: dict[str, bytes]) -> None:
    made = everything(reviews.raw(members))
    assert [row["text"] for row in made].count("太贵了") == 2
    assert len(made) == len({row["id"] for row in made}) == 12 + 60


@pytest.mark.parametrize(
    ("one", "other"), [("Ｇｏｏｄ", "good!"), ("很好", "很 好。"), ("ABC", "abc")]
)
def test_texts_that_differ_in_dress_only_share_a_split(one: str, other: str) -> None:
    assert reviews.normalised(one) == reviews.normalised(other)


def test_new_rows_leave_the_old_ones_in_their_split(members: dict[str, bytes]) -> None:
    before = reviews.clean(members)
    name = reviews.MEMBERS["negative"]
    after = reviews.clean({**members, name: "新的一行\n".encode() + members[name]})
    for split in ("train", "val", "test"):
        old = {row["id"] for row in rows(before, split)}
        assert old <= {row["id"] for row in rows(after, split)}


def test_shares_of_a_split_by_content_are_as_asked() -> None:
    found = [by_content(str(key).encode(), Shares(0.8, 0.1)) for key in range(20_000)]
    assert found.count("train") / 20_000 == pytest.approx(0.8, abs=0.01)
    assert found.count("test") / 20_000 == pytest.approx(0.1, abs=0.01)


def test_a_split_by_chance_uses_every_example_once_and_its_seed() -> None:
    first = by_chance(range(100), Shares(0.8, 0.1), seed=0)
    assert sorted(chain.from_iterable(first.values())) == list(range(100))
    assert {split: len(part) for split, part in first.items()} == {
        "train": 80,
        "val": 10,
        "test": 10,
    }
    assert first == by_chance(range(100), Shares(0.8, 0.1), seed=0)
    assert first != by_chance(range(100), Shares(0.8, 0.1), seed=1)


def test_corpus_loses_its_tags_and_nothing_else(members: dict[str, bytes]) -> None:
    made = corpus.paragraphs(members)["train/0000.txt"].decode()
    assert made == "迈向充满希望\n１９９８年，1/2\n"


def test_digits_keep_pixels_and_labels_together(members: dict[str, bytes]) -> None:
    made = digits.pictures(members)
    wanted = {}
    for line in gzip.decompress(members[digits.MEMBER]).splitlines():
        *pixels, label = map(int, line.split(b","))
        wanted[bytes(pixels)] = label
    for split in ("train", "val", "test"):
        x, y = (np.load(io.BytesIO(made[f"{split}/{name}.npy"])) for name in "xy")
        assert (x.dtype, y.dtype, x.shape[1:]) == (np.uint8, np.int64, (28, 28))
        for picture, label in zip(x, y, strict=True):
            assert wanted.pop(picture.tobytes()) == label
    assert not wanted


def test_array_files_have_bytes_that_no_numpy_version_changes() -> None:
    # NumPy's NEP 1 says every byte of format 1.0 but the width of the padding.
    content = digits.array_bytes(np.arange(6, dtype="<i8").reshape(2, 3))
    header = b"{'descr': '<i8', 'fortran_order': False, 'shape': (2, 3), }"
    assert content[:10] == b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little")
    assert content[10:128] == header.ljust(117) + b"\n"
    assert content[128:] == b"".join(number.to_bytes(8, "little") for number in range(6))


def test_a_table_that_unpacks_without_end_is_refused(
    members: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digits, "LARGEST_BYTES", 1000)
    with pytest.raises(IntegrityError, match="unpacks to more than 1000 bytes"):
        digits.pictures(members)


def test_every_card_counts_the_rows_that_are_there(shelf: Path, tmp_path: Path) -> None:
    for name, recipe in build.RECIPES.items():
        [archive] = (shelf / "files").glob(f"{recipe.source}-*")
        build.build(name, archive, tmp_path / "made")
        card = json.loads((tmp_path / "made" / name / "dataset.json").read_bytes())
        assert card["name"] == name
        for split, count in card["counts"].items():
            [first, *_] = sorted((tmp_path / "made" / name / split).iterdir())
            found = np.load(first).shape[0] if first.suffix == ".npy" else _lines(first)
            assert found == count
    assert scan(tmp_path / "made").names == tuple(sorted(build.RECIPES))


def _lines(path: Path) -> int:
    return path.read_bytes().count(b"\n")
