"""`athanor guard install` and `remove`: git's pre-push hook, beside one that is there already."""

import hashlib
import os
import shlex
import subprocess
import sys
from pathlib import Path

from components import files, project
from components.errors import UsageError
from components.records import Record

MARK = "# athanor guard"
NAME, KEPT = "pre-push", "pre-push.before-athanor"
HOOK = """\
#!/bin/sh
{mark}: refuses a push of what a clone could not use. Take it out with: athanor guard remove
# {seal}
pushed="$(cat)"
kept="$(dirname "$0")/{kept}"
if [ -x "$kept" ]; then
    printf '%s\\n' "$pushed" | "$kept" "$@" || exit
fi
cd "$(git rev-parse --show-toplevel)"/{inside} || exit
unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE
printf '%s\\n' "$pushed" | {command} --pushed "$1" >&2
"""


class Hook(Record):
    """Where the hook lies, or lay."""

    hook: str
    installed: bool
    kept: str
    """The user's own hook, which runs first; empty where there is none."""


def install(remote: str) -> Hook:
    """Put the hook in place; a hook that is there is kept and runs before it.

    Raises:
        UsageError: no git here, hooks are shared by other repositories, or ours was edited.
    """
    root = project.root()
    path = _path(root)
    kept = path.with_name(KEPT)
    if path.exists():
        if not _ours(path):
            _keep(path, kept)
        elif not _whole(path):
            raise UsageError(
                f"{path} was edited since athanor guard wrote it",
                f"put your lines into a hook of their own: mv {path} {kept}, then install again",
            )
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_bytes(path, _text(root, remote), 0o755)
    return Hook(hook=str(path), installed=True, kept=str(kept) if kept.exists() else "")


def remove() -> Hook:
    """Take the hook out; the one that was there before is in its place again.

    Raises:
        UsageError: the hook is not ours, or was edited.
    """
    path = _path(project.root())
    kept = path.with_name(KEPT)
    if not path.exists():
        return Hook(hook=str(path), installed=False, kept="")
    if not (_ours(path) and _whole(path)):
        raise UsageError(f"{path} is not what athanor guard wrote", f"look at it: cat {path}")
    if kept.exists():
        kept.replace(path)
    else:
        path.unlink()
    return Hook(hook=str(path), installed=False, kept="")


def git(root: Path, *words: str) -> str:
    """What a git command prints.

    Raises:
        UsageError: it fails; with its own words.
    """
    done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise UsageError(f"git {words[0]} fails in {root}: {last}", "git status")
    return done.stdout


def _path(root: Path) -> Path:
    """The repository's own pre-push hook."""
    folder = (root / git(root, "rev-parse", "--git-path", "hooks").strip()).resolve()
    common = (root / git(root, "rev-parse", "--git-common-dir").strip()).resolve()
    top = Path(git(root, "rev-parse", "--show-toplevel").strip()).resolve()
    if not (folder.is_relative_to(common) or folder.is_relative_to(top)):
        raise UsageError(
            f"git takes its hooks from {folder} (core.hooksPath), which other repositories share",
            'add to the pre-push hook there: athanor guard check --pushed "$1"',
        )
    return folder / NAME


def _text(root: Path, remote: str) -> bytes:
    inside = os.path.relpath(root, git(root, "rev-parse", "--show-toplevel").strip())
    words = [sys.executable, "-m", "pipelines.cli", "guard", "check"]
    words += ["--remote", remote] if remote else []
    facts = {
        "mark": MARK,
        "kept": KEPT,
        "inside": shlex.quote(inside),
        "command": shlex.join(words),
    }
    return HOOK.format(**facts, seal=_seal(HOOK.format(**facts, seal="").encode())).encode()


def _ours(path: Path) -> bool:
    return MARK.encode() in path.read_bytes()


def _whole(path: Path) -> bool:
    """Whether nobody edited the hook since it was written."""
    lines = path.read_bytes().splitlines(keepends=True)
    seal = lines[2].removeprefix(b"# ").strip().decode() if len(lines) > 2 else ""
    return _seal(b"".join([*lines[:2], b"# \n", *lines[3:]])) == seal


def _seal(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()


def _keep(path: Path, kept: Path) -> None:
    """Give the user's hook its other name; a kill in between leaves it under both."""
    if kept.exists() and kept.read_bytes() != path.read_bytes():
        raise UsageError(
            f"{path} and {kept} are both hooks of yours",
            f"make one of them, then install again: rm {kept}",
        )
    files.copy(path, kept)
    kept.chmod(path.stat().st_mode & 0o777)
