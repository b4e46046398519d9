"""`--artifacts`: a place in a bucket, no key kept anywhere, and one line per trouble."""

import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from components import bucket, files, mlflow_store
from components.bucket import asking
from components.errors import IntegrityError, ResourceError, ServiceUnreachable, UsageError
from pipelines import bucket as artifacts
from pipelines import doctor, servers, status
from tests.pipelines.small_project import Said
from tests.registry import stores
from tests.servers.artifacts.s3_server import BUCKET, KEYS, PLACE, Server

AWAY = "http://127.0.0.1:1"


@pytest.mark.parametrize(
    "text",
    ["s3:/x", "s3://", "gs://b/p", "s3://UP/x", "s3://models/a/../b", "s3://me:secret@models/a"],
)
def test_what_is_no_place_is_refused_without_repeating_a_key(text: str, home: Path) -> None:
    with pytest.raises(UsageError, match="is no s3://BUCKET/PREFIX") as told:
        artifacts.use(text, str)
    assert "secret" not in str(told.value)
    assert not (home / bucket.NOTE).exists()


def test_an_endpoint_with_keys_in_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(bucket.ENDPOINT, "http://me:secret@127.0.0.1:9000")
    with pytest.raises(UsageError, match="is no address of a server") as told:
        artifacts.use(PLACE, str)
    assert "secret" not in str(told.value)


def test_a_bucket_that_does_not_exist_is_named(home: Path) -> None:
    with pytest.raises(UsageError, match=r"there is no bucket for s3://absent/p.*make it"):
        artifacts.use("s3://absent/p", str)
    assert not (home / bucket.NOTE).exists()


def test_an_endpoint_that_is_away_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(bucket.ENDPOINT, AWAY)
    with pytest.raises(ServiceUnreachable, match=r"127.0.0.1:1 does not answer") as told:
        artifacts.use(PLACE, str)
    assert "\n" not in str(told.value)


def test_an_endpoint_that_says_nothing_is_given_up_in_time(
    fresh: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "READ_S", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv(bucket.ENDPOINT, f"http://127.0.0.1:{silent.getsockname()[1]}")
        begun = time.monotonic()
        with pytest.raises(ServiceUnreachable, match="does not answer: Read timeout"):
            artifacts.use(PLACE, str)
    assert time.monotonic() - begun < 15


def test_without_keys_it_is_said_where_they_belong(
    fresh: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in KEYS:
        monkeypatch.delenv(name)
    with pytest.raises(ServiceUnreachable, match=r"does not let us in.*AWS_ACCESS_KEY_ID"):
        artifacts.use(PLACE, str)
    monkeypatch.setenv("AWS_PROFILE", "absent")
    asking.client.cache_clear()
    with pytest.raises(ServiceUnreachable, match=r"\(absent\) could not be found.*AWS_PROFILE"):
        artifacts.use(PLACE, str)


def test_keys_that_may_not_are_told_as_that(server: Server) -> None:
    from botocore.exceptions import ClientError

    answer = {"Error": {"Code": "AccessDenied"}, "ResponseMetadata": {"HTTPStatusCode": 403}}
    found = asking.meaning(ClientError(answer, "PutObject"), bucket.parsed(PLACE))
    assert isinstance(found, ServiceUnreachable)
    assert "does not let us in" in str(found)


def test_an_error_of_somebody_else_says_nothing_of_a_bucket() -> None:
    assert asking.meaning(ValueError("x")) is None


def test_without_the_library_the_command_that_installs_it_is_said(
    fresh: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "find_spec", lambda _name: None)
    with pytest.raises(ResourceError, match=r"boto3 is not installed.*pip install"):
        artifacts.use(PLACE, str)
    bucket.remember(bucket.parsed(PLACE))
    with pytest.raises(ResourceError, match="boto3 is not installed"):
        asking.demand()


def test_the_home_remembers_the_place_and_no_key(server: Server, home: Path) -> None:
    said: list[str] = []
    artifacts.use(f"{PLACE}/", said.append)
    assert bucket.address() == bucket.Address(name=BUCKET, prefix="house", endpoint=server.url)
    assert (home / bucket.NOTE).stat().st_mode & 0o777 == 0o600
    assert f"house/{asking.MARK}" in server.objects()
    environment = servers.environment(home)
    assert environment[bucket.ENDPOINT] == server.url
    for text in (*said, *environment.values(), (home / bucket.NOTE).read_text()):
        assert not any(key in text for key in KEYS.values())


def test_a_note_that_is_damaged_is_found(home: Path) -> None:
    artifacts.use(PLACE, str)
    (home / bucket.NOTE).write_text("{}")
    with pytest.raises(IntegrityError, match=r"artifacts.json is damaged.*athanor up"):
        bucket.address()


def test_new_runs_of_an_experiment_that_was_there_go_to_the_bucket(
    home: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    files.copy(stores.template(tmp_path_factory), home / "templates/mlflow.db")
    client, uri = mlflow_store.client(), mlflow_store.tracking_uri()
    before = client.create_run(mlflow_store.experiment_id(client, uri, "a task"))
    artifacts.use(PLACE, str)
    client = mlflow_store.client()
    after = client.create_run(mlflow_store.experiment_id(client, uri, "a task"))
    assert Path(before.info.artifact_uri).is_relative_to(home / "mlflow")
    assert after.info.artifact_uri.startswith(f"{PLACE}/a task/")
    new = client.get_experiment(mlflow_store.experiment_id(client, uri, "another"))
    assert new.artifact_location == f"{PLACE}/another"
    assert client.get_experiment("0").artifact_location == str(home / "mlflow/artifacts/0")
    assert mlflow_store.artifact_root() == PLACE

    from mlflow.store.artifact.s3_artifact_repo import _get_s3_client

    limits = _get_s3_client().meta.config
    assert (limits.connect_timeout, limits.read_timeout) == (asking.CONNECT_S, asking.READ_S)


def test_status_and_doctor_know_it(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def told() -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
        found = [(one.name, one.state) for one in status.services(home)]
        return found, [(one.name, one.level) for one in doctor._bucket()]

    assert told() == ([], [])
    artifacts.use(PLACE, str)
    assert told() == ([("s3", "up")], [("s3", "ok")])
    monkeypatch.setenv(bucket.ENDPOINT, AWAY)
    bucket.remember(bucket.parsed(PLACE))
    assert told() == ([("s3", "down")], [("s3", "bad")])


def test_a_backup_says_what_it_does_not_hold(tmp_path: Path, said: Callable[..., Said]) -> None:
    artifacts.use(PLACE, str)
    kept = said("backup", str(tmp_path / "copy.tgz"))
    assert kept.code == 0
    assert f"files of runs and versions lie in {PLACE}" in kept.out


def test_servers_that_serve_the_folder_are_stopped_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "running", lambda _home: servers.Servers())
    with pytest.raises(ResourceError, match="athanor down"):
        artifacts.use(PLACE, str)
    assert bucket.address() is None


def test_an_object_that_would_lie_outside_of_the_copy_is_refused(
    server: Server, tmp_path: Path
) -> None:
    server.client.put_object(Bucket=BUCKET, Key="odd/../../outside", Body=b"x")
    with pytest.raises(IntegrityError, match="is no name of a file"):
        asking.download(f"s3://{BUCKET}/odd", tmp_path / "copy")
    assert not (tmp_path.parent / "outside").exists()
    with pytest.raises(IntegrityError, match="nothing lies at"):
        asking.download(f"s3://{BUCKET}/absent", tmp_path / "copy")
