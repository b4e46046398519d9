"""Every change to a history or to its alias that Athanor did not make is found and named."""

import json
import shutil

import pytest

from components import history, mlflow_store
from components.errors import IntegrityError, UsageError
from components.history import chain
from tests.history.registry import NAME, a_registry, a_story, database, move, sql
from tests.registry import stores

ROW = "name, number, at, who, event, version, previous, why, evidence, before, sha256"


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """A home with the story, which each test gets a copy of."""
    folder = tmp_path_factory.mktemp("told")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATHANOR_HOME", str(folder))
        (folder / "templates").mkdir()
        shutil.copyfile(stores.template(tmp_path_factory), folder / "templates" / "mlflow.db")
        a_story(folder)
    return folder


@pytest.fixture
def story(told, home):
    """A whole history of eight entries; the last move is entry 7, to v2."""
    shutil.copytree(told, home, dirs_exist_ok=True)
    state, found = history.verify(NAME)
    assert (len(state.events), state.champion, found) == (8, 2, ())
    return home


def edit(home, number, column, value, table="athanor_history"):
    assert sql(home, f"UPDATE {table} SET {column} = ? WHERE number = ?", value, number) == [(1,)]


def rehashed(home, number, **changes):
    """An entry changed together with its own sha256."""
    event = history.history(NAME)[number - 1].model_copy(update=changes)
    for column, value in changes.items():
        edit(home, number, column, json.dumps(value) if column == "evidence" else value)
    sha256 = chain.content_digest(event)
    edit(home, number, "sha256", sha256)
    return sha256


def remove(home, *numbers):
    for number in numbers:
        assert sql(home, "DELETE FROM athanor_history WHERE number = ?", number) == [(1,)]


def swap(home, one, other):
    for old, new in ((one, 99), (other, one), (99, other)):
        edit(home, old, "number", new)


def copied(home, number, to):
    columns = ROW.replace("number", "?", 1)
    assert sql(
        home,
        f"INSERT INTO athanor_history({ROW}) SELECT {columns} FROM athanor_history "
        "WHERE number = ?",
        *(to, number),
    ) == [(1,)]


def note(home, number):
    """The registry's tag says that this is the last entry."""
    sha256 = history.history(NAME)[number - 1].sha256
    value = f"{number} {sha256}"
    assert sql(home, "UPDATE registered_model_tags SET value = ?", value) == [(1,)]


def overwritten(home, number, by):
    remove(home, number)
    copied(home, by, number)


def appended(home):
    """One more entry, right in itself, that no promotion wrote."""
    last = history.history(NAME)[-1]
    event = last.model_copy(update={"number": 9, "before": last.sha256, "why": "no tests needed"})
    copied(home, 8, 9)
    edit(home, 9, "before", last.sha256)
    edit(home, 9, "why", "no tests needed")
    edit(home, 9, "sha256", chain.content_digest(event))


def rewritten(home):
    """All of it from entry 6 on, every hash made anew, and the registry's tag with it."""
    before = rehashed(home, 6, why="it lost")
    for number in (7, 8):
        before = rehashed(home, number, before=before)
    note(home, 8)


def cut_with_its_note(home):
    remove(home, 6, 7, 8)
    note(home, 5)
    alias(home, 1)


def alias(home, version):
    changed = sql(home, "UPDATE registered_model_aliases SET version = ?", version)
    assert changed == [(1,)]


def alias_by_client(home):
    client = mlflow_store.client()
    client.set_registered_model_alias(NAME, "champion", "3")


def emptied(home):
    sql(home, "DELETE FROM athanor_history")
    sql(home, "DELETE FROM registered_model_aliases")
    assert sql(home, "DELETE FROM registered_model_tags") == [(1,)]


TAMPERS = {
    "a word": (lambda home: edit(home, 4, "why", "excellent"), "edited", 4),
    "a person": (lambda home: edit(home, 7, "who", "nobody@nowhere"), "edited", 7),
    "a time": (lambda home: edit(home, 7, "at", "2020-01-01T00:00:00.000+00:00"), "edited", 7),
    "a number in the evidence": (lambda home: edit(home, 5, "evidence", "{}"), "edited", 5),
    "no JSON": (lambda home: edit(home, 5, "evidence", "{"), "edited", 5),
    "no version": (lambda home: edit(home, 1, "version", "x"), "edited", 1),
    "a hash": (lambda home: edit(home, 3, "sha256", "0" * 64), "edited", 3),
    "a link": (lambda home: edit(home, 3, "before", "0" * 64), "edited", 3),
    "an entry and its hash": (lambda home: rehashed(home, 4, why="x"), "edited", 4),
    "the first and its hash": (lambda home: rehashed(home, 1, before="x"), "edited", 1),
    "the last and its hash": (lambda home: rehashed(home, 8, why="x"), "edited", 8),
    "all after a point, with the tag": (rewritten, "edited", 8),
    "one removed": (lambda home: remove(home, 6), "removed", 6),
    "the first removed": (lambda home: remove(home, 1), "removed", 1),
    "the last cut off": (lambda home: remove(home, 8), "truncated", 8),
    "three cut off": (lambda home: remove(home, 6, 7, 8), "truncated", 6),
    "all cut off": (lambda home: remove(home, *range(1, 9)), "truncated", 1),
    "an old state put back": (cut_with_its_note, "truncated", 6),
    "table, tag and alias emptied": (emptied, "truncated", 1),
    "two swapped": (lambda home: swap(home, 2, 3), "reordered", 2),
    "two far ones swapped": (lambda home: swap(home, 5, 7), "reordered", 5),
    "one repeated at the end": (lambda home: copied(home, 5, 9), "replayed", 9),
    "one over another": (lambda home: overwritten(home, 7, by=5), "replayed", 7),
    "one added that nobody wrote": (appended, "added", 9),
    "the tag removed": (
        lambda home: sql(home, "DELETE FROM registered_model_tags"), "edited", 8,
    ),
    "the alias by SQL": (lambda home: alias(home, 1), "moved", 7),
    "the alias removed by SQL": (
        lambda home: sql(home, "DELETE FROM registered_model_aliases"), "moved", 7,
    ),
    "the alias by MLflow's client": (alias_by_client, "moved", 7),
}  # fmt: skip


@pytest.mark.parametrize("way", TAMPERS)
def test_it_is_found_named_refused_and_accepted_with_a_reason(story, way):
    tamper, kind, entry = TAMPERS[way]
    tamper(story)
    state, found = history.verify(NAME)
    assert (kind, entry) in [(one.kind, one.entry) for one in found], found
    with pytest.raises(IntegrityError, match=r"is not as Athanor wrote it.*--accept") as caught:
        history.whole(history.ledger(), NAME)
    assert caught.value.exit_code == 6
    assert history.verify(NAME)[0].champion == state.champion

    with pytest.raises(UsageError, match="needs a reason"):
        history.accept(NAME, found[0].entry, " ")
    for _ in range(4):
        state, found = history.verify(NAME)
        if found:
            history.accept(NAME, found[0].entry, "the disk was repaired")
    assert found == ()
    assert state.events[-1].event == "accepted"
    assert history.champion(state.events) == state.champion
    assert move(3 if state.champion != 3 else 1, state.champion).event == "promoted"
    assert history.verify(NAME)[1] == ()


@pytest.mark.parametrize("way", [way for way in TAMPERS if TAMPERS[way][1] != "moved"])
def test_what_is_found_does_not_vanish_below_later_entries(story, way):
    TAMPERS[way][0](story)
    assert history.verify(NAME)[1]
    for version in (1, 2):
        history.record(NAME, "judged", version)
    assert history.verify(NAME)[1]


def test_an_accepted_finding_comes_back_when_it_changes_again(story):
    edit(story, 4, "why", "excellent")
    history.accept(NAME, 4, "a typing error")
    assert history.verify(NAME)[1] == ()
    edit(story, 4, "why", "perfect")
    assert [(one.kind, one.entry) for one in history.verify(NAME)[1]] == [("edited", 4)]


def test_accepting_a_moved_alias_makes_it_the_champion_of_the_history(story):
    alias(story, 3)
    with pytest.raises(UsageError, match=r"nothing is wrong at entry 2 of reviews; entries .*: 7"):
        history.accept(NAME, 2, "so be it")
    written = history.accept(NAME, 7, "hotfix at night")
    assert (written.event, written.version, written.previous) == ("accepted", 3, 2)
    assert "names v3, entry 7 says v2" in written.evidence["found"][0]


def test_accepting_one_finding_leaves_the_others(story):
    edit(story, 4, "why", "excellent")
    alias(story, 3)
    history.accept(NAME, 4, "a typing error")
    assert [one.kind for one in history.verify(NAME)[1]] == ["moved"]


def test_the_transaction_itself_refuses_a_broken_history(story):
    """A home that never saw this registry has no memory of it: the table's own checks remain."""
    edit(story, 4, "why", "excellent")
    with pytest.raises(IntegrityError, match="entry 4"):
        move(3, 2)
    assert history.verify(NAME)[0].champion == 2
    edit(story, 4, "why", "first")
    assert move(3, 2).version == 3


def test_a_name_is_part_of_an_entry(story):
    a_registry(story, name="other")
    assert sql(story, "UPDATE athanor_history SET name = 'other', number = 4 WHERE number = 8") == [
        (1,)
    ]
    assert history.verify("other")[1][0].text == "entry 4 (judged v3) is not what was written"


def test_a_database_put_back_from_a_copy_is_found(story):
    copy = shutil.copyfile(database(story), story / "copy.db")
    move(3, 2)
    assert history.verify(NAME)[1] == ()
    shutil.copyfile(copy, database(story))
    [found] = history.verify(NAME)[1]
    assert (found.kind, found.entry) == ("truncated", 9)
    assert "this home remembers entry 9" in found.text


def test_a_moved_home_keeps_its_memory(story, monkeypatch):
    elsewhere = story.rename(story.with_name(f"{story.name}-moved"))
    monkeypatch.setenv("ATHANOR_HOME", str(elsewhere))
    assert history.verify(NAME)[1] == ()
    remove(elsewhere, 8)
    sql(elsewhere, "DELETE FROM registered_model_tags")
    assert "this home remembers" in " ".join(one.text for one in history.verify(NAME)[1])


def test_a_damaged_memory_of_the_home_is_named(story):
    heads = story / "history" / f"{NAME}.json"
    whole = heads.read_bytes()
    flipped = [
        whole[:at] + bytes([byte ^ 1 << at % 8]) + whole[at + 1 :]
        for at, byte in enumerate(whole[:-1])
    ]
    for damaged in (whole[:-5], b"", *flipped):
        heads.write_bytes(damaged)
        with pytest.raises(IntegrityError, match=rf"{NAME}\.json is damaged"):
            history.verify(NAME)
    heads.write_bytes(whole)
    assert history.verify(NAME)[1] == ()
