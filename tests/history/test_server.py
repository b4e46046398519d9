"""Our registry store behind a real MLflow server: nothing else moves the champion."""

import multiprocessing
import shutil

import pytest
import requests

from components import history, mlflow_store
from components.errors import IntegrityError, UsageError
from components.history.place import MEANWHILE, NotMoved
from tests.history import promoters
from tests.history.registry import NAME, a_story, database, move, sql
from tests.history.servers import serving
from tests.registry import stores

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A home, and the address of a server on its database."""
    home = tmp_path_factory.mktemp("served")
    (home / "templates").mkdir()
    shutil.copyfile(stores.template(tmp_path_factory), home / "templates" / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATHANOR_HOME", str(home))
        a_story(home)
    with serving(home, f"sqlite:///{database(home)}") as uri:
        yield home, uri


@pytest.fixture
def there(server, monkeypatch):
    """The home of the server, which this process asks from now on; champion v2, intact."""
    home, uri = server
    monkeypatch.setenv("ATHANOR_HOME", str(home))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    state, found = history.verify(NAME)
    assert found == ()
    if state.champion != 2:
        move(2, state.champion, "forced")
    return home, uri


def refused(call, *arguments):
    """403 at once: a 500 would be tried again for minutes."""
    from mlflow.exceptions import MlflowException

    with pytest.raises(MlflowException) as caught:
        call(*arguments)
    assert caught.value.error_code == "PERMISSION_DENIED"
    assert caught.value.get_http_status_code() == 403
    return str(caught.value)


def test_the_same_ledger_is_read_with_and_without_the_server(there, monkeypatch):
    assert type(history.ledger()).__name__ == "Server"
    assert history.ledger().key == "home"
    served = history.history(NAME)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert type(history.ledger()).__name__ == "Database"
    assert history.history(NAME) == served
    assert history.verify(NAME)[1] == ()


def test_no_other_way_moves_the_champion(there):
    _, uri = there
    client = mlflow_store.client(uri)
    before = history.history(NAME)
    assert "promotion only" in refused(client.set_registered_model_alias, NAME, "champion", "3")
    refused(client.delete_registered_model_alias, NAME, "champion")
    refused(client.delete_model_version, NAME, "2")
    refused(client.delete_registered_model, NAME)
    refused(client.rename_registered_model, NAME, "other")
    refused(client.set_registered_model_tag, NAME, "athanor.history", "0")
    refused(client.delete_registered_model_tag, NAME, "athanor.history")
    refused(client.set_model_version_tag, NAME, "2", "athanor.bundle", "0")
    refused(client.delete_model_version_tag, NAME, "2", "athanor.bundle")
    page = requests.post(
        f"{uri}/ajax-api/2.0/mlflow/registered-models/alias",
        json={"name": NAME, "alias": "champion", "version": "3"},
        timeout=10,
    )
    assert page.status_code == 403
    assert history.history(NAME) == before
    assert history.verify(NAME)[0].champion == 2


def test_what_is_no_champion_stays_free(there):
    _, uri = there
    client = mlflow_store.client(uri)
    client.create_registered_model("free")
    client.create_model_version("free", source="s3://a/b", run_id=None)
    client.set_registered_model_alias("free", "candidate", "1")
    client.set_registered_model_tag("free", "colour", "red")
    client.set_model_version_tag("free", "1", "colour", "red")
    client.delete_registered_model_alias("free", "candidate")
    client.rename_registered_model("free", "freer")
    client.delete_model_version("freer", "1")
    [event] = history.history("freer")
    assert (event.event, event.version, event.who) == ("archived", 1, "mlflow server")
    refused(client.rename_registered_model, "freer", "free")
    client.delete_registered_model("freer")
    assert len(history.history("freer")) == 1


def test_conflicts_and_tampering_come_back_as_what_they_are(there):
    home, uri = there
    with pytest.raises(NotMoved) as caught:
        move(3, 1)
    assert (caught.value.champion, caught.value.why) == (2, MEANWHILE)
    assert history.history(NAME)[-1].event == "refused"
    with pytest.raises(UsageError, match="no version 9"):
        move(9, 2)
    sql(home, "UPDATE registered_model_aliases SET version = 1")
    with pytest.raises(IntegrityError, match="moved past the gate"):
        move(3, 1)
    answer = requests.post(f"{uri}/api/athanor/1.0/promote", json={"name": NAME}, timeout=10)
    assert answer.status_code == 422
    sql(home, "UPDATE registered_model_aliases SET version = 2")
    assert history.verify(NAME)[1] == ()


def test_a_page_of_another_origin_cannot_promote(there):
    _, uri = there
    for headers in ({"Origin": "http://evil.example"}, {"Host": "evil.example"}):
        answer = requests.post(
            f"{uri}/api/athanor/1.0/promote", json={}, headers=headers, timeout=10
        )
        assert answer.status_code == 403


def test_of_eight_promoters_one_wins(there):
    """Three rounds, each of eight processes that all compared with the same champion."""
    with multiprocessing.get_context("fork").Pool(8) as pool:
        for _ in range(3):
            promoters.demand_one_winner(NAME, promoters.a_round(pool, NAME, 3))
    assert history.verify(NAME)[1] == ()


@pytest.fixture
def foreign(home, tmp_path, monkeypatch, store):
    """A server without our registry store."""
    served = tmp_path / "mlflow.db"
    shutil.copyfile(home / "templates" / "mlflow.db", served)
    with serving(tmp_path, f"sqlite:///{served}", ours=False) as uri:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        yield uri


def test_a_foreign_server_is_promoted_by_lease_and_says_so(foreign, home):
    client = mlflow_store.client(foreign)
    client.create_registered_model(NAME)
    for version in (1, 2, 3):
        client.create_model_version(NAME, source="s3://a/b", run_id=None)
        history.record(NAME, "registered", version)
    ledger = history.ledger()
    assert not ledger.atomic
    move(1, None)
    move(2, 1)
    with multiprocessing.get_context("fork").Pool(8) as pool:
        promoters.demand_one_winner(NAME, promoters.a_round(pool, NAME, 3))
    state, found = history.verify(NAME)
    assert found == ()
    assert "athanor.lease" not in client.get_registered_model(NAME).tags

    other = 1 if state.champion != 1 else 2
    client.set_registered_model_alias(NAME, "champion", str(other))
    [finding] = history.verify(NAME)[1]
    assert finding.kind == "moved"
    with pytest.raises(IntegrityError, match="moved past the gate"):
        move(3, other)
    history.accept(NAME, finding.entry, "hotfix")
    assert history.verify(NAME)[1] == ()

    [file] = (home / "history").rglob(f"{NAME}.jsonl")
    whole = file.read_bytes()
    lines = whole.splitlines(keepends=True)
    (home / "history" / f"{NAME}.json").unlink()
    for damaged in (lines[:-2], lines[:2] + lines[3:], [*lines, lines[3]], lines[::-1]):
        file.write_bytes(b"".join(damaged))
        assert history.verify(NAME)[1]
    file.write_bytes(whole + b'{"name":')
    assert history.verify(NAME)[1] == ()
