"""Commands about runs of a config."""

import sys
from argparse import SUPPRESS, ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.commands import Command, answer

if TYPE_CHECKING:
    from pipelines.running import Asked


def _config(parser: ArgumentParser) -> None:
    parser.add_argument("config", help="a YAML file, such as configs/quickstart.yaml")
    _wishes(parser)


def _wishes(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--set", action="append", default=[], metavar="a.b=value", dest="assignments"
    )
    parser.add_argument("--force", action="append", default=[], metavar="STEP")
    parser.add_argument("--from", default=None, metavar="STEP", dest="start")


def _run_arguments(parser: ArgumentParser) -> None:
    _config(parser)
    parser.add_argument("--offline", action="store_true", help="fetch no data")
    parser.add_argument("--retraining", type=Path, metavar="FILE", help=SUPPRESS)  # of a remake
    ways(parser)


def ways(parser: ArgumentParser) -> None:
    """Where the run works, and who waits for it."""
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument(
        "--detach",
        dest="way",
        action="store_const",
        const="detach",
        default="follow",
        help="leave the run to the worker, print its id",
    )
    chosen.add_argument(
        "--here",
        dest="way",
        action="store_const",
        const="here",
        help="execute in this process, though a worker is up",
    )


def executed(options: Namespace, asked: "Asked") -> int:
    """Execute what was asked for; the answer is its receipt."""
    from pipelines import following, receipt, retrain
    from pipelines.retraining import words

    try:
        report = following.execute(asked, options.way)
    except following.Detached as detached:
        answer(options, detached.document, detached.text)
        return 0
    found = retrain.told(report, asked.before) if asked.before else None
    text = receipt.as_text(report) if found is None else words.text(found)
    answer(options, receipt.as_json(report), text)
    return report.exit_code


def _run(options: Namespace) -> int:
    if not options.json:
        print(f"athanor: reading {options.config}", file=sys.stderr, flush=True)
    from pipelines import running

    return executed(options, running.asked(Path(options.config), running.wishes_of(options)))


def _plan(options: Namespace) -> int:
    from pipelines import running

    outlooks = running.plan(Path(options.config), running.wishes_of(options))
    answer(options, running.plan_document(outlooks), running.plan_text(outlooks))
    return 0


def _why_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("step", nargs="?", default="", help="one step; all without it")
    parser.add_argument("--config", default="configs/quickstart.yaml")
    _wishes(parser)


def _why(options: Namespace) -> int:
    from pipelines import running

    found = running.why(Path(options.config), options.step, running.wishes_of(options))
    answer(options, running.plan_document(found), running.why_text(found))
    return 0


COMMANDS = (
    Command("run", _run, "run a config: cached steps are not repeated", _run_arguments),
    Command("plan", _plan, "show which steps would run, and why", _config),
    Command("why", _why, "show what changed for a step since its last result", _why_arguments),
)
