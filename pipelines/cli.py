"""`athanor`: every command of the house. Heavy imports stand inside the commands."""

import argparse
import difflib
import json
import re
import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

from components.errors import AthanorError, UsageError

EPILOG = """\
exit codes: 0 done, 2 usage or config, 3 data refused, 4 gate not passed, 5 service unreachable,
6 bytes are not what was recorded, 7 disk or memory short, 130 and 143 interrupted, 70 our bug
"""

TERMINATED = 128 + signal.SIGTERM


def main() -> None:
    """The process: arguments in, exit code out."""
    signal.signal(signal.SIGTERM, _terminated)
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """The exit code of one command; its answer is printed."""
    options = argparse.Namespace(json="--json" in arguments, debug="--debug" in arguments)
    try:
        options = _parsed(arguments)
        return options.command(options)
    except AthanorError as error:
        if options.debug:
            raise
        kind = type(error).__name__
        return _failed(options, (kind, error.message, error.remedy), error.exit_code)
    except KeyboardInterrupt:
        return _failed(options, _interrupted(arguments), 130)
    except SystemExit as stop:
        if stop.code != TERMINATED:
            raise  # the end of --help
        return _failed(options, _interrupted(arguments), TERMINATED)
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except Exception as error:
        if options.debug:
            raise
        last = (str(error).strip().splitlines() or [""])[-1]
        message = f"this is a bug: {type(error).__name__}: {last}"
        remedy = "run the same command with --debug and report what it prints"
        return _failed(options, ("Bug", message, remedy), 70)


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


def _interrupted(arguments: Sequence[str]) -> tuple[str, str, str]:
    """What an interrupted command says: a run goes on from its last checkpoint."""
    command = shlex.join(["athanor", *arguments])
    if list(arguments[:1]) != ["run"]:
        return "Interrupted", "interrupted", command
    return "Interrupted", "interrupted; finished steps and checkpoints are kept", command


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

    def add(name: str, command: Callable[..., int], text: str) -> argparse.ArgumentParser:
        made = commands.add_parser(
            name, help=text, description=text, parents=[shared], allow_abbrev=False
        )
        made.set_defaults(command=command, parser=made)
        return made

    for name, command, text in (
        ("run", _run, "run a config: cached steps are not repeated"),
        ("plan", _plan, "show which steps would run, and why"),
        ("why", _why, "show what changed for a step since its last result"),
    ):
        made = add(name, command, text)
        _config_arguments(made, name)
    made = add("predict", _predict, "labels from a registered model, without PyTorch")
    made.add_argument("model", help="NAME, NAME@alias or NAME/version")
    made.add_argument("text", nargs="*", help="texts to label")
    made.add_argument("--file", help="a .csv or .jsonl of texts, or a picture")
    made = add("models", _models, "list registered models and their champions")
    made = add("promote", _promote, "make a version the champion, past the gate with a reason")
    made.add_argument("name")
    made.add_argument("version", type=int)
    made.add_argument("--force", action="store_true", help="without a passed verdict")
    made.add_argument("--reason", default="", help="kept in the history for good")
    made = add("rollback", _rollback, "put the champion before this one back")
    made.add_argument("name")
    made.add_argument("--reason", default="")
    made = add("history", _history, "what became of each version")
    made.add_argument("name")
    _data_arguments(add("data", _data, "pull, verify, look at or record the data sets"))
    made = add("up", _up, "start the MLflow and Prefect servers on 127.0.0.1")
    made.add_argument("--mlflow-port", type=int)
    made.add_argument("--prefect-port", type=int)
    add("down", _down, "stop the servers that up started")
    add("env", _env, 'for eval "$(athanor env)": plain mlflow, prefect and optuna use our stores')
    add("doctor", _doctor, "examine versions, stores, data and machine; print the exact fix")
    made = add("kinds", _kinds, "list every option that a config can choose")
    made.add_argument("which", nargs="?", default="", metavar="FAMILY[.OPTION]")
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


def _config_arguments(parser: argparse.ArgumentParser, name: str) -> None:
    if name == "why":
        parser.add_argument("step", nargs="?", default="", help="one step; all without it")
        parser.add_argument("--config", default="configs/quickstart.yaml")
    else:
        parser.add_argument("config", help="a YAML file, such as configs/quickstart.yaml")
    parser.add_argument(
        "--set", action="append", default=[], metavar="a.b=value", dest="assignments"
    )
    parser.add_argument("--force", action="append", default=[], metavar="STEP")
    parser.add_argument("--from", default=None, metavar="STEP", dest="start")
    if name == "run":
        parser.add_argument("--offline", action="store_true", help="fetch no data")


def _data_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("verb", choices=("pull", "verify", "status", "record"))
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--offline", action="store_true", help="fetch nothing")
    parser.add_argument("--replace", action="store_true", help="move files of yours aside")


def _answer(options: argparse.Namespace, document: Any, text: str) -> None:
    """The answer as one JSON document, or as text."""
    if options.json:
        print(json.dumps(document, ensure_ascii=False, allow_nan=False))
    else:
        print(text.rstrip("\n"))


def _run(options: argparse.Namespace) -> int:
    from pathlib import Path

    if not options.json:
        print(f"athanor: reading {options.config}", file=sys.stderr, flush=True)
    from pipelines import receipt, running

    report = running.run(Path(options.config), running.Wishes.of(options))
    _answer(options, receipt.as_json(report), receipt.as_text(report))
    return report.exit_code


def _plan(options: argparse.Namespace) -> int:
    from pathlib import Path

    from pipelines import running

    outlooks = running.plan(Path(options.config), running.Wishes.of(options))
    _answer(options, running.plan_document(outlooks), running.plan_text(outlooks))
    return 0


def _why(options: argparse.Namespace) -> int:
    from pathlib import Path

    from pipelines import running

    found = running.why(Path(options.config), options.step, running.Wishes.of(options))
    _answer(options, running.plan_document(found), running.why_text(found))
    return 0


def _predict(options: argparse.Namespace) -> int:
    from pipelines import predicting

    answers = predicting.predict(options.model, tuple(options.text), options.file)
    _answer(options, predicting.as_json(answers), predicting.as_text(answers))
    return 0


def _models(options: argparse.Namespace) -> int:
    from pipelines import shelf

    found = shelf.models()
    _answer(options, shelf.models_document(found), shelf.models_text(found))
    return 0


def _promote(options: argparse.Namespace) -> int:
    from pipelines import shelf

    moved = shelf.promote(options.name, options.version, options.force, options.reason)
    _answer(options, moved.model_dump(mode="json"), shelf.moved_text(moved))
    return 0


def _rollback(options: argparse.Namespace) -> int:
    from pipelines import shelf

    moved = shelf.rollback(options.name, options.reason)
    _answer(options, moved.model_dump(mode="json"), shelf.moved_text(moved))
    return 0


def _history(options: argparse.Namespace) -> int:
    from pipelines import shelf

    events = shelf.history(options.name)
    _answer(options, shelf.history_document(events), shelf.history_text(events))
    return 0


def _data(options: argparse.Namespace) -> int:
    from pipelines import data

    found = data.act(options.verb, tuple(options.names), options.offline, options.replace)
    _answer(options, found.model_dump(mode="json"), data.text(found))
    return data.exit_code(found)


def _up(options: argparse.Namespace) -> int:
    from components import project
    from pipelines import servers

    named = {"mlflow": options.mlflow_port, "prefect": options.prefect_port}
    ports = {name: port for name, port in named.items() if port is not None}
    up = servers.up(project.home(), ports, lambda text: print(text, file=sys.stderr))
    lines = [f"{name:<8} {link}" for name, link in up.links.items()]
    lines.append(f"The Prefect page asks once for what stands in {up.secret}")
    _answer(options, up.model_dump(mode="json"), "\n".join(lines))
    return 0


def _down(options: argparse.Namespace) -> int:
    from components import project
    from pipelines import servers

    stopped = servers.down(project.home())
    _answer(options, {"stopped": list(stopped)}, f"stopped: {', '.join(stopped) or 'nothing ran'}")
    return 0


def _env(options: argparse.Namespace) -> int:
    from components import project
    from pipelines import servers

    values = servers.environment(project.home())
    _answer(options, values, servers.shell(values))
    return 0


def _doctor(options: argparse.Namespace) -> int:
    from pipelines import doctor

    findings = doctor.examine()
    _answer(options, doctor.document(findings), doctor.text(findings))
    return doctor.exit_code(findings)


def _kinds(options: argparse.Namespace) -> int:
    from pipelines import kinds

    found = kinds.listed(options.which)
    _answer(options, kinds.document(found), kinds.text(found))
    return 0


if __name__ == "__main__":
    main()
