"""Notices: each occurrence once, whatever the receiver does, and no secret in a word of ours."""

import json
import sys
from pathlib import Path

import pytest

from components import files
from pipelines.deployments import telling
from pipelines.deployments.notices import Email, Notice
from pipelines.deployments.telling import Occurrence
from tests.deployments import receivers

FAILED = Occurrence(
    what="failed", deployment="nightly", key="run-1", text="it broke", at="2027-01-01", run="1"
)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telling.time, "sleep", lambda seconds: None)


def test_a_webhook_is_told_once(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_TOKEN", "s3cret")
    with receivers.web() as web:
        notice = Notice(webhook=web.url, token="env:HOOK_TOKEN")
        for _ in range(3):
            assert telling.tell(home, notice, (FAILED,)) == ()
    assert web.got == [FAILED.model_dump(mode="json")]
    assert web.tokens == ["Bearer s3cret"]
    assert "s3cret" not in "".join(path.read_text() for path in home.rglob("*.json"))


def test_two_occurrences_and_two_receivers_are_told_each(home: Path) -> None:
    other = FAILED.model_copy(update={"key": "run-2"})
    with receivers.web() as first, receivers.web() as second:
        for web in (first, second):
            telling.tell(home, Notice(webhook=web.url), (FAILED, other))
    assert len(first.got) == len(second.got) == 2


def test_what_was_not_asked_for_is_not_told(home: Path) -> None:
    with receivers.web() as web:
        telling.tell(home, Notice(webhook=web.url, when=("late",)), (FAILED,))
    assert web.got == []


def test_a_receiver_that_refuses_is_asked_again_and_hears_once(home: Path) -> None:
    with receivers.web() as web:
        notice = Notice(webhook=web.url)
        web.answers = [500] * telling.TRIES
        [trouble] = telling.tell(home, notice, (FAILED,))
        assert "the webhook answers 500" in trouble.message
        assert telling.tell(home, notice, (FAILED,)) == ()
        assert telling.tell(home, notice, (FAILED,)) == ()
    assert len(web.got) == 1


def test_what_a_killed_sender_had_begun_is_told(home: Path) -> None:
    with receivers.web() as web:
        notice = Notice(webhook=web.url)
        telling.tell(home, notice, (FAILED,))
        [place] = (home / "deployments" / "told").iterdir()
        files.write_json(place, {"looks": 1, "key": FAILED.key})
        telling.tell(home, notice, (FAILED,))
    assert len(web.got) == 2


def test_a_receiver_that_never_hears_is_given_up(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telling, "LOOKS", 2)
    notice = Notice(webhook="http://127.0.0.1:1/nobody")
    assert [len(telling.tell(home, notice, (FAILED,))) for _ in range(3)] == [1, 1, 0]


def test_a_secret_that_is_not_there_is_named_and_no_address_is_shown(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [trouble] = telling.tell(home, Notice(webhook="env:NO_SUCH_HOOK"), (FAILED,))
    assert "NO_SUCH_HOOK is not set" in trouble.message
    monkeypatch.setenv("HOOK", "http://127.0.0.1:1/t0ken")
    [trouble] = telling.tell(home, Notice(webhook="env:HOOK"), (FAILED,))
    assert "t0ken" not in trouble.message


def test_an_email_arrives(home: Path) -> None:
    with receivers.mail() as (server, mails):
        email = Email(to=("a@example.org",), sender="b@example.org", server=server, security="none")
        assert telling.tell(home, Notice(email=email), (FAILED,)) == ()
    [mail] = mails
    assert "Subject: Athanor: nightly: failed" in mail
    assert "it broke" in mail


def test_a_command_gets_the_facts_and_no_shell_reads_them(home: Path, tmp_path: Path) -> None:
    seen = tmp_path / "seen.json"
    code = (
        "import json, os, sys; json.dump([sys.argv[1:], dict(os.environ)], open(sys.argv[1], 'w'))"
    )
    words = (sys.executable, "-c", code, str(seen), "$(id); rm -rf x")
    hostile = FAILED.model_copy(update={"text": "'; touch /tmp/no; '"})
    assert telling.tell(home, Notice(command=words), (hostile,)) == ()
    given, environment = json.loads(seen.read_text())
    assert given[1] == "$(id); rm -rf x"
    assert environment["ATHANOR_TEXT"] == hostile.text
    assert environment["ATHANOR_WHAT"] == "failed"


def test_a_command_that_fails_is_said(home: Path) -> None:
    words = (sys.executable, "-c", "import sys; sys.exit('no such room')")
    [trouble] = telling.tell(home, Notice(command=words), (FAILED,))
    assert "ended with 1: no such room" in trouble.message
