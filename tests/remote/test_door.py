"""The door lets in who has the token, keeps nothing that is not what it is called, and no page."""

import hashlib
import os
import socket
import stat
import uuid
from pathlib import Path
from urllib.parse import quote

import pytest
import requests

from components import objects
from components.errors import AthanorError, IntegrityError, ServiceUnreachable, UsageError
from pipelines import opening
from pipelines.door.assignments import Assignment
from pipelines.door.talk import Beat
from pipelines.remote import server as doors
from pipelines.remote.server import NotWanted, Server
from pipelines.workers import inventory
from pipelines.workers.inventory import Inventory
from pipelines.workers.parcels import Outcome
from tests.remote.conftest import TOKEN, Door

PATHS = ("/athanor", "/objects/" + "0" * 64, "/data/" + "0" * 32, "/workers/box", "/nothing")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("shown", ["", "Bearer ", f"Bearer {TOKEN}x", f"Basic {TOKEN}", TOKEN])
def test_nothing_is_told_without_the_token(door: Door, path: str, shown: str) -> None:
    headers = {"Authorization": shown} if shown else {}
    for method in ("GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS"):
        answer = requests.request(method, door.url + path, headers=headers, timeout=10)
        assert answer.status_code == 401
        assert TOKEN not in answer.text


def test_its_health_alone_is_open_and_says_nothing(door: Door) -> None:
    assert requests.get(f"{door.url}/health", timeout=10).json() == {}


def test_a_page_is_refused_even_with_the_token(door: Door) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}", "Origin": "http://evil.example"}
    answer = requests.get(f"{door.url}/athanor", headers=headers, timeout=10)
    assert answer.status_code == 403
    del headers["Origin"]
    assert requests.get(f"{door.url}/athanor", headers=headers, timeout=10).ok


def test_a_large_body_is_not_read_from_a_stranger(door: Door) -> None:
    """The refusal comes while the body is still announced, not sent."""
    with socket.create_connection(("127.0.0.1", int(door.url.rpartition(":")[2]))) as line:
        line.sendall(
            b"PUT /objects/"
            + b"0" * 64
            + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
        )
        assert line.recv(100).startswith(b"HTTP/1.1 401")


def test_objects_come_and_go_whole(door: Door, tmp_path: Path) -> None:
    content = os.urandom(3 << 20)
    sha = hashlib.sha256(content).hexdigest()
    assert not door.server.ask_whether(f"/objects/{sha}")
    door.server.ask("PUT", f"/objects/{sha}", data=content)
    assert objects.path(sha).read_bytes() == content
    assert door.server.ask_whether(f"/objects/{sha}")
    door.server.fetch(f"/objects/{sha}", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == content


def test_other_bytes_than_their_name_says_are_not_kept(door: Door, home: Path) -> None:
    sha = hashlib.sha256(b"right").hexdigest()
    with pytest.raises(UsageError, match="not those of object"):
        door.server.ask("PUT", f"/objects/{sha}", data=b"wrong")
    assert not objects.intact(sha)
    assert not list((home / "door/arriving").iterdir())


def test_a_damaged_object_is_not_given(door: Door, tmp_path: Path) -> None:
    sha = objects.put_bytes(b"whole")
    objects.path(sha).write_bytes(b"whale")
    with pytest.raises(UsageError, match="damaged"):
        door.server.fetch(f"/objects/{sha}", tmp_path / "back")
    assert not (tmp_path / "back").exists()


@pytest.mark.parametrize(
    "sha", ["0" * 63, "0" * 65, "G" * 64, "..%2F..%2Fkeys%2Fprivate", "A" * 64]
)
def test_only_digests_name_objects(door: Door, sha: str) -> None:
    with pytest.raises(UsageError):
        door.server.ask("GET", f"/objects/{sha}")


def test_a_body_says_its_size(door: Door) -> None:
    def parts():
        yield b"some"

    with pytest.raises(UsageError, match="a body of unknown bytes"):
        door.server.ask("PUT", "/objects/" + "0" * 64, data=parts())


def test_a_step_that_nobody_gave_is_refused(door: Door) -> None:
    step = uuid.uuid4()
    with pytest.raises(NotWanted):
        door.server.ask("POST", f"/steps/{step}/journal?stream={'a' * 32}&at=0", data=b"x\n")
    with pytest.raises(NotWanted):
        door.server.ask("PUT", f"/steps/{step}/files/report.html", data=b"x")
    outcome = Outcome(flow_run_id=str(step), state="broken", value="x").model_dump_json()
    with pytest.raises(NotWanted):
        door.server.ask("PUT", f"/steps/{step}/outcome", data=outcome.encode())


@pytest.fixture
def given(door: Door) -> str:
    """A step that a worker has."""
    step = str(uuid.uuid4())
    made = Assignment(flow_run_id=step, name="train", key="c" * 64, worker="box")
    door.desk._assigned.keep(made)
    door.desk._work(made.key).mkdir(parents=True)
    return step


def test_an_outcome_is_kept_once_its_objects_are_here(door: Door, given: str, home: Path) -> None:
    sha = hashlib.sha256(b"weights").hexdigest()
    champion = {"class": "components.artifacts:Predictions", "value": _predictions(sha)}
    outcome = Outcome(flow_run_id=given, state="done", value=champion).model_dump_json().encode()
    with pytest.raises(doors.Lacking) as lacking:
        door.server.ask("PUT", f"/steps/{given}/outcome", data=outcome)
    assert lacking.value.shas == (sha,)
    assert not (home / "work" / ("c" * 64) / "outcome.json").exists()
    door.server.ask("PUT", f"/objects/{sha}", data=b"weights")
    for _ in range(2):  # a reply that was lost is asked for again
        door.server.ask("PUT", f"/steps/{given}/outcome", data=outcome)
    assert (home / "work" / ("c" * 64) / "outcome.json").exists()
    with pytest.raises(NotWanted):
        door.server.ask("PUT", f"/steps/{given}/files/late.html", data=b"x")


@pytest.mark.parametrize("name", ["../../keys/private", "outcome.json", "/etc/passwd"])
def test_a_report_stays_in_the_folder_of_its_step(door: Door, given: str, name: str) -> None:
    with pytest.raises(UsageError):
        door.server.ask("PUT", f"/steps/{given}/files/{quote(name, safe='')}", data=b"x")
    door.server.ask("PUT", f"/steps/{given}/files/report.html", data=b"fine")


def test_a_name_belongs_to_one_worker(door: Door, home: Path) -> None:
    def beat(name: str, owner: str) -> bytes:
        own = Inventory(name=name, owner=owner, slots=1)
        return Beat(inventory=own).model_dump_json().encode()

    door.server.ask("POST", "/workers/box", data=beat("box", "there boot 1 1"))
    door.server.ask("POST", "/workers/box", data=beat("box", "there boot 1 1"))
    with pytest.raises(UsageError, match="a worker named box is here already, from there"):
        door.server.ask("POST", "/workers/box", data=beat("box", "elsewhere boot 1 1"))
    assert [one.inventory.name for one in inventory.known(home)] == ["box"]
    door.server.ask("DELETE", "/workers/box")
    door.server.ask("POST", "/workers/box", data=beat("box", "elsewhere boot 1 1"))


@pytest.mark.parametrize("name", ["..", "a%2Fb", "a b", "x" * 64])
def test_a_workers_name_names_a_file(door: Door, name: str) -> None:
    with pytest.raises(UsageError):
        door.server.ask("POST", f"/workers/{name}", data=b"{}")


def test_a_wrong_token_is_told_in_one_line(door: Door) -> None:
    with pytest.raises(IntegrityError, match="has another token") as refused:
        Server(door.url, "another").about()
    assert "ATHANOR_TOKEN" in refused.value.remedy


def test_what_is_no_door_is_told_as_such(door: Door) -> None:
    with pytest.raises(UsageError, match="no door of Athanor"):
        Server(f"{door.url}/health/..%2Fhealth", TOKEN).about()
    with pytest.raises(ServiceUnreachable, match="does not answer"):
        Server("http://127.0.0.1:1", TOKEN).about()
    for url in ("box:4280", "ftp://box", "http://", "http://user:secret@box"):
        with pytest.raises(UsageError, match="no URL of a door"):
            Server(url, TOKEN)


def test_a_token_is_private(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ATHANOR_TOKEN", raising=False)
    with pytest.raises(UsageError, match="no token for the door"):
        doors.token()
    made = opening.token(home)
    assert opening.token(home) == made
    assert stat.S_IMODE(opening.token_file(home).stat().st_mode) == 0o600
    doors.token_file().parent.mkdir(parents=True)
    doors.token_file().write_text(made)
    doors.token_file().chmod(0o644)
    with pytest.raises(IntegrityError, match="can be read by others"):
        doors.token()
    doors.token_file().chmod(0o600)
    assert doors.token() == made


def test_an_address_of_another_machine_cannot_be_listened_to() -> None:
    with pytest.raises(UsageError, match="this machine has no such address"):
        opening.demand_own("192.0.2.1")
    opening.demand_own("127.0.0.1")


def test_every_refusal_is_an_error_of_ours() -> None:
    assert issubclass(NotWanted, AthanorError)


def _predictions(sha: str) -> dict[str, object]:
    return {
        "model": "fp32",
        "of": "x",
        "data": "y",
        "split": "val",
        "objective": {},
        "files": {"rows.safetensors": sha},
        "scores": {},
    }
