"""What must hold of a home and its project after any fault: each function names what does not."""

import contextlib
import hashlib
import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from components import databases

WHOLE_JSON = (
    "stores.json", "servers.json", "prefect/embedded.json", "tracking/*.json", "cache/*",
    "plans/*/*.json", "decisions/*/*.json", "runs/*/*.json", "work/*/lineage.json",
    "work/*/journal.shipped.json", "work/*/checkpoints/*.json",
)  # fmt: skip
LINES = ("work/*/journal.jsonl",)
DATABASES = ("*/*.db",)
PATIENCE_S = 30.0


def broken(home: Path) -> list[str]:
    """Every file that is neither absent nor whole, and every store that contradicts itself."""
    return [*_files(home), *_bundles(home), *_databases(home), *_registry(home)]


def orphans(home: Path, patience_s: float = PATIENCE_S) -> list[str]:
    """Processes of a home that still live after some time; none once its commands have ended."""
    deadline = time.monotonic() + patience_s
    while (left := living(home)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return [f"process {pid} lives: {command}" for pid, command in left.items()]


def living(home: Path) -> dict[int, str]:
    """Processes that were started for a home, by number."""
    mark = f"ATHANOR_HOME={home}".encode()
    found = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            folder = Path("/proc", entry)
            if mark in (folder / "environ").read_bytes().split(b"\0"):
                state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
                if state not in "ZX":
                    words = (folder / "cmdline").read_bytes().split(b"\0")
                    found[int(entry)] = b" ".join(words).decode()[:120]
    return found


def tree(folder: Path) -> dict[str, str]:
    """sha256 of every file below a folder: what belongs to the user must stay so."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _files(home: Path) -> Iterator[str]:
    layout = home / "layout"
    if layout.exists() and not layout.read_text().strip().isdigit():
        yield f"{layout} is torn"
    for path in _found(home, "objects/??/*"):
        if hashlib.sha256(path.read_bytes()).hexdigest() != path.name:
            yield f"{path} has not the bytes of its name"
    for pattern in WHOLE_JSON:
        for path in _found(home, pattern):
            with contextlib.suppress(FileNotFoundError):
                try:
                    json.loads(path.read_bytes())
                except ValueError:
                    yield f"{path} is torn"
    for pattern in LINES:
        for path in _found(home, pattern):
            *lines, _torn = path.read_bytes().split(b"\n")
            for number, line in enumerate(lines, 1):
                try:
                    json.loads(line)
                except ValueError:
                    yield f"{path} line {number} is torn"
    yield from _checkpoints(home)


def _checkpoints(home: Path) -> Iterator[str]:
    for manifest in _found(home, "work/*/checkpoints/*.json"):
        with contextlib.suppress(ValueError, KeyError):
            for name, digest in json.loads(manifest.read_bytes())["content"]["files"].values():
                place = manifest.parent / name
                if not place.is_file():
                    yield f"{manifest} names {name}, which is absent"
                elif hashlib.sha256(place.read_bytes()).hexdigest() != digest:
                    yield f"{place} has not the bytes that its manifest names"


def _bundles(home: Path) -> Iterator[str]:
    for folder in (home / "bundles").glob("[0-9a-f]*"):
        if folder.is_dir():
            listed = json.loads((folder / "manifest.json").read_bytes())["files"]
            for name, facts in listed.items():
                if hashlib.sha256((folder / name).read_bytes()).hexdigest() != facts["sha256"]:
                    yield f"{folder / name} has not the bytes of its manifest"


def _databases(home: Path) -> Iterator[str]:
    for pattern in DATABASES:
        for path in _found(home, pattern):
            said = [row[0] for row in ask(path, "PRAGMA integrity_check")]
            if said != ["ok"]:
                yield f"{path}: {said[:3]}"


def _registry(home: Path) -> Iterator[str]:
    """One version per run key; an alias only where the gate's decision says so."""
    database = home / "mlflow" / "mlflow.db"
    if not database.is_file():
        return
    keys = Counter(run_keys(home))
    yield from (f"{count} versions of run key {key}" for key, count in keys.items() if count > 1)
    for name, version in champions(home).items():
        if version not in judged(home, name):
            yield f"{name} v{version} is champion and was never judged"


def champions(home: Path) -> dict[str, int]:
    """The version of each name that is its champion."""
    database = home / "mlflow" / "mlflow.db"
    if not database.is_file():
        return {}
    query = "SELECT name, version FROM registered_model_aliases WHERE alias = 'champion'"
    return {name: int(version) for name, version in ask(database, query)}


def run_keys(home: Path) -> list[str]:
    """Run key of every registered version."""
    query = "SELECT value FROM model_version_tags WHERE key = 'athanor.run_key'"
    return [row[0] for row in ask(home / "mlflow" / "mlflow.db", query)]


def judged(home: Path, name: str) -> set[int]:
    """Versions of a name that the gate let past."""
    query = f"SELECT version FROM athanor_history WHERE event = 'judged' AND name = '{name}'"
    return {int(row[0]) for row in ask(home / "mlflow" / "mlflow.db", query)}


def ask(database: Path, query: str) -> list[tuple]:
    """Rows of a database in a home."""
    with databases.reading(database) as connection:
        return connection.execute(query).fetchall()


def _found(home: Path, pattern: str) -> list[Path]:
    return sorted(
        path for path in home.glob(pattern) if path.is_file() and not path.name.startswith(".")
    )
