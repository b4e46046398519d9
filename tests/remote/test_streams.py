"""A journal arrives once: whatever is sent twice, cut off, or interrupted by another try."""

import json
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from components.errors import UsageError
from pipelines.door import streams

ONE, OTHER = "a" * 32, "b" * 32


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "work"
    place.mkdir()
    return place


def here(folder: Path) -> bytes:
    return (folder / "journal.jsonl").read_bytes()


def test_what_is_sent_twice_is_here_once(folder: Path) -> None:
    assert streams.append(folder, ONE, 0, b"one\ntwo\n") == 8
    assert streams.append(folder, ONE, 0, b"one\ntwo\n") == 8
    assert streams.append(folder, ONE, 4, b"two\nthree\n") == 14
    assert here(folder) == b"one\ntwo\nthree\n"


def test_a_gap_is_refused_and_says_where_to_go_on(folder: Path) -> None:
    streams.append(folder, ONE, 0, b"one\n")
    with pytest.raises(streams.Ahead) as refused:
        streams.append(folder, ONE, 8, b"three\n")
    assert refused.value.received == 4
    assert here(folder) == b"one\n"


def test_two_tries_follow_each_other_and_the_first_may_go_on(folder: Path) -> None:
    streams.append(folder, ONE, 0, b"one\n")
    streams.append(folder, OTHER, 0, b"other\n")
    assert streams.received(folder, ONE) == 4
    streams.append(folder, ONE, 4, b"more\n")
    assert here(folder) == b"one\nother\nmore\n"


def test_what_a_process_of_this_home_adds_belongs_to_no_stream(folder: Path) -> None:
    streams.append(folder, ONE, 0, b"one\n")
    streams.close(folder)
    with (folder / "journal.jsonl").open("ab") as journal:
        journal.write(b"here\n")
    assert streams.received(folder, ONE) == 4
    streams.append(folder, ONE, 4, b"two\n")
    assert here(folder) == b"one\nhere\ntwo\n"


def test_without_being_closed_it_would_be_counted(folder: Path) -> None:
    """The control of the test before."""
    streams.append(folder, ONE, 0, b"one\n")
    with (folder / "journal.jsonl").open("ab") as journal:
        journal.write(b"here\n")
    assert streams.received(folder, ONE) == 9


@settings(max_examples=60, deadline=None)
@given(
    lines=some.lists(some.integers(0, 999), min_size=1, max_size=30),
    cuts=some.lists(some.tuples(some.integers(0, 200), some.integers(1, 60)), max_size=40),
    torn=some.integers(0, 40),
)
def test_any_order_of_requests_gives_the_journal(
    tmp_path_factory: pytest.TempPathFactory,
    lines: list[int],
    cuts: list[tuple[int, int]],
    torn: int,
) -> None:
    """A door that was killed in an append left a part of it: the next request goes on there."""
    folder = tmp_path_factory.mktemp("work")
    whole = b"".join(json.dumps({"step": each}).encode() + b"\n" for each in lines)
    streams.append(folder, ONE, 0, whole[:torn])
    for at, size in cuts:
        with suppress(streams.Ahead):
            streams.append(folder, ONE, at, whole[at : at + size])
    at = streams.received(folder, ONE)
    streams.append(folder, ONE, at, whole[at:])
    assert here(folder) == whole


@pytest.mark.parametrize(
    "name", ["../x", "/etc/passwd", "a/../../x", "journal.jsonl", "outcome.json", "", "a//b", ".x"]
)
def test_a_report_is_put_below_its_step_and_nowhere_else(folder: Path, name: str) -> None:
    with pytest.raises(UsageError, match="names the file"):
        streams.target(folder, name)
    assert streams.target(folder, "plots/roc curve.png") == folder / "plots/roc curve.png"
