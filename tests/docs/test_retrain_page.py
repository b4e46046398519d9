"""What the page on retraining tells its reader to run makes a data set and a shard that fit."""

import json
import shutil
from pathlib import Path

from components import intake
from components.data import check
from components.datasets.text import Text
from pipelines.config import load_expectations
from tests.docs import pages
from tests.pipelines import small_project

PAGE = (pages.ROOT / "docs/how-to/retrain.md").read_text()


def test_the_held_back_rows_return_to_their_splits(project: Path) -> None:
    small_project.write_words(project)
    whole = project / "data/reviews_zh"
    (project / "data/words").rename(whole)
    suite = small_project.EXPECTATIONS.replace("words", "reviews_zh")
    (project / "configs/expectations/reviews_zh.yaml").write_text(suite)
    before = {split: set(Text().read(whole, split)["text"]) for split in small_project.ROWS}
    [script] = [block.text for block in pages.blocks(PAGE) if block.language == "python"]
    exec(compile(script, "retrain.md", "exec"), {})
    shutil.rmtree(whole)
    small_project.record(project)
    mine = project / "data/reviews_weekly"
    assert len(Text().read(mine, "train")) == small_project.ROWS["train"] * 9 // 10
    incoming = project / "incoming/reviews_weekly"
    incoming.mkdir(parents=True)
    Path("week-1.jsonl").rename(incoming / "week-1.jsonl")
    shards = intake.waiting("reviews_weekly")
    taken = intake.take_in("reviews_weekly", shards, load_expectations("reviews_weekly"))
    assert sum(taken.added.values()) == sum(small_project.ROWS.values()) // 10
    assert (taken.repeated, taken.left_out) == (0, ())
    after = [text for split in before for text in Text().read(mine, split)["text"]]
    assert sorted(after) == sorted(text for texts in before.values() for text in texts)
    counts = json.loads((mine / "dataset.json").read_bytes())["counts"]
    assert sum(counts.values()) == len(after)
    assert check.verify(["reviews_weekly"])
