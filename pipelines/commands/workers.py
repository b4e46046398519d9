"""Commands about workers of other machines."""

import sys
from argparse import ArgumentParser, Namespace

from pipelines.commands import Command


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--server", required=True, metavar="URL", help="its door: athanor up there")
    parser.add_argument("--slots", type=int, metavar="N", help="steps without a device at once")
    parser.add_argument("--devices", metavar="0,1", help="devices that it gives; all without it")
    parser.add_argument("--name", metavar="NAME", help="its name; the host's without it")


def _worker(options: Namespace) -> int:
    from pipelines.remote import service

    wanted = service.Wanted(options.server, options.name, options.slots, options.devices)
    service.serve(wanted, _say)
    return 0


COMMANDS = (
    Command("worker", _worker, "do steps for the runs of another machine's athanor up", _arguments),
)
