"""Character preparation: fitted on training rows only, and the same as its own tokenizer."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from components.errors import ConfigError, DataRejected
from components.preparation import Earlier, Fitted, Preparation, _tokens
from components.spec import MASK, PAD, UNKNOWN

ROWS = {
    "train": [("aab", "pos"), ("abＢ", "neg"), ("c好", "pos")],
    "val": [("abz", "neg")],
    "test": [("好a", "pos"), ("x" * 9, "neg")],
}


def write_texts(folder: Path, rows: dict[str, list[tuple[str, str]]]) -> Path:
    """A labelled data set of (text, label) rows."""
    for split, part in rows.items():
        (folder / split).mkdir(parents=True, exist_ok=True)
        lines = [
            json.dumps({"id": f"{split}{number}", "text": text, "label": label})
            for number, (text, label) in enumerate(part)
        ]
        (folder / split / "0000.jsonl").write_text("\n".join(lines) + "\n")
    labels = sorted({label for part in rows.values() for _, label in part})
    write_card(folder, "text", labels)
    return folder


def write_corpus(folder: Path, lines: list[str]) -> Path:
    (folder / "train").mkdir(parents=True, exist_ok=True)
    (folder / "train" / "0000.txt").write_text("\n".join(lines) + "\n")
    write_card(folder, "corpus", [])
    return folder


def write_card(folder: Path, modality: str, labels: list[str]) -> None:
    card = {
        "name": folder.name, "modality": modality, "labels": labels, "counts": {}, "schema": {},
        "split_rule": "none", "licence": "none", "provenance": "made up",
    }  # fmt: skip
    (folder / "dataset.json").write_text(json.dumps(card))


def prepared(tmp_path: Path, target: str = "out", **settings: int) -> tuple[Fitted, Path]:
    """What `characters` makes of the folders `texts` and, where there is one, `corpus`."""
    option = Preparation.model_validate({"kind": "characters", "max_length": 4, **settings})
    names = [name for name in ("texts", "corpus") if (tmp_path / name).is_dir()]
    folder = tmp_path / target
    return option.prepare({name: tmp_path / name for name in names}, folder), folder


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_alphabet_is_that_of_frequent_training_characters(tmp_path) -> None:
    write_texts(tmp_path / "texts", ROWS)
    fitted, folder = prepared(tmp_path, min_count=2)
    vocabulary = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    assert vocabulary == {"[PAD]": PAD, "[UNK]": UNKNOWN, "[MASK]": MASK, "a": 3, "b": 4}
    assert fitted.spec.vocabulary_size == 5
    assert fitted.spec.labels == ("neg", "pos")
    assert fitted.spec.max_length == 4
    assert fitted.rows == {"train": 3, "val": 1, "test": 2, "pretrain": 3}


def test_array_files_hold_ids_labels_and_units_in_the_order_of_the_rows(tmp_path) -> None:
    write_texts(tmp_path / "texts", ROWS)
    _, folder = prepared(tmp_path, min_count=2)
    arrays = load_file(folder / "test.safetensors")
    assert arrays["ids"].tolist() == [UNKNOWN, 3] + [UNKNOWN] * 4
    assert arrays["offsets"].tolist() == [0, 2, 6]
    assert arrays["label"].tolist() == [1, 0]
    assert arrays["unit"].tolist() == [0, 1]
    assert [arrays[name].dtype for name in ("ids", "offsets", "label", "unit")] == [
        np.int32, np.int64, np.int64, np.int64,
    ]  # fmt: skip
    rows = [json.loads(line) for line in (folder / "rows.test.jsonl").read_text().splitlines()]
    assert rows[0] == {"id": "test0", "text": "好a", "label": "pos"}
    assert set(load_file(folder / "pretrain.safetensors")) == {"ids", "offsets"}
    inputs = json.loads((folder / "inputs.json").read_text())
    assert inputs == {
        "reader": "text", "tokenizer": "tokenizer.json", "max_length": 4, "labels": ["neg", "pos"],
        "inputs": [{"name": "ids", "dtype": "int64", "shape": ["batch", "length"]}],
    }  # fmt: skip


def test_held_out_rows_change_nothing_that_is_fitted(tmp_path) -> None:
    write_texts(tmp_path / "texts", ROWS)
    write_corpus(tmp_path / "corpus", ["一二三", "二三"])
    before, first = prepared(tmp_path, "before")
    other = {**ROWS, "val": [("qqqqq" * 20, "pos")] * 1, "test": [("新新新新", "neg")]}
    write_texts(tmp_path / "texts", other)
    after, second = prepared(tmp_path, "after")
    assert before.spec == after.spec
    same = ("tokenizer.json", "inputs.json", "train.safetensors", "pretrain.safetensors")
    for name in same:
        assert files_of(first)[name] == files_of(second)[name]
    assert files_of(first)["test.safetensors"] != files_of(second)["test.safetensors"]


def test_training_rows_do_change_what_is_fitted(tmp_path) -> None:
    write_texts(tmp_path / "texts", ROWS)
    before, _ = prepared(tmp_path, "before")
    write_texts(tmp_path / "texts", {**ROWS, "train": [*ROWS["train"], ("zzz", "pos")]})
    after, _ = prepared(tmp_path, "after")
    assert after.spec.vocabulary_size == before.spec.vocabulary_size + 1


def test_the_same_data_give_the_same_bytes(tmp_path) -> None:
    write_texts(tmp_path / "texts", ROWS)
    _, first = prepared(tmp_path, "first")
    _, second = prepared(tmp_path, "second")
    assert files_of(first) == files_of(second)


@pytest.mark.parametrize("held_out", ["val", "test"])
def test_unlabelled_data_that_hold_a_held_out_text_are_refused(tmp_path, held_out) -> None:
    write_texts(tmp_path / "texts", ROWS)
    secret = ROWS[held_out][0][0].upper()
    write_corpus(tmp_path / "corpus", ["一二三", secret])
    with pytest.raises(DataRejected, match="1 validation or test texts are also in the unlabelled"):
        prepared(tmp_path)


def test_a_training_text_may_stand_in_the_unlabelled_data(tmp_path) -> None:
    write_texts(tmp_path / "texts", ROWS)
    write_corpus(tmp_path / "corpus", [ROWS["train"][0][0]])
    assert prepared(tmp_path)[0].rows["pretrain"] == 4


def test_a_label_without_training_rows_is_refused(tmp_path) -> None:
    write_texts(tmp_path / "texts", {**ROWS, "test": [("a", "pos"), ("b", "new"), ("c", "new")]})
    with pytest.raises(DataRejected, match=r"texts/test: 2 rows have a label .* 'new' in row 1"):
        prepared(tmp_path)


def test_data_of_another_modality_are_refused(tmp_path) -> None:
    write_corpus(tmp_path / "texts", ["a"])
    with pytest.raises(ConfigError, match="'characters' reads text here, data/texts is corpus"):
        prepared(tmp_path)
    write_texts(tmp_path / "texts", ROWS)
    write_texts(tmp_path / "corpus", ROWS)
    with pytest.raises(ConfigError, match="reads corpus here, data/corpus is text"):
        prepared(tmp_path)


def test_pretraining_rows_can_be_fewer_and_are_spread_over_all(tmp_path) -> None:
    write_texts(tmp_path / "texts", ROWS)
    write_corpus(tmp_path / "corpus", ["一" * 4, "二" * 4, "三" * 4, "四" * 4, "五" * 4])
    fitted, folder = prepared(tmp_path, min_count=1, pretrain_rows=4)
    assert fitted.rows["pretrain"] == 4
    arrays = load_file(folder / "pretrain.safetensors")
    assert arrays["offsets"].tolist() == [0, 3, 5, 9, 13]


def test_pieces_lose_nothing_and_are_never_too_long() -> None:
    lengths = np.array([1, 4, 5, 8, 9, 17])
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    rows = _tokens.Ragged(np.arange(offsets[-1]), offsets)
    cut = _tokens.pieces(rows, 4)
    sizes = np.diff(cut.offsets)
    assert sizes.min() >= 1
    assert sizes.max() <= 4
    assert set(offsets) <= set(cut.offsets)
    assert cut.offsets[-1] == lengths.sum()
    assert len(sizes) == (-(-lengths // 4)).sum()


ODD = ["ΣΑΣ", "İ", "ﬁ①㍿", "🤦🏽‍♀️", "[MASK][PAD]", "e\u0301", "\x00", "a\nb\tc", "ᄀ\u1161", "ｱﾞ"]


@settings(max_examples=60, deadline=None)
@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=5))
def test_ids_are_those_of_the_tokenizer_that_is_shipped(texts) -> None:
    texts = [*texts, *ODD]
    normalised = _tokens.normalised(texts)
    letters = _tokens.alphabet(_tokens.code_points(normalised).values, 1)[::2]
    rows = _tokens.first(_tokens.ids(_tokens.code_points(normalised), letters), 6)
    shipped = Tokenizer.from_str(_tokens.tokenizer(letters, 6).to_str())
    for number, text in enumerate(texts):
        row = rows.values[rows.offsets[number] : rows.offsets[number + 1]]
        assert row.tolist() == shipped.encode(text).ids


def test_no_text_can_spell_a_reserved_token() -> None:
    made = _tokens.tokenizer(list("[maskpd]"), 20)
    assert not {PAD, MASK} & set(made.encode("[MASK][PAD][mask]").ids)


@pytest.mark.slow
def test_the_shipped_reviews_become_what_their_tokenizer_gives(real_data, tmp_path) -> None:
    sources = {name: real_data / name for name in ("reviews_zh", "corpus_zh")}
    option = Preparation.model_validate({"kind": "characters", "max_length": 64})
    fitted = option.prepare(sources, tmp_path)
    shipped = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    arrays = load_file(tmp_path / "test.safetensors")
    lines = (tmp_path / "rows.test.jsonl").read_text().splitlines()
    encoded = shipped.encode_batch([json.loads(line)["text"] for line in lines])
    assert [token for one in encoded for token in one.ids] == arrays["ids"].tolist()
    assert fitted.rows["test"] == len(lines)
    assert (arrays["ids"] == UNKNOWN).mean() < 0.002


def again(tmp_path: Path, first: Fitted, **settings: int) -> tuple[Fitted, Path]:
    """What a model that goes on reads, with what was fitted before."""
    option = Preparation.model_validate({"kind": "characters", "max_length": 4, **settings})
    sources = {"later": tmp_path / "later"}
    earlier = Earlier(first.spec, tmp_path / "out")
    return option.prepare(sources, tmp_path / "again", earlier), tmp_path / "again"


def test_what_was_fitted_before_reads_later_rows_with_the_same_ids(tmp_path) -> None:
    rows = {split: [("aab", "x"), ("bba", "y")] for split in ("train", "val", "test")}
    write_texts(tmp_path / "texts", rows)
    first, folder = prepared(tmp_path)
    write_texts(tmp_path / "later", {**rows, "train": [("ccc", "x"), ("ccab", "y")]})
    second, target = again(tmp_path, first)
    assert second.spec == first.spec
    for name in ("tokenizer.json", "inputs.json"):
        assert (target / name).read_bytes() == (folder / name).read_bytes()
    ids = load_file(target / "train.safetensors")["ids"]
    assert list(ids[:3]) == [UNKNOWN] * 3, "c was not in the alphabet and does not come in"
    afresh, _ = prepared(tmp_path, "afresh")
    write_texts(tmp_path / "texts", {**rows, "train": [("ccc", "x"), ("ccab", "y")]})
    assert prepared(tmp_path, "other")[0].spec != afresh.spec, "without it another alphabet comes"


def test_other_settings_do_not_go_on(tmp_path) -> None:
    rows = {split: [("aab", "x"), ("bba", "y")] for split in ("train", "val", "test")}
    write_texts(tmp_path / "texts", rows)
    first, _ = prepared(tmp_path)
    write_texts(tmp_path / "later", rows)
    with pytest.raises(ConfigError, match=r"reads 4 of \d+ characters, this preparation gives 5"):
        again(tmp_path, first, max_length=5)
    write_texts(tmp_path / "later", {**rows, "train": [("aab", "x"), ("bba", "z")]})
    with pytest.raises(DataRejected, match="has the new labels z; the model that is to go on"):
        again(tmp_path, first)
