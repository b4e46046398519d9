"""docs/json.md names exactly the keys that the commands print, each with its type."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from components.artifacts import Promotion
from components.data.check import DataSet, Status, Verified
from components.data.pull import Pulled
from components.data.record import Recorded
from components.history import Event, Finding
from components.intake import LeftOut, ShardTaken, TakenIn
from components.keeping.backup import Saved
from components.keeping.restoring import Restored
from components.records import Record
from components.registry import verifying
from components.signing import PublicKey
from components.tracking.syncing import Synced
from components.tracking.unshipped import Trouble, Waiting
from pipelines import (
    cli,
    guard,
    listing,
    logs,
    predicting,
    receipt,
    reproducing,
    running,
    servers,
    shelf,
    status,
    sweep,
    trust,
)
from pipelines.cancelling import Cancelled
from pipelines.deployments import events
from pipelines.deployments.applying import Deployed
from pipelines.deployments.difference import Change
from pipelines.deployments.slots import Plan as Slots
from pipelines.deployments.slots import Slot, Warned
from pipelines.following import Detached
from pipelines.guard import Guarded, Problem
from pipelines.hook import Hook
from pipelines.plan import Outlook
from pipelines.predicting import Answer, Answers
from pipelines.retraining import words
from pipelines.retraining.records import Choice, DataChange, Retrained, SplitRows
from pipelines.runs import Attempt, Failure, RunRecord, StepRecord, Wishes
from pipelines.starting import Server
from pipelines.sweep import Swept, Thing
from pipelines.workers import queue
from pipelines.workers.overview import Crew, Queued, Worker
from pipelines.workers.submission import Submission
from pipelines.workers.waiting import PlaceAtWork
from tests.docs import pages
from tests.docs.reports import a_comparison, a_report

PAGE = (pages.ROOT / "docs/json.md").read_text()
INTERVAL = {f".{name}": "number" for name in ("value", "low", "high")}
PARTS = {"interval": INTERVAL, "score": INTERVAL | {".n": "integer"}}
"""A type of the page's own -> its keys with their types."""
TYPES: dict[str, tuple[type, ...]] = {
    "text": (str,),
    "integer": (int,),
    "number": (int, float),
    "true/false": (bool,),
    "null": (type(None),),
    "list of text": (list,),
    "list of integer": (list,),
    "anything": (object,),
}


def documented(title: str) -> dict[str, str]:
    """Keys under a heading of the page, with their types."""
    found: dict[str, str] = {}
    for key, kind, _ in pages.table(pages.section(PAGE, title)):
        for part, its in PARTS.get(kind, {"": kind}).items():
            found[key.strip("`") + part] = its
    return found


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of a document that holds no further keys, with its path."""
    if isinstance(value, dict):
        for name, part in value.items():
            yield from leaves(part, f"{path}.{name}" if path else name)
    elif isinstance(value, list) and any(isinstance(part, dict) for part in value):
        for part in value:
            yield from leaves(part, f"{path}[]")
    else:
        yield path, value


def demand_alike(title: str, *documents: Any) -> None:
    """Every key of the documents is on the page with its type, and none besides."""
    known = documented(title)
    unmet = dict(known)
    for document in documents:
        for path, value in leaves(json.loads(json.dumps(document, allow_nan=False))):
            if value == [] and any(key.startswith(f"{path}[]") for key in known):
                continue
            [key] = [key for key in known if fits(key, path)] or [None]
            assert key, f"{path} is not under {title!r} in docs/json.md"
            kinds = known[key].split(" or ")
            assert any(is_a(value, kind) for kind in kinds), f"{path} is {value!r}, not {kinds}"
            unmet.pop(key, None)
    assert not unmet, f"under {title!r} in docs/json.md, but never printed: {list(unmet)}"


def fits(key: str, path: str) -> bool:
    pattern = re.sub(r"<[\w ]+>", r"[^.\\[\\]]+", re.escape(key).replace(r"\ ", " "))
    return re.fullmatch(pattern, path) is not None


def is_a(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind in ("true/false", "anything")
    if isinstance(value, list) and kind.startswith("list of "):
        return all(is_a(part, kind.removeprefix("list of ")) for part in value)
    return isinstance(value, TYPES[kind])


def dumped(*records: Record) -> list[Any]:
    return [record.model_dump(mode="json") for record in records]


def test_a_run(tmp_path: Path) -> None:
    reports = [a_report(tmp_path, outcome) for outcome in ("promoted", "refused")]
    demand_alike(
        "`athanor run`, `athanor resume` and `athanor retry`", *map(receipt.as_json, reports)
    )
    assert [report.exit_code for report in reports] == [0, 4]


def test_a_run_that_is_left_alone_or_cancelled() -> None:
    submitted = Submission(run="20260101-000000-tiny-abcd", flow_run_id="f")
    demand_alike("`athanor run --detach`", Detached(submitted).document)
    done = Cancelled(run=submitted.run, state="interrupted", seconds=1.5)
    demand_alike("`athanor cancel`", *dumped(done))


def test_runs_and_logs() -> None:
    steps = (
        StepRecord(name="finetune", key="k", state="failed", reason="new", begun="2026-01-01"),
    )
    record = RunRecord(
        id="20260101-000000-tiny-abcd",
        name="tiny",
        file="configs/tiny.yaml",
        config={},
        config_digest="d",
        wishes=Wishes(),
        attempts=(Attempt(owner="host boot 1 2", begun="2026-01-01", steps=steps),),
    )
    failure = Failure(kind="ConfigError", message="no")
    failed = record.ended("failed", "2026-01-02", exit_code=2, error=failure)
    told = failed.changed(mlflow_run_id="m", prefect_run_id="p")
    rows = [listing.row(one) for one in (record, told)]
    moving = rows[1].model_copy(update={"done": 1, "total": 2.5})
    demand_alike("`athanor runs`", listing.document((rows[0], moving)))
    line = logs.Line("2026-01-01", "run", "begun")
    demand_alike("`athanor logs`", logs.document(record.id, record.state, [line]))


def test_retrain() -> None:
    row = SplitRows(split="train", before=1, now=2, new=1)
    change = DataChange(
        name="a", before="0.dir", after="1.dir", rows=(row,), labels={"now": {"x": 2}}, moved=0,
        drift=("labels: as they were",),
    )  # fmt: skip
    unknown = {"before": None, "rows": (row.model_copy(update={"before": None, "new": None}),)}
    first = Retrained(
        name="a", outcome="promoted", reason="a new week", started_from=None, notes=("afresh",),
        data=(change.model_copy(update={**unknown, "moved": None}),), run_id="r",
        mlflow_run_id="m", version=1, champion=1, file="there.html", page="retraining/r.html",
        checks=({"rule": "better", "passed": True, "observed": "p = 0.01"},),
        choices=(Choice(text="ask", command="athanor predict a/1 TEXT"),),
    )  # fmt: skip
    same = Retrained(
        name="a", outcome="same data", reason="", started_from=1, notes=(), data=(change,)
    )
    later = first.model_copy(update={"started_from": 1, "compared": a_comparison()})
    demand_alike("`athanor retrain`", *map(words.document, (first, same, later)))
    assert [one.exit_code for one in (same, later)] == [0, 0]
    assert later.model_copy(update={"outcome": "refused"}).exit_code == 4


def test_plan_and_why() -> None:
    outlooks = (
        Outlook("prepare", "run", ("it never ran here",), "0" * 64),
        Outlook("finetune", "waits", ("for prepare",), None),
    )
    demand_alike("`athanor plan` and `athanor why`", running.plan_document(outlooks))


def test_predict() -> None:
    answers = Answers(
        name="reviews",
        version=1,
        variant="fp32",
        signature=predicting.Signed(key="0" * 16, owner="me@here", unsigned_allowed=False),
        answers=(Answer(row="fine", label="good", probability=0.9),),
        latency_ms=0.5,
    )
    unsigned = predicting.Signed(key=None, owner=None, unsigned_allowed=True)
    both = (answers, answers.model_copy(update={"signature": unsigned}))
    demand_alike("`athanor predict`", *map(predicting.as_json, both))


def test_models() -> None:
    found = (
        shelf.Model(name="a", versions=(1, 2), champion=2),
        shelf.Model(name="b", versions=(1,), champion=None),
    )
    demand_alike("`athanor models`", shelf.models_document(found))


def test_keys_and_verify() -> None:
    key = PublicKey("ssh-ed25519 AAAA me@here", "home", signs=True)
    made = trust.Made(key=key.id, owner=key.owner, file="configs/keys/0.pub")
    demand_alike("`athanor keys`", trust.keys_document((key,)))
    demand_alike("`athanor keys init`", *dumped(made))
    one = verifying.Checked(place="home", name="model.onnx", size_bytes=1, sha256="0" * 64)
    found = verifying.Verification(
        name="reviews", version=1, bundle="b" * 64, key=key.id, owner=key.owner, files=(one,)
    )
    demand_alike("`athanor verify`", *dumped(found))


def test_promote_and_rollback() -> None:
    moves = [
        Promotion(name="a", version=2, previous=before, moved=True, reason="better")
        for before in (1, None)
    ]
    demand_alike("`athanor promote` and `athanor rollback`", *dumped(*moves))


def test_history() -> None:
    events = tuple(
        Event(
            name="a",
            number=2,
            at="2026-01-01T00:00:00.000+00:00",
            who="me@here",
            event="promoted",
            version=2,
            previous=before,
            evidence={"p_value": 0.01, "rival": "linear"},
        )
        for before in (1, None)
    )
    demand_alike("`athanor history`", shelf.history_document(events))
    held = [
        shelf.Held(name="a", at=events[0].at, champion=1, entry=events[0]),
        shelf.Held(name="a", at=events[0].at, champion=None, entry=None),
    ]
    demand_alike("`athanor history --at`", *dumped(*held))
    finding = Finding(entry=1, kind="edited", text="it is", marks=("edited:1",))
    looked = shelf.Verified(
        name="a", entries=1, sha256="0" * 64, champion=1, atomic=True, findings=(finding,)
    )
    demand_alike("`athanor history --verify`", *dumped(looked))


def test_reproduce() -> None:
    pair = reproducing.Pair(
        metric="accuracy", there=0.9, there_low=0.8, there_high=1.0,
        here=0.91, here_low=0.81, here_high=1.0, points=1.0,
    )  # fmt: skip
    same = reproducing.Reproduction(
        verdict="identical", version="a/1", commit="c" * 40, patched=False, there="b" * 64,
        here="b" * 64, step=None, difference=None, scores=(pair,), tolerance=None,
        notes=("torch: 1 there, 2 here",), steps=20, seconds=61.5, folder=None,
    )  # fmt: skip
    changes = {"verdict": "outside", "step": "finetune", "difference": "x: 1 -> 2"}
    other = same.model_copy(update={**changes, "tolerance": 0.5, "folder": "there"})
    demand_alike("`athanor reproduce`", *map(reproducing.document, (same, other)))
    assert [reproducing.exit_code(one) for one in (same, other)] == [0, 6]
    assert reproducing.text(same).splitlines()[-1] == f"IDENTICAL sha256={'b' * 64}"
    assert reproducing.text(other).splitlines()[-1] == "OUTSIDE 0.5 points, another sha256"


def test_data() -> None:
    one = DataSet(
        name="a", tree="0.dir", state="differs", files=2, size_bytes=9, missing=("train/x",)
    )
    pulled = Pulled(data_sets=(one,), came={"a": "dvc"}, moved=(), in_dvc_cache=True)
    demand_alike("`athanor data pull`", *dumped(pulled))
    demand_alike("`athanor data verify`", *dumped(Verified(data_sets=(one,), absent=("b",))))
    shard = ShardTaken(file="incoming/a/x.jsonl", sha256="0" * 64, rows=3)
    left = LeftOut(place="x.jsonl:1", reason="it contradicts", text="fine")
    taken = TakenIn(
        data_set="a", at="2026-01-01", before="0.dir", after="1.dir", tree="2.dir",
        shards=(shard,), added={"train": 2}, repeated=0, left_out=(left,), note="n.json",
    )  # fmt: skip
    demand_alike("`athanor data add`", *dumped(taken))
    recorded = Recorded(tree="0.dir", added=("a/b",), changed=("a/c",), removed=("a/d",))
    demand_alike("`athanor data record`", *dumped(recorded))
    status = Status(tree="0.dir", data_sets=(one,), unrecorded=("c",))
    demand_alike("`athanor data status`", *dumped(status))


def test_gc() -> None:
    thing = Thing(
        kind="result", name="k", size_bytes=3, used="2026-01-01", needed=False, reasons=("old",)
    )
    swept = Swept(
        applied=False,
        older_than_days=30,
        things=(thing,),
        left_alone={"mlflow": 7},
        notes=("a config cannot be planned",),
    )
    demand_alike("`athanor gc`", sweep.document(swept))


def test_backup_and_restore() -> None:
    saved = Saved(file="a.tgz", size_bytes=1, members=2, home_bytes=3, layout=1)
    demand_alike("`athanor backup`", *dumped(saved))
    restored = Restored(home="/h", members=2, home_bytes=3, made_at="2026-01-01", aside="")
    demand_alike("`athanor restore`", *dumped(restored))


def test_guard() -> None:
    title = "`athanor guard install` and `athanor guard remove`"
    demand_alike(title, *dumped(Hook(hook="/h", installed=True, kept="")))
    problem = Problem(about="data", commit="c", what="lacking", fix="dvc push")
    guarded = Guarded(
        refs=("HEAD",), commits=("c",), remote="team", references=("a:1 b/2",), problems=(problem,)
    )
    demand_alike("`athanor guard check`", *dumped(guarded))
    assert guard.exit_code(guarded) == 3


def test_up(tmp_path: Path) -> None:
    server = Server(owner="host boot 1 2", pid=1, url="http://127.0.0.1:5000")
    up = servers.Up(
        servers=servers.Servers(mlflow=server, prefect=server),
        started=("mlflow",),
        links={"mlflow": server.url},
        secret=tmp_path / "secret",
    )
    door = servers.Servers(mlflow=server, prefect=server, door=server)
    demand_alike("`athanor up`", *dumped(up, up.model_copy(update={"servers": door})))


def test_deploy_schedule_and_event(monkeypatch: pytest.MonkeyPatch) -> None:
    change = Change(name="n", what="new", lines=("schedule: every 6h",), done="applied")
    demand_alike("`athanor deploy`", *dumped(Deployed(mode="apply", changes=(change,))))
    slot = Slot(deployment="n", local="l", zone="UTC", utc="u", state="on")
    warned = Warned(deployment="n", what="moved", meant="m", text="t")
    demand_alike("`athanor schedule`", *dumped(Slots(slots=(slot,), warnings=(warned,))))
    monkeypatch.setattr(events, "_told", lambda name, subject, payload: True)
    demand_alike("`athanor event`", events.announce("drift", "digits", '{"digest": "d"}'))


def test_status_and_sync() -> None:
    run = {
        "name": "finetune", "store": "http://127.0.0.1:5000", "shown": True, "ended": False,
        "cared_for": True, "points": 3, "since": "2026-01-01",
    }  # fmt: skip
    waiting = Waiting.model_validate(run)
    trouble = Trouble(store="s", message="m", since="2026-01-01", at="2026-01-02")
    worker = Worker(
        name="vm", state="up", pid=1, heartbeat="2026-01-01", slots=2, devices=("0",), memory_gb=1.5
    )
    place = PlaceAtWork(place="device 0", memory_gb=8.0, free=False, step="s", run="r", pid=1)
    crew = Crew(
        workers=(
            worker,
            worker.model_copy(
                update={"pid": None, "heartbeat": None, "slots": None, "memory_gb": None}
            ),
        ),
        places=(place, PlaceAtWork(place="slot 0", memory_gb=None, free=True)),
        queued=(
            Queued(run="r", step="finetune", since="2026-01-01", waits_for="a slot"),
            Queued(run="r", step=None, since=None, waits_for="a worker"),
        ),
        slots=(queue.Slot(deployment="nightly", at="2026-01-01"),),
        trouble="",
    )
    found = status.Status(
        crew=crew,
        servers=tuple(
            status.Service(name="mlflow", state="up", url="u", pid=pid, users=(2,))
            for pid in (1, None)
        ),
        runs=(
            status.Work(run="r", pid=1, step="finetune", done=1.0, total=2.0, text="epoch 1"),
            status.Work(run="r", pid=1, step=None, done=None, total=None, text=""),
        ),
        shipping=status.Shipping(points=3, runs=(waiting,), troubles=(trouble,), untold=1),
    )
    demand_alike("`athanor status`", *dumped(found))
    synced = Synced(shipped=1, remaining=(), left_to=(waiting,), troubles=(trouble,))
    demand_alike("`athanor sync`", *dumped(synced))


@pytest.mark.parametrize(
    ("title", "arguments"),
    [
        ("`athanor down`", ["down"]),
        ("`athanor env`", ["env"]),
        ("`athanor doctor`", ["doctor"]),
        ("`athanor kinds`", ["kinds"]),
        ("Any command that refuses", ["kinds", "no-such-family"]),
    ],
)
def test_what_the_command_itself_prints(
    title: str,
    arguments: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(pages.ROOT)
    cli.run([*arguments, "--json"])
    demand_alike(title, json.loads(capsys.readouterr().out))


def test_every_command_has_its_keys_here() -> None:
    titles = " ".join(re.findall(r"^## (.*)$", PAGE, re.M))
    for command in cli._parser()._subparsers._group_actions[0].choices:
        assert f"`athanor {command}" in titles


def test_a_key_that_is_not_printed_is_noticed() -> None:
    with pytest.raises(AssertionError, match=r"never printed: \['stopped'\]"):
        demand_alike("`athanor down`", {})


def test_a_key_that_is_not_on_the_page_is_noticed() -> None:
    with pytest.raises(AssertionError, match="added is not under"):
        demand_alike("`athanor down`", {"stopped": [], "added": 1})


def test_another_type_is_noticed() -> None:
    with pytest.raises(AssertionError, match="stopped is 3"):
        demand_alike("`athanor down`", {"stopped": 3})
