"""`--database`: three databases of one server, no password anywhere, and one line per trouble."""

import stat
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from components import mlflow_store, postgres, project
from components.errors import IntegrityError, ResourceError, ServiceUnreachable, UsageError
from pipelines import database, doctor, reaping, servers, status, studies, templates
from tests.pipelines.small_project import Said
from tests.servers import postgres_server
from tests.servers.postgres_server import PASSWORD, USER, Server

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with postgres_server.running(postgres_server.wheel()) as running:
        yield running


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGUSER", USER)
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    for name in ("PGPASSFILE", "PGPORT", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)


def test_the_stores_lie_there_and_the_password_in_one_private_file(
    server: Server, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    database.use(server.name, said.append)
    monkeypatch.delenv("PGPASSWORD")
    monkeypatch.delenv("PGUSER")
    database.demand()
    assert database.answers() is True

    client = mlflow_store.client()
    assert mlflow_store.tracking_uri().startswith("postgresql+psycopg2://")
    experiment = mlflow_store.experiment_id(client, mlflow_store.tracking_uri(), "a task")
    place = client.get_experiment(experiment).artifact_location
    assert Path(place) == home / "mlflow" / "artifacts" / "a task"

    assert not (home / "mlflow" / "mlflow.db").exists()
    assert not (home / "optuna" / "optuna.db").exists()
    environment = servers.environment(home)
    assert environment["OPTUNA_STORAGE"].startswith("postgresql+psycopg2://")
    assert templates.prefect_settings(home)["PREFECT_API_DATABASE_CONNECTION_URL"].startswith(
        "postgresql+asyncpg://"
    )
    for text in (*said, *environment.values(), (home / "database.json").read_text()):
        assert PASSWORD not in text
    for name in ("database.json", postgres.PASSWORDS):
        assert stat.S_IMODE((home / name).stat().st_mode) == 0o600
    again: list[str] = []
    monkeypatch.setenv("PGUSER", USER)
    database.use(server.name, again.append)
    assert not [line for line in again if "made at" in line], "a second time makes nothing"


def test_a_wrong_password_is_one_line_with_what_to_do(
    server: Server, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", "guessed")
    with pytest.raises(ServiceUnreachable, match=r"does not let 'athanor' in.*PGPASSFILE") as told:
        database.use(server.name, str)
    assert "\n" not in str(told.value)
    assert "guessed" not in str(told.value)
    assert not (home / "database.json").exists()


def test_a_password_file_that_others_can_read_is_not_read(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "passwords"
    escaped = PASSWORD.replace("\\", "\\\\").replace(":", "\\:")
    file.write_text(f"*:*:*:{USER}:{escaped}\n")
    monkeypatch.delenv("PGPASSWORD")
    monkeypatch.setenv("PGPASSFILE", str(file))
    file.chmod(0o644)
    with pytest.raises(ServiceUnreachable, match="mode 0600"):
        database.use(server.name, str)
    file.chmod(0o600)
    database.use(server.name, str)
    monkeypatch.delenv("PGPASSFILE")
    database.demand()


def test_a_server_that_is_away_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ServiceUnreachable, match=r"127.0.0.1:1 does not answer.*athanor up"):
        database.use("127.0.0.1:1", str)


@pytest.mark.parametrize("text", ["me:secret@host", "postgresql://host/x", "host:99999", "a b"])
def test_what_is_no_address_is_refused_without_repeating_a_password(text: str) -> None:
    with pytest.raises(UsageError, match=r"is no HOST\[:PORT\]") as told:
        database.use(text, str)
    assert "secret" not in str(told.value)


def test_a_database_of_a_newer_version_is_not_touched(server: Server) -> None:
    database.use(server.name, str)
    [(known,)] = postgres.rows("mlflow", "SELECT version_num FROM alembic_version")
    change = "UPDATE alembic_version SET version_num = %s"
    postgres.rows("mlflow", change, ("ffffffffffff",))
    try:
        with pytest.raises(IntegrityError, match=r"made by a newer mlflow.*make setup"):
            database.demand()
        with pytest.raises(IntegrityError, match="newer mlflow"):
            database.use(server.name, str)
    finally:
        postgres.rows("mlflow", change, (known,))
    database.demand()


def test_a_database_that_is_gone_is_named(server: Server) -> None:
    database.use(server.name, str)
    with postgres.connected(postgres.parsed(server.name), "postgres") as connection:
        connection.cursor().execute("DROP DATABASE athanor_optuna")
    with pytest.raises(IntegrityError, match="the database athanor_optuna is gone"):
        database.demand()
    said: list[str] = []
    database.use(server.name, said.append)
    assert said[0].startswith("database athanor_optuna made")


def test_a_search_on_it_is_shared_taken_over_and_reaped_as_in_a_file(server: Server) -> None:
    from tests.search import test_shared as files

    database.use(server.name, str)
    files.test_of_two_workers_each_has_its_own_trial_and_then_there_is_none()
    studies.drop("a")
    files.test_a_dead_workers_trial_is_the_next_one_with_its_values_and_checkpoints()
    assert [name for name, _ in studies.last_uses()] == ["a"]
    studies.drop("a")
    files.test_after_all_have_died_the_reaper_buries_and_the_trials_go_on_all_the_same()
    assert studies.at_work() == ["a"]
    assert reaping.optuna() == 1
    studies.drop("a")
    assert not (project.home() / "optuna").exists()


def test_status_and_doctor_know_it(server: Server, home: Path) -> None:
    def told() -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
        found = [(one.name, one.state) for one in status.services(home)]
        return found, [(one.name, one.level) for one in doctor._stores()]

    database.use(server.name, str)
    assert told() == ([("postgresql", "up")], [("postgresql", "ok")])
    postgres.remember(postgres.parsed("127.0.0.1:1"))
    assert told() == ([("postgresql", "down")], [("postgresql", "bad")])


def test_a_backup_holds_the_databases(
    server: Server, tmp_path: Path, said: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_program", lambda name: str(postgres_server.wheel() / name))
    database.use(server.name, str)
    assert said("backup", str(tmp_path / "copy.tgz")).code == 0
    with tarfile.open(tmp_path / "copy.tgz") as copy:
        names = [name for name in copy.getnames() if name.startswith("postgres/")]
    assert names == [f"postgres/{name}.dump" for name in postgres.DATABASES.values()]
    restored = said("restore", str(tmp_path / "copy.tgz"), "--replace")
    assert restored.code == 0
    assert restored.out.count("pg_restore --clean --if-exists") == 3


def test_a_backup_without_the_programs_for_it_is_refused(
    server: Server, tmp_path: Path, said: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    database.use(server.name, str)
    monkeypatch.setattr(Path, "glob", lambda *_: iter(()))
    monkeypatch.setenv("PATH", str(tmp_path))
    refused = said("backup", str(tmp_path / "copy.tgz"))
    assert refused.code == 7
    assert "postgresql-client" in refused.err
    assert not (tmp_path / "copy.tgz").exists()


def test_servers_that_serve_files_are_stopped_first(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "running", lambda _home: servers.Servers())
    with pytest.raises(ResourceError, match="athanor down"):
        database.use(server.name, str)


def test_a_home_with_versions_keeps_its_registry(server: Server) -> None:
    client = mlflow_store.client()
    client.create_registered_model("a")
    before = client.create_model_version("a", source="s3://a/b", run_id=None)
    with pytest.raises(UsageError, match=r"holds 1 versions.*ATHANOR_HOME"):
        database.use(server.name, str)
    client.delete_model_version("a", before.version)
    assert postgres.address() is None


def test_prefect_and_mlflow_serve_it_and_no_process_shows_the_password(home: Path) -> None:
    """On a PostgreSQL of the system: Prefect wants its extension pg_trgm."""
    with postgres_server.running(postgres_server.system()) as own:
        database.use(own.name, str)
        up = servers.up(home, say=print)
        try:
            assert up.servers.mlflow
            assert up.servers.prefect
            for one in (up.servers.mlflow, up.servers.prefect):
                words = Path(f"/proc/{one.pid}/cmdline").read_text()
                assert PASSWORD not in words
                assert PASSWORD not in (home / "logs").joinpath("mlflow.log").read_text()
            [(tables,)] = postgres.rows(
                "prefect", "SELECT count(*) FROM information_schema.tables WHERE table_name='flow'"
            )
            assert tables == 1
            assert {one.state for one in status.services(home)} == {"up"}
        finally:
            servers.down(home)
        assert not (home / "mlflow" / "mlflow.db").exists()
