"""YAML without its traps."""

from pathlib import Path

import pytest

from components.errors import ConfigError
from pipelines.reading import override, read


def values(tmp_path: Path, text: str) -> object:
    file = tmp_path / "a.yaml"
    file.write_text(text)
    return read(file).values


def test_numbers_are_read_as_people_write_them(tmp_path: Path) -> None:
    text = "a: 1e-4\nb: 010\nc: on\nd: 12:30:00\ne: 1_000\nf: -3.5\ng: .5\nh: '7'\ni: ~\nj: no"
    assert values(tmp_path, text) == {
        "a": 1e-4,
        "b": "010",
        "c": "on",
        "d": "12:30:00",
        "e": 1000,
        "f": -3.5,
        "g": 0.5,
        "h": "7",
        "i": None,
        "j": "no",
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", r"a\.yaml:3 a: stands here twice"),
        ("a: &x 1\nb: *x\n", r"a\.yaml:1: YAML anchors are refused"),
        ("a: !!python/object:os.system 1\n", r"a\.yaml:1: YAML tags are refused"),
        ("a:\n\tb: 1\n", r"a\.yaml:2: "),
        ("a: [1, 2\n", r"a\.yaml:2: "),
        ("", r"a\.yaml is empty"),
        ("# nothing\n", r"a\.yaml is empty"),
        ("[" * 30 + "]" * 30, r"nested more than 20 deep"),
    ],
    ids=["twice", "anchor", "tag", "tab", "open", "empty", "only a comment", "deep"],
)
def test_what_is_not_plain_yaml_is_refused_with_its_line(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        values(tmp_path, text)


def test_bytes_that_are_not_utf8_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_bytes(b"a: \xff\n")
    with pytest.raises(ConfigError, match="byte 3 is not UTF-8"):
        read(file)


def test_a_file_too_large_a_folder_and_no_file_are_refused(tmp_path: Path) -> None:
    big = tmp_path / "big.yaml"
    big.write_text("a: " + "x" * 1_000_001)
    with pytest.raises(ConfigError, match="larger than 1 MB"):
        read(big)
    with pytest.raises(ConfigError, match="is a folder"):
        read(tmp_path)
    with pytest.raises(ConfigError, match=r"there is no file .*; there are: big\.yaml"):
        read(tmp_path / "bgi.yaml")


def test_every_key_knows_its_line(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("a:\n  b:\n    - c: 1\n    - d: 2\n")
    document = read(file)
    assert document.at(("a", "b", 1, "d")).endswith("a.yaml:4")
    assert document.at(("a", "b", 1, "absent")).endswith("a.yaml:4")
    assert document.at(("absent",)).endswith("a.yaml:1")


def test_an_override_reaches_mappings_and_lists(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("a:\n  b: [1, 2]\n")
    document = read(file)
    override(document, "a.b.1=1e-3")
    override(document, "a.c.d=word")
    override(document, "a.e=[x, 3]")
    assert document.values == {"a": {"b": [1, 1e-3], "c": {"d": "word"}, "e": ["x", 3]}}


@pytest.mark.parametrize("wrong", ["a.b", "=3", "a.b.x.y=3"])
def test_an_override_that_leads_nowhere_is_refused(tmp_path: Path, wrong: str) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("a:\n  b: 1\n")
    with pytest.raises(ConfigError, match="--set"):
        override(read(file), wrong)
