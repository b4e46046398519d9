"""Opens the door: where it listens, whom it lets in, and how its process is started."""

import os
import secrets
import socket
import stat
import subprocess
import sys
from pathlib import Path

from components import files
from components.errors import IntegrityError, UsageError
from pipelines import templates

TOKEN = "ATHANOR_TOKEN"


def token(home: Path) -> str:
    """What a worker must show at the home's door, made on first use."""
    path = token_file(home)
    if not path.is_file():
        files.write_bytes(path, f"{secrets.token_urlsafe(32)}\n".encode(), 0o600)
    return private(path)


def token_file(home: Path) -> Path:
    """Where the home's token stands."""
    return home / "door" / "token"


def private(path: Path) -> str:
    """The one line of a file that nobody else may read.

    Raises:
        IntegrityError: others may, or it holds no token.
    """
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise IntegrityError(f"{path} can be read by others (mode {mode:o})", f"chmod 600 {path}")
    text = path.read_text().strip()
    if len(text) < 20 or any(each.isspace() for each in text):
        raise IntegrityError(f"{path} holds no token", "copy it anew from the server's home")
    return text


def demand_own(host: str) -> None:
    """Refuse an address that is not this machine's.

    Raises:
        UsageError: nothing here can listen there.
    """
    try:
        family, kind, *_, address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as tried:
            tried.bind(address)
    except OSError as error:
        raise UsageError(
            f"--host {host}: this machine has no such address ({error.strerror or error})",
            "name one of its own (ip addr), or 127.0.0.1 behind a tunnel",
        ) from None


def start(home: Path, at: tuple[str, int], environment: dict[str, str], log: Path) -> int:
    """Start the door's process; gives its number."""
    token(home)  # no door opens without
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    own = {name: value for name, value in os.environ.items() if name != TOKEN}
    host, port = at
    with log.open("ab") as sink:
        return subprocess.Popen(
            [sys.executable, "-m", "pipelines.door", host, str(port)],
            env={**own, **environment, **templates.import_path()},
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            start_new_session=True,
        ).pid
