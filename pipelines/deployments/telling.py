"""Notices on their way: a POST, an e-mail or a command, and each occurrence once.

What was told lies in the home. A notice that could not be sent is tried again at the next looks;
one whose sender was killed in between may come twice, and none is lost.
"""

import json
import os
import smtplib
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from email.message import EmailMessage
from pathlib import Path

from components import files
from components.errors import AthanorError, ServiceUnreachable
from components.records import Record
from pipelines.deployments import secrets
from pipelines.deployments.notices import Email, Notice

TIMEOUT_S = 10.0
COMMAND_S = 60.0
TRIES = 3
"""At one look, a second and then two apart."""
LOOKS = 20
"""Looks at which a notice is tried before it is given up."""
KEPT_S = 90 * 86400.0


class Occurrence(Record):
    """Something that happened, for people."""

    what: str
    """One of `words.OCCASIONS`."""
    deployment: str
    key: str
    """Of the occurrence: unlike any other's, the same at each look."""
    text: str
    """One sentence."""
    at: str
    run: str = ""
    """The flow run, where it is about one."""


class Trouble(Record):
    """A notice that could not be sent."""

    key: str
    message: str


def tell(home: Path, notice: Notice, occurrences: Sequence[Occurrence]) -> tuple[Trouble, ...]:
    """Tell what was not told this way yet; gives what could not be sent."""
    troubles = []
    with files.locked(home / "locks" / "notices.lock"):
        _forget(home)
        for one in occurrences:
            if one.what not in notice.when:
                continue
            place = home / "deployments" / "told" / f"{notice.digest[:16]}-{_name(one)}.json"
            looks = _looks(place)
            if looks < 0 or looks >= LOOKS:
                continue
            files.write_json(place, {"looks": looks + 1, "key": one.key})
            try:
                send(notice, one)
            except AthanorError as error:
                troubles.append(Trouble(key=one.key, message=str(error)))
                continue
            files.write_json(place, {"looks": -1, "key": one.key})
    return tuple(troubles)


def send(notice: Notice, one: Occurrence) -> None:
    """Send one notice, three times where it does not arrive.

    Raises:
        ServiceUnreachable: it did not arrive.
        ConfigError: a secret is not there.
    """
    for left in reversed(range(TRIES)):
        try:
            if notice.webhook:
                _post(notice, one)
            elif notice.email:
                _mail(notice.email, one)
            else:
                _command(notice.command or (), one)
            return
        except (OSError, smtplib.SMTPException, subprocess.SubprocessError) as error:
            if not left:
                raise ServiceUnreachable(
                    f"a notice of {one.deployment} did not arrive: {_said(error)}",
                    "it is tried again; see notify in configs/deployments.yaml",
                ) from None
            time.sleep(TRIES - left)


def _post(notice: Notice, one: Occurrence) -> None:
    url = notice.webhook or ""
    headers = {"Content-Type": "application/json", "User-Agent": "athanor"}
    if notice.token:
        headers["Authorization"] = f"Bearer {secrets.value(notice.token)}"
    request = urllib.request.Request(
        secrets.value(url) if secrets.is_reference(url) else url,
        data=json.dumps(one.model_dump(mode="json"), ensure_ascii=False).encode(),
        headers=headers,
        method="POST",
    )
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S):
            return
    except ValueError as error:  # the secret holds no address; it is told to nobody
        raise OSError("the webhook's secret is no address") from error


def _mail(how: Email, one: Occurrence) -> None:
    message = EmailMessage()
    message["From"], message["To"] = how.sender, ", ".join(how.to)
    message["Subject"] = f"Athanor: {one.deployment}: {one.what.replace('_', ' ')}"
    lines = [one.text, "", f"deployment {one.deployment}", f"at {one.at}"]
    message.set_content("\n".join([*lines, f"run {one.run}"] if one.run else lines) + "\n")
    host, _, port = how.server.partition(":")
    kind = smtplib.SMTP_SSL if how.security == "tls" else smtplib.SMTP
    server = kind(host, int(port), timeout=TIMEOUT_S)
    try:
        if how.security == "starttls":
            server.starttls()
        if how.user and how.password:
            server.login(secrets.value(how.user), secrets.value(how.password))
        server.send_message(message)
    finally:
        with suppress(OSError, smtplib.SMTPException):  # the mail is on its way, or was refused
            server.quit()


def _command(words: Sequence[str], one: Occurrence) -> None:
    """No shell reads the facts: they are in the environment."""
    told = {f"ATHANOR_{name.upper()}": str(value) for name, value in one.model_dump().items()}
    done = subprocess.run(
        list(words),
        env={**os.environ, **told},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=COMMAND_S,
        check=False,
    )
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise OSError(f"{words[0]} ended with {done.returncode}: {''.join(last)}")


def _said(error: Exception) -> str:
    """What went wrong, without the address: it may hold a secret."""
    if isinstance(error, urllib.error.HTTPError):
        return f"the webhook answers {error.code}"
    if isinstance(error, urllib.error.URLError):
        return f"the webhook does not answer ({error.reason})"
    return f"{type(error).__name__}: {error}"[:200]


def _name(one: Occurrence) -> str:
    return one.model_copy(update={"text": "", "at": ""}).digest[:24]


def _looks(place: Path) -> int:
    """At how many looks a notice was tried; below zero for one that was told."""
    try:
        return int(json.loads(place.read_bytes())["looks"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def _forget(home: Path) -> None:
    """Forget what was told long ago."""
    folder = home / "deployments" / "told"
    for place in folder.glob("*.json"):
        with suppress(OSError):
            if time.time() - place.stat().st_mtime > KEPT_S:
                place.unlink()
