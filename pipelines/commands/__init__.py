"""The commands: a module a subject, a row a command.

These modules are imported for every `--help`: what is heavy is imported inside a command.
"""

import json
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from typing import Any, NamedTuple


def _none(_parser: ArgumentParser) -> None:
    """A command without arguments of its own."""


class Command(NamedTuple):
    """One word after `athanor`."""

    name: str
    run: Callable[[Namespace], int]
    """Prints the answer and gives the exit code."""
    text: str
    arguments: Callable[[ArgumentParser], None] = _none
    """Adds the command's arguments to its parser."""


def answer(options: Namespace, document: Any, text: str) -> None:
    """Print the answer, as one JSON document or as text."""
    if options.json:
        print(json.dumps(document, ensure_ascii=False, allow_nan=False))
    else:
        print(text.rstrip("\n"))
