"""The command that makes a version again."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from pipelines.commands import Command, answer


def _reproduce_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("model", nargs="?", default="", help="NAME/version or NAME@alias")
    parser.add_argument(
        "--from-manifest",
        type=Path,
        metavar="FILE",
        dest="manifest",
        help="a bundle's folder or its provenance.json; no registry is asked",
    )
    parser.add_argument(
        "--tolerance",
        type=float,
        metavar="POINTS",
        help="compare scores instead of bytes, on any machine and libraries",
    )
    parser.add_argument(
        "--allow-unsigned",
        action="store_true",
        help="run the code of a version that no trusted key signed; it is noted",
    )
    parser.add_argument("--keep", action="store_true", help="keep the folder of the remake")


def _reproduce(options: Namespace) -> int:
    from pipelines import reproducing

    wishes = reproducing.Wishes(
        options.model, options.manifest, options.tolerance, options.keep, options.allow_unsigned
    )
    found = reproducing.reproduce(wishes)
    answer(options, reproducing.document(found), reproducing.text(found))
    return reproducing.exit_code(found)


COMMANDS = (
    Command(
        "reproduce",
        _reproduce,
        "make a registered version again and compare it byte for byte",
        _reproduce_arguments,
    ),
)
