"""The command that lets a model go on with new data."""

import sys
from argparse import ArgumentParser, Namespace

from pipelines.commands import Command, answer


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument("config", help="a YAML file, such as configs/quickstart.yaml")
    parser.add_argument(
        "--data",
        choices=("pull", "incoming", "as-is"),
        default="pull",
        help="pull what data.dvc records, take in the shards of incoming/, or neither",
    )
    parser.add_argument("--reason", default="", metavar="TEXT", help="kept with run and version")
    parser.add_argument(
        "--set", action="append", default=[], metavar="a.b=value", dest="assignments"
    )


def _retrain(options: Namespace) -> int:
    if not options.json:
        print(f"athanor: reading {options.config}", file=sys.stderr, flush=True)
    from pipelines import retrain
    from pipelines.retraining import words

    found = retrain.retrain(options.config, options.reason, options.assignments, options.data)
    answer(options, words.document(found), words.text(found))
    return found.exit_code


COMMANDS = (
    Command("retrain", _retrain, "train the champion further on new data, and judge", _arguments),
)
"""In the order of `athanor --help`."""
