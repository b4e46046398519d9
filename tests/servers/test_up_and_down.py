"""`up` starts what does not run, keeps others out, and `down` stops exactly that."""

import http.client
import os
import signal
import socket
import stat
import time
from base64 import b64encode
from pathlib import Path

import pytest

from components import processes
from components.errors import ResourceError, UsageError
from pipelines import embedded, kernel, servers, starting

pytestmark = pytest.mark.slow


def ask(url: str, method: str = "GET", path: str = "/", **headers: str) -> int:
    """Status of one request with exactly these headers."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=30)
    try:
        body = b"{}" if method == "POST" else None
        connection.request(method, path, body, {k.replace("_", "-"): v for k, v in headers.items()})
        return connection.getresponse().status
    finally:
        connection.close()


def basic(secret: str) -> str:
    return "Basic " + b64encode(secret.encode()).decode()


def mlflow_url(standing: servers.Up) -> str:
    assert standing.servers.mlflow
    return standing.servers.mlflow.url


def prefect_url(standing: servers.Up) -> str:
    assert standing.servers.prefect
    return standing.servers.prefect.url


def test_both_start_and_answer(standing: servers.Up) -> None:
    assert standing.started == ("prefect", "mlflow")
    assert ask(mlflow_url(standing), path="/health") == 200
    assert ask(prefect_url(standing), path="/api/health") == 200


def test_links_name_pages_that_exist(standing: servers.Up) -> None:
    for link in standing.links.values():
        address, _, page = link.removeprefix("http://").partition("/")
        path = "/" + page.partition("#")[0]
        assert ask(f"http://{address}", path=path, Accept="text/html") == 200


@pytest.mark.parametrize("host", ["evil.example", "10.evil.example", "192.168.evil.example"])
def test_mlflow_refuses_a_foreign_host(standing: servers.Up, host: str) -> None:
    assert ask(mlflow_url(standing), Host=host) == 403
    search = "/api/2.0/mlflow/experiments/search"
    assert ask(mlflow_url(standing), "POST", search, Host=host) == 403


def test_mlflow_answers_to_its_own_address(standing: servers.Up) -> None:
    assert ask(mlflow_url(standing)) == 200


def test_mlflow_refuses_a_foreign_page(standing: servers.Up) -> None:
    path = "/api/2.0/mlflow/experiments/create"
    status = ask(mlflow_url(standing), "POST", path, Origin="http://evil.example")
    assert status == 403


def test_prefect_demands_the_secret(standing: servers.Up, standing_home: Path) -> None:
    path = "/api/admin/version"
    assert ask(prefect_url(standing), path=path) == 401
    assert ask(prefect_url(standing), path=path, Authorization=basic("athanor:guess")) == 401
    right = basic(starting.secret(standing_home))
    assert ask(prefect_url(standing), path=path, Authorization=right) == 200


def test_prefect_demands_a_csrf_token(standing: servers.Up, standing_home: Path) -> None:
    right = basic(starting.secret(standing_home))
    status = ask(
        prefect_url(standing),
        "POST",
        "/api/flows/",
        Authorization=right,
        Content_Type="application/json",
    )
    assert status == 403


def test_prefect_refuses_a_foreign_preflight(standing: servers.Up) -> None:
    own = prefect_url(standing)
    wants = {"Access_Control_Request_Method": "POST"}
    assert ask(own, "OPTIONS", "/api/flows/", Origin="http://evil.example", **wants) == 400
    assert ask(own, "OPTIONS", "/api/flows/", Origin=own, **wants) == 200


def test_only_this_machine_is_listened_to(standing: servers.Up) -> None:
    for url in (mlflow_url(standing), prefect_url(standing)):
        port = int(url.rpartition(":")[2])
        rows = Path("/proc/net/tcp").read_text().splitlines()[1:]
        listening = [
            row.split()[1]
            for row in rows
            if row.split()[3] == "0A" and int(row.split()[1].rpartition(":")[2], 16) == port
        ]
        assert listening == [f"0100007F:{port:04X}"]


def test_secrets_are_private(standing: servers.Up, standing_home: Path) -> None:
    private = [standing.secret, standing_home / "servers.json"]
    private += [standing_home / f"{name}/{name}.db" for name in ("prefect", "mlflow", "optuna")]
    assert {stat.S_IMODE(path.stat().st_mode) for path in private} == {0o600}
    assert stat.S_IMODE(standing_home.stat().st_mode) == 0o700


def test_the_secret_is_on_no_command_line(standing: servers.Up, standing_home: Path) -> None:
    secret = starting.secret(standing_home).partition(":")[2].encode()
    for pid in (entry for entry in os.listdir("/proc") if entry.isdigit()):
        try:
            assert secret not in Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue


def test_running_finds_both_at_once(standing: servers.Up, standing_home: Path) -> None:
    start = time.perf_counter()
    assert servers.running(standing_home) == standing.servers
    assert time.perf_counter() - start < 0.05


def test_up_again_changes_nothing(standing: servers.Up, standing_home: Path) -> None:
    again = servers.up(standing_home)
    assert again.started == ()
    assert again.servers == standing.servers


def test_a_second_prefect_server_is_refused(standing: servers.Up, standing_home: Path) -> None:
    with pytest.raises(ResourceError, match="is served by process"):
        embedded.claim(standing_home)


def test_a_named_port_in_use_is_refused_with_its_holder(standing: servers.Up, home: Path) -> None:
    taken = int(mlflow_url(standing).rpartition(":")[2])
    with pytest.raises(ResourceError, match=rf"port {taken} is in use by process \d+ \(.*uvicorn"):
        servers.up(home, {"mlflow": taken})


@pytest.mark.parametrize("name", ["prefect", "mlflow"])
def test_a_port_that_cannot_be_is_refused_before_anything_starts(home: Path, name: str) -> None:
    with pytest.raises(UsageError, match="70000 is no port"):
        servers.up(home, {name: 70000})
    assert [pid for each in ("prefect", "mlflow") for pid in starting.marked(home, each)] == []


def test_up_heals_a_killed_server_and_down_stops_all(
    standing: servers.Up, standing_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATHANOR_HOME", str(standing_home))
    before = standing.servers
    assert before.prefect
    assert before.mlflow
    os.kill(before.prefect.pid, signal.SIGKILL)
    os.kill(before.mlflow.pid, signal.SIGKILL)
    while not (processes.dead(before.prefect.owner) and processes.dead(before.mlflow.owner)):
        time.sleep(0.05)
    healed = servers.up(standing_home)
    assert healed.started == ("prefect", "mlflow")
    assert healed.links == standing.links
    assert ask(prefect_url(healed), path="/api/health") == 200

    pids = [pid for name in ("prefect", "mlflow") for pid in starting.marked(standing_home, name)]
    assert len(pids) >= 3  # MLflow's command and the server under it, and Prefect
    assert servers.down(standing_home) == ("prefect", "mlflow")
    assert not [pid for pid in pids if kernel.command(pid)]
    assert servers.running(standing_home) is None
    assert servers.down(standing_home) == ()
    for url in (mlflow_url(healed), prefect_url(healed)):
        with pytest.raises(ConnectionRefusedError, match="refused"):
            socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=5)
