"""Commands about what is under way: runs, servers, and what they do not show yet."""

import sys
from argparse import ArgumentParser, Namespace

from pipelines.commands import Command, answer


def _status(options: Namespace) -> int:
    from pipelines import status

    found = status.status()
    answer(options, found.model_dump(mode="json"), status.text(found))
    return 0


def _sync_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--timeout", type=float, default=60.0, metavar="S", help="seconds to try")


def _sync(options: Namespace) -> int:
    from pipelines import status

    found = status.sync(options.timeout, lambda text: print(text, file=sys.stderr, flush=True))
    answer(options, found.model_dump(mode="json"), status.synced_text(found))
    return 0


COMMANDS = (
    Command("status", _status, "what runs, what answers, what is still to be shipped"),
    Command("sync", _sync, "ship to MLflow and Prefect what an outage held back", _sync_arguments),
)
