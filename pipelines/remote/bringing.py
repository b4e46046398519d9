"""What travels with a step: to it the objects and data that it reads, from it what it made.

Every byte is hashed where it arrives. What is here already is not fetched, what is there already
is not sent.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from components import files, objects, project
from components.artifacts import RawData
from components.data.tree import File
from components.errors import IntegrityError
from components.records import Record
from pipelines.door.received import all_objects
from pipelines.door.talk import Given
from pipelines.keys import named_objects
from pipelines.remote.mirror import Mirror
from pipelines.remote.server import Lacking, Server
from pipelines.workers import parcels
from pipelines.workers.parcels import Outcome

MOST_ROUNDS = 5
"""An object that was freed at the door meanwhile is sent once more."""


def fetch(server: Server, arguments: dict[str, Any]) -> None:
    """Have here what a step reads: the objects that its arguments name, and its data sets.

    Raises:
        Away: the door does not answer.
        IntegrityError: what came is not what is named, or the records of the data disagree.
    """
    for sha in dict.fromkeys(named_objects(arguments)):
        if not objects.intact(sha):
            _object(server, sha)
    for raw in dict.fromkeys(_data_sets(arguments)):
        _data(server, raw)


def hand_in(server: Server, flow_run_id: str, key: str) -> bool:
    """Bring journal, objects and outcome of a step to the door; False where it left none.

    Raises:
        Away: the door does not answer.
        NotWanted: nobody waits for it.
    """
    folder = _folder(key)
    outcome = parcels.read(folder / "outcome.json", flow_run_id)
    if outcome is None:
        return False
    Mirror(server, flow_run_id, folder).flush()
    wanted = all_objects(parcels.unpacked(outcome.value)) if outcome.state == "done" else ()
    for sha in wanted:
        if server.ask_whether(f"/objects/{sha}"):
            continue
        _send(server, sha)
    body = outcome.model_dump_json().encode()
    for _ in range(MOST_ROUNDS):
        try:
            server.ask("PUT", f"/steps/{flow_run_id}/outcome", data=body)
            return True
        except Lacking as lacking:
            for sha in lacking.shas:
                _send(server, sha)
    raise IntegrityError(f"the door at {server.url} does not keep objects that it took", "")


def as_told_there(outcome: Outcome, given: Given) -> Outcome:
    """The outcome with paths as its reader finds them: in the home of the run."""
    if outcome.state != "error":
        return outcome
    here = str(project.home())
    value = {name: str(text).replace(here, given.home) for name, text in outcome.value.items()}
    return outcome.model_copy(update={"value": value})


def _object(server: Server, sha: str) -> None:
    beside = project.home() / "worker"
    beside.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=beside) as folder:
        target = Path(folder) / sha
        server.fetch(f"/objects/{sha}", target)
        if files.digest(target) != sha:
            raise IntegrityError(f"object {sha[:12]} came damaged from {server.url}", "run again")
        objects.put(target)


def _send(server: Server, sha: str) -> None:
    path = objects.path(sha)
    with path.open("rb") as file:
        server.ask("PUT", f"/objects/{sha}", data=file if path.stat().st_size else b"")


def _data(server: Server, raw: RawData) -> None:
    """Have a data set here, from the team's remote, the door or the archives.

    Raises:
        IntegrityError: it is recorded otherwise here than where the run was begun.
    """
    from components.data import check, pointer
    from components.data.pull import pull

    root = project.root()
    tree = pointer.recorded(root)
    recorded = tree.part(raw.name).digest if raw.name in tree.names else "nothing"
    if recorded != raw.tree:
        raise IntegrityError(
            f"data set {raw.name} is {recorded[:12]} in this clone, the run has {raw.tree[:12]}",
            "bring data.dvc and configs/data/tree.json to the run's commit",
        )
    if not check.look(root, tree, raw.name).differences:
        return

    def offered(file: File, target: Path) -> bool:
        if not server.ask_whether(f"/data/{file.md5}"):
            return False
        server.fetch(f"/data/{file.md5}", target)
        return files.digest(target, "md5") == file.md5

    pull([raw.name], offered=offered)


def _data_sets(value: Any) -> Iterator[RawData]:
    """Data sets that a step may read; a record with files stands for what it was made of."""
    if isinstance(value, RawData):
        yield value
    elif isinstance(value, Record):
        if "files" not in type(value).model_fields:
            yield from _data_sets(list(vars(value).values()))
    elif isinstance(value, dict):
        yield from _data_sets(list(value.values()))
    elif isinstance(value, tuple | list):
        for part in value:
            yield from _data_sets(part)


def _folder(key: str) -> Path:
    return project.home() / "work" / key
