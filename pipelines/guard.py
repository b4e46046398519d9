"""`athanor guard check`: can whoever clones what is pushed get its data and its models?

Looked at are, of each pushed ref, the last commit and every commit that is new to the remote and
changes the record of the data. Nothing is fetched and nothing is written.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import yaml

from components import project
from components.data import archives, build, dvc, pointer
from components.data.tree import Tree
from components.errors import IntegrityError, UsageError
from components.records import Record
from pipelines.hook import git

NONE = re.compile(r"0+")
"""git's name for no commit."""
REFERENCE = re.compile(
    r"(?:models:/)?(?=[a-z0-9-]*[a-z])[a-z0-9][a-z0-9-]{0,62}(?:/v?\d+|@[A-Za-z][\w-]*)"
)
"""A value of a config that is all of this names a model's version."""
SHOWN = 3


class Problem(Record):
    """One reason why a push is refused."""

    about: str
    """`data` or `config`."""
    commit: str
    what: str
    fix: str
    """The exact command or act."""


class Guarded(Record):
    """What was looked at, and what is wrong with it."""

    refs: tuple[str, ...]
    commits: tuple[str, ...]
    """Those whose record of the data was looked at."""
    remote: str
    """DVC's remote; empty where data come from pinned archives."""
    references: tuple[str, ...]
    """Versions that configs name, as `file:line reference`."""
    problems: tuple[Problem, ...]


class Pushed(NamedTuple):
    """One ref that is pushed: its last commit, and the one that the remote has."""

    ref: str
    commit: str
    before: str


def check(remote: str, pushes: Sequence[Pushed] | None = None, target: str = "") -> Guarded:
    """Everything that is wrong with a push to `target`, a remote of git's; without one, with HEAD.

    `remote` is DVC's, empty for its default.

    Raises:
        ServiceUnreachable: the DVC remote or the registry does not answer.
        UsageError: no such DVC remote.
    """
    root = project.root()
    pushes = (_head(root),) if pushes is None else pushes
    remote = remote or (dvc.remote(root) if dvc.used(root) else "")
    commits = list(dict.fromkeys(c for push in pushes for c in _commits(root, push, target)))
    known: dict[tuple[bytes, bytes], str] = {}
    problems: list[Problem] = []
    for commit in commits:
        both = (_at(root, commit, pointer.POINTER), _at(root, commit, pointer.LISTING))
        if both[0] and known.setdefault(both, commit) == commit:
            problems += _of_data(root, commit, both, remote)
    named = [found for push in pushes for found in _references(root, push.commit)]
    return Guarded(
        refs=tuple(push.ref for push in pushes),
        commits=tuple(commits),
        remote=remote,
        references=tuple(f"{where} {reference}" for _, where, reference in named),
        problems=(*problems, *_of_references(named)),
    )


def pushed(lines: Sequence[str]) -> tuple[Pushed, ...]:
    """What git writes to a pre-push hook: local ref, its commit, remote ref, its commit."""
    found = []
    for line in lines:
        words = line.split()
        if len(words) == 4 and not NONE.fullmatch(words[1]):
            before = "" if NONE.fullmatch(words[3]) else words[3]
            found.append(Pushed(words[0], words[1], before))
    return tuple(found)


def exit_code(guarded: Guarded) -> int:
    """3 where data are lacking, 2 where a version is, else 0."""
    about = {problem.about for problem in guarded.problems}
    return 3 if "data" in about else 2 if about else 0


def text(guarded: Guarded) -> str:
    """What is wrong, each with its remedy."""
    if not guarded.problems:
        held = f"on the DVC remote {guarded.remote}" if guarded.remote else "in pinned archives"
        return f"{', '.join(guarded.refs) or 'nothing'}: data {held}, versions registered"
    lines = []
    for problem in guarded.problems:
        lines += [f"refused: {problem.what}", f"  -> {problem.fix}"]
    return "\n".join(lines)


def _head(root: Path) -> Pushed:
    commit = git(root, "rev-parse", "HEAD").strip()
    return Pushed("HEAD", commit, commit)


def _commits(root: Path, push: Pushed, target: str) -> Iterator[str]:
    """The last commit, and those before it that are new there and touch the record of the data."""
    yield git(root, "rev-parse", f"{push.commit}^{{commit}}").strip()
    new = [push.commit, *([f"^{push.before}"] if _there(root, push.before) else [])]
    if len(new) == 1:
        new += ["--not", f"--remotes={target}" if target else "--remotes"]
    yield from git(root, "rev-list", *new, "--", pointer.POINTER, pointer.LISTING).split()


def _there(root: Path, commit: str) -> bool:
    """Whether a commit of the remote's is known here."""
    if not commit:
        return False
    try:
        git(root, "cat-file", "-e", f"{commit}^{{commit}}")
    except UsageError:
        return False
    return True


def _at(root: Path, commit: str, name: str) -> bytes:
    """A file of a commit; empty where it has none."""
    try:
        return git(root, "show", f"{commit}:./{name}").encode()
    except UsageError:
        return b""


def _of_data(root: Path, commit: str, both: tuple[bytes, bytes], remote: str) -> Iterator[Problem]:
    at = commit[:10]
    try:
        tree = pointer.read(*both)
    except IntegrityError as error:
        what = f"at {at} {error.message}"
        yield Problem(about="data", commit=commit, what=what, fix=error.remedy)
        return
    problem = _lacking(root, tree, remote) if remote else _unpinned(root, commit, tree)
    if problem:
        what, fix = problem
        here = (root / pointer.POINTER).read_bytes() == both[0]
        fix = fix if here or not remote else f"{fix} --all-commits"
        yield Problem(
            about="data", commit=commit, what=f"{pointer.POINTER} at {at} {what}", fix=fix
        )


def _lacking(root: Path, tree: Tree, remote: str) -> tuple[str, str] | None:
    """Objects that are not on DVC's remote."""
    names = {file.md5: f"data/{path}" for path, file in tree.files.items()}
    names[tree.digest] = "the listing itself"
    lacking = dvc.missing(root, remote, names)
    if not lacking:
        return None
    shown = ", ".join(sorted(names[digest] for digest in lacking)[:SHOWN])
    more = f" and {len(lacking) - SHOWN} more" if len(lacking) > SHOWN else ""
    return (
        f"names {len(lacking)} of {len(names)} objects that are not on the DVC remote {remote!r}: "
        f"{shown}{more}",
        f"dvc push -r {remote}",
    )


def _unpinned(root: Path, commit: str, tree: Tree) -> tuple[str, str] | None:
    """Data sets that no pinned archive gives."""
    try:
        pins = archives.pinned(_at(root, commit, archives.LOCK) or b"[]")
    except IntegrityError as error:
        return f"cannot be built: {error.message}", error.remedy
    for name in tree.names:
        recipe = build.RECIPES.get(name)
        if recipe is None:
            return (
                f"names data set {name!r}, which is built from no archive, and there is no DVC "
                "remote to fetch it from",
                "dvc remote add -d NAME URL, then: dvc push -r NAME",
            )
        if recipe.source not in pins:
            return (
                f"names data set {name!r}, but {archives.LOCK} does not pin {recipe.source!r}",
                f"pin it again: git checkout HEAD~1 {archives.LOCK}",
            )
    return None


def _references(root: Path, commit: str) -> Iterator[tuple[str, str, str]]:
    """Commit, `file:line` and text of each value in a config that names a version."""
    names = git(root, "ls-tree", "-r", "--name-only", "-z", commit, "--", "configs").split("\0")
    for name in names:
        if not name.endswith((".yaml", ".yml")):
            continue
        try:
            for token in yaml.scan(_at(root, commit, name).decode(), yaml.SafeLoader):
                if isinstance(token, yaml.ScalarToken) and REFERENCE.fullmatch(token.value):
                    yield commit, f"{name}:{token.start_mark.line + 1}", token.value
        except yaml.YAMLError:
            continue  # a broken config is told by whoever reads it


def _of_references(named: Sequence[tuple[str, str, str]]) -> Iterator[Problem]:
    if not named:
        return
    from components import registry

    for commit, where, reference in named:
        try:
            registry.resolve(reference)
        except UsageError as error:
            what = f"{where} names {reference}: {error.message}"
            yield Problem(about="config", commit=commit, what=what, fix=error.remedy)
