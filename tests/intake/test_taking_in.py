"""What arrives is examined, sorted by what it says, and comes in whole with its record."""

import json
from pathlib import Path

import pytest

from components import intake
from components.data import check, pointer
from components.datasets.text import Text
from components.errors import DataRejected, IntegrityError, UsageError
from components.intake import likeness
from components.intake.arrived import Row
from components.validation.expectations import Expectations
from tests.intake.conftest import Arrive, fresh
from tests.pipelines import small_project


def everything(project: Path) -> dict[str, bytes]:
    """Each file of the project that is not the home's."""
    return {str(p): p.read_bytes() for p in sorted(project.rglob("*")) if p.is_file()}


def texts(project: Path, split: str) -> set[str]:
    return set(Text().read(project / "data/words", split)["text"])


def test_new_rows_come_in_with_their_record(words: Path, arrive: Arrive, suite) -> None:
    shard = arrive(fresh(300, 60))
    content = shard.read_bytes()
    before = {split: texts(words, split) for split in small_project.ROWS}
    taken = intake.take_in("words", intake.waiting("words"), suite)
    assert sum(taken.added.values()) == 60
    assert all(taken.added.values()), "no split without a new row"
    for split, count in small_project.ROWS.items():
        assert before[split] < texts(words, split)
        assert len(texts(words, split)) == count + taken.added[split]
    assert check.verify(["words"]).data_sets[0].tree == taken.after != taken.before
    assert pointer.recorded(words).digest == taken.tree
    counts = json.loads((words / "data/words/dataset.json").read_bytes())["counts"]
    assert counts == {s: n + taken.added[s] for s, n in small_project.ROWS.items()}
    note = words / taken.note
    assert json.loads(note.read_text())["shards"][0]["rows"] == 60
    assert not shard.exists()
    assert note.with_name(f"{note.stem}-week.jsonl").read_bytes() == content
    assert not list(words.glob("data.*/")), "nothing is left beside data/"


def test_a_file_from_elsewhere_stays_where_it_is(words: Path, tmp_path: Path, suite) -> None:
    export = tmp_path / "export.jsonl"
    export.write_text(json.dumps(fresh(300, 1)[0]) + "\n")
    intake.take_in("words", [export], suite)
    assert export.exists()


def test_rows_that_are_there_already_change_nothing(words: Path, arrive: Arrive, suite) -> None:
    arrive(fresh(0, 260))
    before = everything(words / "data")
    taken = intake.take_in("words", intake.waiting("words"), suite)
    assert (taken.repeated, taken.before) == (260, taken.after)
    assert everything(words / "data") == before
    assert intake.waiting("words") == ()


def test_the_split_of_a_row_is_decided_by_what_it_says(words: Path) -> None:
    dressed = [Row(place="", id="", text=text, label="x") for text in ("Ａ，B!", "ab", " a b ")]
    assert len({row.split for row in dressed}) == 1
    marks = [Row(place="", id="", text=text, label="x") for text in (":(", "……", "!!")]
    assert len({row.split for row in marks}) == 1
    assert len({row.said for row in marks}) == 3
    many = [Row(place="", id="", text=f"text {n}", label="x").split for n in range(2000)]
    assert 0.77 < many.count("train") / 2000 < 0.83
    assert 0.08 < many.count("test") / 2000 < 0.12


def test_an_old_test_row_stays_a_test_row(words: Path, arrive: Arrive, suite) -> None:
    old = texts(words, "test")
    dressed = [{"label": row["label"], "text": f"{row['text']}！"} for row in fresh(200, 60)]
    assert {row["text"][:-1] for row in dressed} == old
    arrive([*dressed, *fresh(300, 20)])
    taken = intake.take_in("words", intake.waiting("words"), suite)
    assert taken.repeated == 60
    elsewhere = texts(words, "train") | texts(words, "val")
    assert not {text.rstrip("！") for text in elsewhere} & old


def test_a_row_that_contradicts_a_label_stays_out(words: Path, arrive: Arrive, suite) -> None:
    row = fresh(0, 1)[0]
    arrive([{**row, "label": "good"}, *fresh(300, 3)])
    taken = intake.take_in("words", intake.waiting("words"), suite)
    [left] = taken.left_out
    assert left.place == "week.jsonl:1"
    assert "train 0000 says the same and is bad, this is good" in left.reason
    assert sum(taken.added.values()) == 3


def long_rows(count: int) -> list[dict[str, str]]:
    """Long texts, no two alike."""
    codes = ([0x4E00 + (n * 977 + at * 31) % 9000 for at in range(40)] for n in range(count))
    return [{"label": "good", "text": "".join(map(chr, each))} for each in codes]


def of_split(rows: list[dict[str, str]], split: str) -> list[dict[str, str]]:
    return [r for r in rows if Row(place="", id="", text=r["text"], label="x").split == split]


def varied(row: dict[str, str], split: str) -> dict[str, str]:
    """Nearly the row, of a text that belongs to a split."""
    texts = ({**row, "text": row["text"] + chr(0x4E00 + n)} for n in range(200))
    return of_split(list(texts), split)[0]


def test_a_row_that_is_nearly_one_of_another_split_stays_out(
    words: Path, arrive: Arrive, suite: Expectations
) -> None:
    held_out = of_split(long_rows(60), "test")[0]
    arrive([held_out])
    intake.take_in("words", intake.waiting("words"), suite)
    leaking, beside = varied(held_out, "train"), varied(held_out, "test")
    arrive([leaking, beside])
    taken = intake.take_in("words", intake.waiting("words"), suite)
    [left] = taken.left_out
    assert left.place == "week.jsonl:1"
    assert "it would be a row of train and is nearly test" in left.reason
    assert leaking["text"] not in texts(words, "train")
    assert beside["text"] in texts(words, "test"), "within one split nothing leaks"


def test_two_new_rows_that_are_nearly_the_same_do_not_part(
    words: Path, arrive: Arrive, suite: Expectations
) -> None:
    row = of_split(long_rows(60), "test")[0]
    arrive([row, varied(row, "train")])
    taken = intake.take_in("words", intake.waiting("words"), suite)
    assert sum(taken.added.values()) == 1


def test_texts_are_alike_from_four_fifths_on() -> None:
    long = long_rows(3)
    known = [row["text"] for row in long]
    assert likeness.nearest([known[1] + "吗", known[1][:20], "短"], known) == [1, None, None]
    assert likeness.nearest(["abc"], []) == [None]


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (['{"text": "a", "label": "bad"'], "week.jsonl:1: not JSON"),
        ([*fresh(300, 2), {"text": "a", "label": "worse"}], "week.jsonl:3: label 'worse' is none"),
        ([{"text": " ", "label": "bad"}], "week.jsonl:1: text is ' '"),
        ([{"text": "a"}], "wanted text, label and perhaps id, found text"),
        ([{"text": "a", "label": "bad", "split": "test"}], "found label, split, text"),
        ([], "week.jsonl: the file is empty"),
    ],
)
def test_a_bad_shard_changes_nothing(
    words: Path, arrive: Arrive, suite: Expectations, lines: list, reason: str
) -> None:
    arrive(fresh(400, 5), "good.jsonl")
    arrive(lines)
    before = everything(words)
    with pytest.raises(DataRejected, match=reason):
        intake.take_in("words", intake.waiting("words"), suite)
    assert everything(words) == before


def test_rows_that_break_an_expectation_change_nothing_and_are_reported(
    words: Path, arrive: Arrive
) -> None:
    demands = {"type": "expect_column_value_lengths_to_be_between", "kwargs": {"column": "text"}}
    short = {**demands, "kwargs": {"column": "text", "max_value": 5, "mostly": 0.9}}
    suite = Expectations.model_validate({"name": "words", "expectations": [short]})
    arrive([{"label": "good", "text": text} for text in ("好美佳花鸟虫鱼", "天地人山水日月风")])
    before = everything(words)
    with pytest.raises(DataRejected, match=r"breaks 1 of 2 rules:\n.*2 of 2 rows break it"):
        intake.take_in("words", intake.waiting("words"), suite)
    now = everything(words)
    report = now.pop(str(words / "incoming/refused-words.html"))
    assert report.startswith(b"<!doctype html>")
    assert now == before
    arrive(fresh(300, 2))
    assert intake.take_in("words", intake.waiting("words"), suite).before, "a good one comes in"


def test_data_that_are_not_the_recorded_ones_take_nothing_in(
    words: Path, arrive: Arrive, suite: Expectations
) -> None:
    arrive(fresh(300, 5))
    (words / "data/words/train/0000.jsonl").write_text("{}\n")
    with pytest.raises(IntegrityError, match="recorded is"):
        intake.take_in("words", intake.waiting("words"), suite)
    assert len(intake.waiting("words")) == 1


def test_the_command_says_what_came(words: Path, arrive: Arrive, said) -> None:
    arrive([*fresh(300, 9), {"label": "good", "text": fresh(0, 1)[0]["text"]}])
    first = said("data", "add", "words")
    assert first.code == 0, first.err
    assert "0 were there already, 1 left out" in first.out
    assert "git add data.dvc configs/data/tree.json" in first.out
    again = said("data", "add", "words")
    assert (again.code, "no shard waits in incoming/words/" in again.err) == (2, True)
    unknown = said("data", "add", "wrods")
    assert "did you mean words?" in unknown.err


def test_only_texts_are_taken_in(words: Path, suite: Expectations, tmp_path: Path) -> None:
    card = words / "data/words/dataset.json"
    card.write_text(card.read_text().replace('"text", "labels"', '"image", "labels"'))
    small_project.record(words)
    with pytest.raises(UsageError, match="only texts are taken in"):
        intake.take_in("words", [tmp_path / "x"], suite)
