"""The only place that speaks to DVC, through `dvc.repo.Repo` (3.67, not formally public).

DVC's return codes and its cache are not trusted: an unreachable HTTP remote counts there as "up
to date" and a damaged cache object is checked out as it is. Every byte that comes from here is
hashed by the caller. Nothing here writes `data.dvc` except `add`, which is meant to.
"""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from components.data.pointer import POINTER
from components.errors import ServiceUnreachable, UsageError

if TYPE_CHECKING:
    from dvc.repo import Repo

log = logging.getLogger(__name__)


def used(root: Path) -> bool:
    """Whether the project is under DVC and git, as a clone is and an unpacked archive is not."""
    return (root / ".dvc" / "config").is_file() and any(
        (folder / ".git").exists() for folder in (root, *root.parents)
    )


def remote(root: Path) -> str:
    """Name of the default remote, empty where none is configured."""
    with _opened(root) as repo:
        return str(repo.config["core"].get("remote") or "")


def fetch(root: Path, names: Iterable[str]) -> str:
    """Bring these data sets' objects from the default remote into the cache.

    Gives what went wrong, empty where DVC says that nothing did: which is no proof.
    """
    with _opened(root) as repo:
        try:
            repo.fetch(targets=[f"data/{name}" for name in names])
        except Exception as error:  # noqa: BLE001 - a storage library raises what it likes
            log.warning("dvc fetch: %s", error)
            return str(error) or type(error).__name__
    return ""


def missing(root: Path, name: str, digests: Iterable[str]) -> tuple[str, ...]:
    """Which of these objects a remote lacks, asked for one by one: `dvc status` says 0 to both.

    Raises:
        ServiceUnreachable: the remote does not answer.
        UsageError: no remote has this name.
    """
    wanted = sorted(set(digests))
    with _opened(root) as repo:
        if name not in repo.config["remote"]:
            there = ", ".join(sorted(repo.config["remote"])) or "none"
            raise UsageError(f"DVC knows no remote {name!r}", f"there are: {there}")
        try:
            there = set(repo.cloud.get_remote_odb(name, "guard").list_oids_exists(wanted))
        except Exception as error:
            raise ServiceUnreachable(
                f"the DVC remote {name!r} does not answer: {error}", f"dvc fetch -r {name} -v"
            ) from error
    return tuple(digest for digest in wanted if digest not in there)


def cache_folder(root: Path) -> Path:
    """Where the cache keeps its objects, an object `abcd...` under `ab/cd...`."""
    with _opened(root) as repo:
        return Path(repo.cache.local.path)


def commit(root: Path) -> None:
    """Put what lies in `data/` into the cache, so that plain `dvc status` and `push` run clean.

    It takes the stage's own commit and not `Repo.commit`, which writes `data.dvc` anew.
    """
    with _opened(root) as repo, repo.lock:
        for stage in repo.stage.load_file(str(root / POINTER)):
            stage.commit(relink=False)


def add(root: Path) -> None:
    """Record what lies in `data/` as the new state: writes `data.dvc`, fills the cache."""
    with _opened(root) as repo:
        repo.add(str(root / "data"))


@contextmanager
def _opened(root: Path) -> Iterator["Repo"]:
    """The project as DVC sees it; another DVC command at work is waited for.

    Raises:
        ServiceUnreachable: DVC cannot open it.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo(str(root), _wait_for_lock=True) as repo:
            yield repo
    except DvcException as error:
        raise ServiceUnreachable(
            f"DVC cannot work on {root}: {error}", "see what it says: dvc status"
        ) from error
