"""`athanor`: the process around every command: its arguments, errors and exit code."""

import argparse
import difflib
import gc
import json
import re
import shlex
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType
from typing import Any

from components import disk
from components.bucket import asking
from components.errors import AthanorError, IntegrityError, UsageError
from components.project import OtherLayout, place
from pipelines.commands import (
    deployments,
    house,
    keeping,
    models,
    reproduction,
    retraining,
    running,
    runs,
    shipping,
    trust,
    workers,
)

EPILOG = """\
exit codes: 0 done, 2 usage or config, 3 data refused, 4 gate not passed, 5 service unreachable,
6 bytes are not what was recorded, 7 disk or memory short, 130 and 143 interrupted, 70 our bug
"""

SUBJECTS = (
    running,
    runs,
    retraining,
    deployments,
    shipping,
    models,
    trust,
    reproduction,
    house,
    workers,
    keeping,
)
"""Modules of commands, in the order of `athanor --help`."""

TERMINATED = 128 + signal.SIGTERM

COLLECTED_AFTER = 50_000
"""New objects between two looks for garbage; at Python's 700 they cost a third of all imports."""


def main() -> None:
    """The process: arguments in, exit code out."""
    gc.set_threshold(COLLECTED_AFTER)
    signal.signal(signal.SIGTERM, _terminated)
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """The exit code of one command; its answer is printed."""
    options = argparse.Namespace(json="--json" in arguments, debug="--debug" in arguments)
    try:
        options = _parsed(arguments)
        _reap()
        return _answered(options)
    except AthanorError as error:
        if options.debug:
            raise
        return _refused(options, error)
    except KeyboardInterrupt as stop:
        return _failed(options, _interrupted(arguments, stop), 130)
    except SystemExit as stop:
        if stop.code != TERMINATED:
            raise  # the end of --help
        return _failed(options, _interrupted(arguments, stop), TERMINATED)
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except PermissionError as error:
        if options.debug:
            raise
        message = f"{error.filename} may not be read or written: {error.strerror}"
        remedy = f"give yourself the right: chmod u+rw {shlex.quote(str(error.filename))}"
        return _failed(options, ("IntegrityError", message, remedy), IntegrityError.exit_code)
    except Exception as error:
        if options.debug:
            raise
        if told := disk.shortage(error) or asking.meaning(error):
            return _refused(options, told)
        last = (str(error).strip().splitlines() or [""])[-1]
        message = f"this is a bug: {type(error).__name__}: {last}"
        remedy = "run the same command with --debug and report what it prints"
        return _failed(options, ("Bug", message, remedy), 70)


def _refused(options: argparse.Namespace, error: AthanorError) -> int:
    """The exit code of an error that a user can mend."""
    kind = type(error).__name__
    return _failed(options, (kind, error.message, error.remedy), error.exit_code)


def _answered(options: argparse.Namespace) -> int:
    """The exit code of the command; a home of an older layout is upgraded, then it is asked."""
    try:
        return options.command(options)
    except OtherLayout as found:
        if not found.older:
            raise
    from components.keeping import upgrades

    home = place()
    print(f"athanor: {home} is of an older layout: copying, then upgrading it", file=sys.stderr)
    if (copy := upgrades.settle(home)) is not None:
        print(f"athanor: upgraded; as it was: {copy}", file=sys.stderr)
    return options.command(options)


def _failed(options: argparse.Namespace, said: tuple[str, str, str], code: int) -> int:
    """The exit code, after kind, message and remedy are told."""
    kind, message, remedy = said
    if options.json:
        error = {"kind": kind, "message": message, "remedy": remedy, "exit_code": code}
        print(json.dumps({"error": error}, ensure_ascii=False))
    print(f"athanor: {message}", file=sys.stderr)
    if remedy:
        print(f"  -> {remedy}", file=sys.stderr)
    return code


def _interrupted(arguments: Sequence[str], stop: BaseException) -> tuple[str, str, str]:
    """What an interrupted command says: a run, which notes how, goes on from its checkpoint."""
    for command in vars(stop).get("__notes__", ()):
        return "Interrupted", "interrupted; finished steps and checkpoints are kept", command
    return "Interrupted", "interrupted", shlex.join(["athanor", *arguments])


def _reap() -> None:
    """Mark the runs whose process died: milliseconds, and never in a command's way."""
    from pipelines import reaping

    with suppress(AthanorError, OSError):
        reaping.records()


def _terminated(number: int, frame: FrameType | None) -> None:
    """SIGTERM ends the process as Ctrl-C does: in order, with a checkpoint."""
    raise SystemExit(TERMINATED)


def _parsed(arguments: Sequence[str]) -> argparse.Namespace:
    """The options of a command line.

    Raises:
        UsageError: it has a word or an option that no command knows.
    """
    options, unknown = _parser().parse_known_args(arguments)
    if unknown:
        command: argparse.ArgumentParser = options.parser
        known = sorted(set(re.findall(r"--[a-z][\w-]*", command.format_help())))
        wrong = unknown[0].partition("=")[0]
        near = difflib.get_close_matches(wrong, known, 1)
        hint = f"did you mean {near[0]}? See: " if near else ""
        raise UsageError(f"{command.prog} takes no {wrong!r}", f"{hint}{command.prog} --help")
    return options


def _parser() -> argparse.ArgumentParser:
    shared = _Parser(add_help=False)
    shared.add_argument("--json", action="store_true", help="print exactly one JSON document")
    shared.add_argument("--debug", action="store_true", help="show tracebacks")
    parser = _Parser(
        prog="athanor",
        description="From raw data to a compressed, proven, registered model, again and again.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    for subject in SUBJECTS:
        for command in subject.COMMANDS:
            made = commands.add_parser(
                command.name,
                help=command.text,
                description=command.text,
                parents=[shared],
                allow_abbrev=False,
            )
            command.arguments(made)
            made.set_defaults(command=command.run, parser=made)
    return parser


class _Parser(argparse.ArgumentParser):
    """Says the nearest word to a wrong one."""

    def error(self, message: str) -> Any:
        """Refuse the command line.

        Raises:
            UsageError: always.
        """
        remedy = f"{self.prog} --help"
        wrong = re.search(r"invalid choice: '([^']*)' \(choose from (.*)\)", message)
        if wrong:
            known = re.findall(r"[\w-]+", wrong[2])
            near = difflib.get_close_matches(wrong[1], known, 1)
            message = f"{self.prog} knows no {wrong[1]!r}"
            remedy = f"did you mean {near[0]}?" if near else f"there are: {', '.join(known)}"
        raise UsageError(message, remedy)


if __name__ == "__main__":
    main()
