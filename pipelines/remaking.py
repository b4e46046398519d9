"""A version made again: its source, its project and its data in a folder of their own, and a run.

Nothing of the user's is touched: the checkout borrows the clone's objects and has a `.git` of its
own, the run has a fresh home, and no variable leads it to a registry or a server of the user's.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from components import bundle, errors, files, project
from components.bundle import origin, provenance
from components.bundle.origin import Origin
from components.data import dvc, pointer
from components.data.tree import Tree, scan
from components.errors import AthanorError, IntegrityError, UsageError
from pipelines import ancestry, inner

CONFIG = "configs/run.yaml"

Tell = Callable[[str], None]


class Place(NamedTuple):
    """The folder of one remake."""

    folder: Path

    @property
    def source(self) -> Path:
        """The checkout."""
        return self.folder / "source"

    @property
    def project(self) -> Path:
        """What the run reads: the version's own config and expectations, and its data."""
        return self.folder / "project"

    @property
    def home(self) -> Path:
        """A home that nobody used."""
        return self.folder / "home"


def has_commit(commit: str) -> bool:
    """Whether the clone of this code has the commit, its files included."""
    try:
        found = _git(provenance.source(), "cat-file", "-e", f"{commit}^{{tree}}")
    except OSError:
        return False
    return found.returncode == 0


def remake(made: Origin, place: Place, tell: Tell) -> Origin:
    """What the chain makes of the version's commit, patch, config and data today.

    Raises:
        AthanorError: a step's own error, or what is missing.
    """
    tell(f"checking out {made.commit[:12]}{' and its patch' if made.patch else ''}")
    _check_out(made, place.source)
    _write_project(made, place, tell)
    tell(f"running all steps from nothing in {place.folder}")
    taken_over = ancestry.carry(made, place.home, place.project)
    words = ("run", CONFIG, "--json", "--offline", *taken_over)
    code, said = _athanor(words, place, place.project, _variables(made))
    earlier = made.facts.get("retraining", {}).get("bundle", "")
    every = (place.home / "bundles").glob("*/" + bundle.MANIFEST)
    found = [path for path in every if path.parent.name != earlier]
    if len(found) == 1:  # what a gate says afterwards is no part of a version
        # Signed by the key of a home that nobody knows: it is our own making, hashes say enough.
        return origin.of(bundle.open(found[0].parent, allow_unsigned=True))
    raise _error("the remake ended before it registered", said, code)


def _check_out(made: Origin, folder: Path) -> None:
    """The commit's files with the patch applied.

    Raises:
        IntegrityError: the commit lacks files, the patch does not fit it, or its lock file is
            another one than the version's.
    """
    objects = _git(
        provenance.source(), "rev-parse", "--path-format=absolute", "--git-path", "objects"
    )
    folder.mkdir(parents=True)
    _demand(_git(folder, "init", "--quiet"), made)
    files.write_bytes(folder / ".git/objects/info/alternates", objects.stdout)
    _demand(_git(folder, "checkout", "--quiet", "--detach", made.commit), made)
    if made.patch:
        apply = ("apply", "--binary", "--whitespace=nowarn", "-")
        _demand(_git(folder, *apply, given=made.patch), made)
    if provenance.lock(folder) != made.facts["lock"]:
        raise IntegrityError(
            f"constraints.txt of commit {made.commit[:12]} is not the lock file of the version",
            "compare scores instead: --tolerance POINTS",
        )


def _write_project(made: Origin, place: Place, tell: Tell) -> None:
    """A project that holds exactly what the version was made from."""
    config = made.config
    files.write_bytes(place.project / CONFIG, _yaml(config))
    for name in config["data"]:
        wanted = made.steps[f"validate-{name}"]["inputs"]["expectations"]
        files.write_bytes(place.project / f"configs/expectations/{name}.yaml", _yaml(wanted))
    _bring_data(made, place, tell)
    tree = scan(place.project / "data")
    pointer.write_listing(place.project, tree)
    out = {"md5": tree.digest, "size": tree.size_bytes, "nfiles": len(tree.files)}
    entry = {"outs": [{**out, "hash": "md5", "path": "data"}]}
    files.write_bytes(place.project / pointer.POINTER, _yaml(entry))


def _bring_data(made: Origin, place: Place, tell: Tell) -> None:
    """Each data set with its recorded digest: from a `data/` at hand, else pulled.

    Raises:
        UsageError: nobody has it.
        ServiceUnreachable: whoever has it does not answer.
    """
    trees = {name: _tree(made, name) for name in made.config["data"]}
    roots = [*_project_here(), provenance.source()]
    there = {
        n: [r / "data" / n for r in roots if _holds(r / "data" / n, t)] for n, t in trees.items()
    }
    lacking = [name for name, places in there.items() if not places]
    if lacking:
        tell(f"pulling {', '.join(lacking)}")
        _pull(lacking, trees, place)
    for name, places in there.items():
        source = places[0] if places else place.source / "data" / name
        shutil.copytree(source, place.project / "data" / name)


def _pull(names: Sequence[str], trees: dict[str, str], place: Place) -> None:
    """Data sets that the checkout records, from the remote of the project or the archives."""
    known = (
        pointer.recorded(place.source) if (place.source / pointer.LISTING).exists() else Tree({})
    )
    for name in names:
        if known.part(name).digest != trees[name]:
            raise UsageError(
                f"data set {name!r} with digest {trees[name][:12]} is not in data/ here, and the "
                "version's commit records no such data",
                f"bring it to data/{name} (athanor data verify {name} shows its digest)",
            )
    for root in _project_here():  # a remote that was named after that commit
        if dvc.used(root):
            for name in ("config", "config.local"):
                if (root / ".dvc" / name).is_file():
                    files.copy(root / ".dvc" / name, place.source / ".dvc" / name)
    for home in _home_here():  # each archive is proven by its sha256 when it is used
        if (home / "archives").is_dir():
            shutil.copytree(home / "archives", place.home / "archives")
    code, said = _athanor(("data", "pull", *names, "--json"), place, place.source, {})
    if code:
        raise _error("the data cannot be brought", said, code)


def _holds(folder: Path, tree: str) -> bool:
    try:
        return scan(folder).digest == tree
    except AthanorError:
        return False


def _tree(made: Origin, name: str) -> str:
    return made.steps[f"validate-{name}"]["inputs"]["raw"]["tree"]


def _project_here() -> list[Path]:
    try:
        return [project.root()]
    except UsageError:
        return []


def _home_here() -> list[Path]:
    try:
        return [project.home()]
    except UsageError:
        return []


def _variables(made: Origin) -> dict[str, str]:
    return dict(made.facts["environment"])


def _athanor(
    words: Sequence[str], place: Place, folder: Path, variables: dict[str, str]
) -> tuple[int, dict[str, Any]]:
    """A command of the checkout's own: its exit code and its document."""
    paths = (str(place.source), os.environ.get("PYTHONPATH"))
    ours = {
        "ATHANOR_HOME": str(place.home),
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    output = place.folder / "answer.json"
    code = inner.athanor(words, folder, variables | ours, output)
    try:
        return code, json.loads(output.read_bytes())
    except ValueError:
        return code, {}


def _error(what: str, said: dict[str, Any], code: int) -> AthanorError:
    """The error that a command of the checkout told."""
    told = said.get("error", {})
    kind = vars(errors).get(told.get("kind", ""), AthanorError)
    error = kind(
        f"{what}: {told.get('message', f'exit code {code}')}",
        told.get("remedy", "keep its folder and look: --keep"),
    )
    error.exit_code = code if code > 0 else 70
    return error


def _yaml(value: Any) -> bytes:
    """JSON, which our reader of YAML takes."""
    return json.dumps(value, indent=1, ensure_ascii=False).encode() + b"\n"


def _demand(done: subprocess.CompletedProcess[bytes], made: Origin) -> None:
    if done.returncode:
        last = (done.stderr.decode(errors="replace").strip().splitlines() or ["no message"])[-1]
        what = "patch on commit" if "apply" in done.args else "commit"
        raise IntegrityError(
            f"git cannot check out {what} {made.commit[:12]}: {last}",
            "see what the clone lacks: git fsck; bring it: git fetch --refetch",
        )


def _git(folder: Path, *words: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """git in a folder, deaf to hooks, line endings and variables of the user's."""
    plain = ("-c", "core.hooksPath=/dev/null", "-c", "core.autocrlf=false")
    return subprocess.run(
        ["git", *plain, *words],
        cwd=folder,
        env={n: v for n, v in os.environ.items() if not n.startswith("GIT_")},
        input=given,
        capture_output=True,
        check=False,
    )
