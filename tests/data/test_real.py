"""The shipped records are what the pinned archives give, and hold what docs/data.md says."""

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest

from components.data import archives, build, pointer
from components.data.reviews import normalised
from components.data.tree import scan
from components.datasets import reader, splits

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow


@pytest.fixture
def kept(home: Path) -> dict[str, Path]:
    """The real archives of the clone's home; skipped where they were never fetched."""
    found = {}
    for name, source in archives.sources(ROOT).items():
        path = ROOT / ".athanor/archives" / source.filename
        if not path.is_file():
            pytest.skip(f"{source.filename} is not here: athanor data pull")
        archives.place(source).parent.mkdir(exist_ok=True)
        found[name] = Path(shutil.copy(path, archives.place(source)))
    return found


def test_archives_give_the_recorded_tree(kept: dict[str, Path], tmp_path: Path) -> None:
    for name, recipe in build.RECIPES.items():
        build.build(name, kept[recipe.source], tmp_path)
    recorded = pointer.recorded(ROOT)
    for name in build.RECIPES:
        assert scan(tmp_path / name).digest == recorded.part(name).digest


def test_a_full_pull_of_the_real_data_leaves_dvc_clean(
    kept: dict[str, Path], tmp_path: Path, do, monkeypatch: pytest.MonkeyPatch
) -> None:
    from components.data.obtain import Network
    from components.data.pull import pull

    clone = tmp_path / "clone"
    shutil.copytree(ROOT / "configs/data", clone / "configs/data")
    shutil.copytree(
        ROOT / ".dvc", clone / ".dvc", ignore=shutil.ignore_patterns("cache", "tmp", "config.local")
    )
    for name in ("data.dvc", ".dvcignore", ".gitignore"):
        shutil.copy(ROOT / name, clone / name)
    do.git(clone, "init", "-q")
    do.commit(clone)
    monkeypatch.chdir(clone)
    assert pull(network=Network.OFFLINE).in_dvc_cache
    assert "Data and pipelines are up to date." in do.dvc(clone, "status")
    assert not do.git(clone, "status", "--short")


def test_reviews_are_the_counted_ones(real_data: Path) -> None:
    rows = read(real_data / "reviews_zh")
    assert len(rows) == len({row["text"] for row in rows}) == 17_363
    homes: dict[str, set[str]] = {}
    for row in rows:
        homes.setdefault(normalised(row["text"]), set()).add(row["split"])
    assert all(len(found) == 1 for found in homes.values())


def test_raw_reviews_have_the_defects_that_the_gate_must_see(real_data: Path) -> None:
    rows = read(real_data / "reviews_zh_raw")
    texts = Counter(row["text"] for row in rows)
    assert (len(rows), len(texts)) == (35_123, 17_410)
    train = {row["text"] for row in rows if row["split"] == "train"}
    test = [row for row in rows if row["split"] == "test"]
    assert sum(row["text"] in train for row in test) / len(test) > 0.7


def test_cards_count_what_the_readers_find(real_data: Path) -> None:
    for name in build.RECIPES:
        folder = real_data / name
        counts = json.loads((folder / "dataset.json").read_bytes())["counts"]
        found = {split: len(reader(folder).read(folder, split)) for split in splits(folder)}
        assert found == counts


def read(folder: Path) -> list[dict[str, str]]:
    """Every row of a text data set with its split."""
    return reader(folder).frame(folder).to_dict("records")
