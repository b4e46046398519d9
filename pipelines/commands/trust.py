"""Commands about who vouches for versions."""

from argparse import ArgumentParser, Namespace

from pipelines.commands import Command, answer


def _keys_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("verb", nargs="?", choices=("list", "init"), default="list")


def _keys(options: Namespace) -> int:
    from pipelines import trust

    if options.verb == "init":
        made = trust.init()
        answer(options, made.model_dump(mode="json"), trust.init_text(made))
    else:
        found = trust.keys()
        answer(options, trust.keys_document(found), trust.keys_text(found))
    return 0


def _verify_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("model", help="NAME, NAME@alias or NAME/version")


def _verify(options: Namespace) -> int:
    from components.registry import verifying
    from pipelines import trust

    found = verifying.verify(options.model)
    answer(options, found.model_dump(mode="json"), trust.verified_text(found))
    return 0


COMMANDS = (
    Command(
        "verify",
        _verify,
        "prove that every file of a version is what was signed",
        _verify_arguments,
    ),
    Command("keys", _keys, "list trusted keys; init: make this home's known", _keys_arguments),
)
