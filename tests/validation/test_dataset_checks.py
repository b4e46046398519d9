"""Checks of whole data sets, each on data that break it and on data that do not."""

import pandas as pd
import pytest

from components.validation import checks


def frame(*rows: tuple[str, str, str]) -> pd.DataFrame:
    """A manifest of (split, text, label) rows."""
    texts = [text for _, text, _ in rows]
    return pd.DataFrame(
        {
            "id": [f"r{number}" for number in range(len(rows))],
            "split": [split for split, _, _ in rows],
            "text": texts,
            "label": [label for _, _, label in rows],
            "normalised": checks.normalised(texts),
        }
    )


CLEAN = frame(
    ("train", "好", "p"), ("train", "坏", "n"), ("val", "中", "p"),
    ("val", "低", "n"), ("test", "高", "p"), ("test", "差", "n"),
)  # fmt: skip


def test_clean_data_break_no_check() -> None:
    for column in ("text", "normalised"):
        assert checks.repeated_share(CLEAN, column).value == 0
        assert checks.leaked_share(CLEAN, column).value == 0
        assert checks.label_conflicts(CLEAN, column).value == 0
    assert checks.empty_share(CLEAN, "normalised").value == 0
    assert checks.smallest_class_share(CLEAN).value == 0.5
    assert checks.class_share_gap(CLEAN).value == 0


def test_repetitions_are_counted_and_the_most_frequent_shown_first() -> None:
    rows = [("train", "a b", "p"), ("train", "c", "p")] + [("train", "好的", "p")] * 3
    found = checks.repeated_share(frame(*rows, ("train", "c", "n")), "text")
    assert found.value == pytest.approx(3 / 6)
    assert found.examples == ("3 times: 好的", "2 times: c")


def test_texts_that_differ_in_width_case_and_punctuation_are_the_same_normalised() -> None:
    data = frame(("train", "Ａ好！", "p"), ("test", "a 好。", "p"), ("test", "b", "n"))
    assert checks.leaked_share(data, "text").value == 0
    found = checks.leaked_share(data, "normalised")
    assert found.value == 0.5
    assert found.examples == ("test r1 is train r0: a 好。",)
    assert "1 of 2 rows (50.0%) of test are in train" in found.text


def test_a_leak_between_other_splits_is_seen_only_where_it_is_asked_for() -> None:
    data = frame(("train", "x", "p"), ("val", "y", "p"), ("test", "y", "p"))
    assert checks.leaked_share(data, "text").value == 0
    assert checks.leaked_share(data, "text", source="val", target="test").value == 1


def test_one_content_with_two_labels_is_a_conflict() -> None:
    data = frame(("train", "x", "p"), ("train", "x", "n"), ("val", "x", "n"), ("val", "y", "n"))
    found = checks.label_conflicts(data, "text")
    assert found.value == 1
    assert found.examples == ("n and p: x",)


def test_a_label_that_a_split_lacks_has_no_share_there() -> None:
    data = frame(("train", "a", "p"), ("train", "b", "n"), ("test", "c", "p"))
    assert checks.smallest_class_share(data).value == 0
    assert checks.class_share_gap(data).value == 0.5


def test_texts_of_punctuation_alone_are_empty() -> None:
    found = checks.empty_share(frame(("train", "！？…", "p"), ("val", "好", "p")), "normalised")
    assert found.value == 0.5
    assert found.examples == ("train r0: ！？…",)


def test_examples_are_three_and_short() -> None:
    rows = [("train", f"{number}" + "长" * 500, "p") for number in range(9)] * 2
    found = checks.repeated_share(frame(*rows), "text")
    assert len(found.examples) == 3
    assert max(map(len, found.examples)) < 80


def test_pictures_are_shown_by_the_start_of_their_hash() -> None:
    data = pd.DataFrame({"id": ["a", "b"], "split": ["train", "test"], "sha": ["0" * 64] * 2})
    assert checks.repeated_share(data, "sha").examples == (f"2 times: {'0' * 16}",)
    assert checks.leaked_share(data, "sha").value == 1


def test_nothing_to_drop_leaves_texts_as_they_are() -> None:
    assert checks.normalised(["abc", "好"]) == ["abc", "好"]
    assert checks.normalised([]) == []
