"""Commands that keep the house: freeing, copying and putting back its state, guarding a push."""

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from pipelines.commands import Command, answer


def _gc_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--older-than", type=_days, default=30.0, metavar="DAYS", dest="days")
    parser.add_argument("--apply", action="store_true", help="free what is not needed")


def _days(text: str) -> float:
    days = float(text)
    if not 0 <= days < 1e6:
        raise ValueError(text)
    return days


def _gc(options: Namespace) -> int:
    from pipelines import sweep

    swept = sweep.sweep(options.days, options.apply)
    answer(options, sweep.document(swept), sweep.text(swept))
    return 0


def _backup_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="a new file, such as house.tar.gz")


def _backup(options: Namespace) -> int:
    from components import leases, project
    from components.keeping import backup
    from pipelines import bucket, database

    home = project.home()
    with leases.using():  # gc waits
        saved = backup.save(home, Path(options.file), dump=database.dump)
    sizes = f"{saved.home_bytes / 1e6:.1f} MB as {saved.size_bytes / 1e6:.1f} MB"
    text = f"{saved.file}: {saved.members} files, {sizes}, layout {saved.layout}"
    lines = [text, *bucket.backup_lines()]
    answer(options, saved.model_dump(mode="json"), "\n".join(lines))
    return 0


def _restore_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="what athanor backup wrote")
    parser.add_argument("--replace", action="store_true", help="move the home that is there aside")


def _restore(options: Namespace) -> int:
    from components import project
    from components.keeping import restoring, upgrades

    restored = restoring.restore(Path(options.file), project.place(), options.replace)
    upgrades.settle(project.place())
    from pipelines import database

    lines = [f"{restored.home}: {restored.members} files of {restored.made_at}, all verified"]
    if restored.aside:
        lines.append(f"the home that was there is now {restored.aside}")
    lines += database.restore_lines(project.place())
    answer(options, restored.model_dump(mode="json"), "\n".join(lines))
    return 0


def _guard_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("verb", choices=("install", "check", "remove"))
    parser.add_argument("--remote", default="", metavar="NAME", help="DVC's, if not its default")
    parser.add_argument(
        "--pushed", metavar="GIT_REMOTE", help="read what git tells a pre-push hook from stdin"
    )


def _guard(options: Namespace) -> int:
    from pipelines import guard, hook

    if options.verb == "check":
        by_git = options.pushed is not None
        pushes = guard.pushed(sys.stdin.read().splitlines()) if by_git else None
        found = guard.check(options.remote, pushes, options.pushed or "")
        answer(options, found.model_dump(mode="json"), guard.text(found))
        return guard.exit_code(found)
    done = hook.install(options.remote) if options.verb == "install" else hook.remove()
    text = f"{done.hook}: {'guards every push' if done.installed else 'guards no push'}"
    kept = f"; your own hook runs first: {done.kept}" if done.kept else ""
    answer(options, done.model_dump(mode="json"), text + kept)
    return 0


COMMANDS = (
    Command(
        "gc", _gc, "say what of the home nothing needs any more; --apply frees it", _gc_arguments
    ),
    Command(
        "backup", _backup, "copy the whole home into one file, while runs go on", _backup_arguments
    ),
    Command(
        "restore", _restore, "make the home of such a file, every byte verified", _restore_arguments
    ),
    Command(
        "guard",
        _guard,
        "refuse a git push of data or versions that a clone could not get",
        _guard_arguments,
    ),
)
