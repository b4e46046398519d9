"""Commands about registered models."""

from argparse import ArgumentParser, Namespace

from components.errors import IntegrityError
from pipelines.commands import Command, answer


def _predict_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("model", help="NAME, NAME@alias or NAME/version")
    parser.add_argument("text", nargs="*", help="texts to label")
    parser.add_argument("--file", help="a .csv or .jsonl of texts, or a picture")
    _unsigned(parser)


def _unsigned(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--allow-unsigned",
        action="store_true",
        help="take a version that no trusted key signed; it is recorded",
    )


def _predict(options: Namespace) -> int:
    from pipelines import predicting

    answers = predicting.predict(
        options.model, tuple(options.text), options.file, options.allow_unsigned
    )
    answer(options, predicting.as_json(answers), predicting.as_text(answers))
    return 0


def _models(options: Namespace) -> int:
    from pipelines import shelf

    found = shelf.models()
    answer(options, shelf.models_document(found), shelf.models_text(found))
    return 0


def _compare_arguments(parser: ArgumentParser) -> None:
    what = "NAME/version, NAME@alias, a run, or a config's last run; :VARIANT may follow"
    parser.add_argument("a", metavar="A", help=what)
    parser.add_argument("b", metavar="B", help="the same; what is said of B is said beside A")
    parser.add_argument("--html", metavar="FILE", help="write the page to this file too")
    parser.add_argument(
        "--examples", type=int, default=12, metavar="N", help="rows lost and won that are shown"
    )


def _compare(options: Namespace) -> int:
    from pipelines import comparison
    from pipelines.comparison import text

    found = comparison.compare(options.a, options.b, options.examples, options.html)
    document = comparison.document(found)
    answer(options, document, "" if options.json else text.text(found.compared, found.where))
    return 0


def _promote_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("name")
    parser.add_argument("version", type=int)
    parser.add_argument("--force", action="store_true", help="without a passed verdict")
    parser.add_argument("--reason", default="", help="kept in the history for good")
    _unsigned(parser)


def _promote(options: Namespace) -> int:
    from pipelines import shelf
    from pipelines.deployments import events

    moved = shelf.promote(
        options.name, options.version, options.force, options.reason, options.allow_unsigned
    )
    events.moved(moved)
    answer(options, moved.model_dump(mode="json"), shelf.moved_text(moved))
    return 0


def _rollback_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("name")
    parser.add_argument("--to", type=int, metavar="VERSION", help="an earlier champion")
    parser.add_argument("--reason", default="")


def _rollback(options: Namespace) -> int:
    from pipelines import shelf
    from pipelines.deployments import events

    moved = shelf.rollback(options.name, options.reason, options.to)
    events.moved(moved)
    answer(options, moved.model_dump(mode="json"), shelf.moved_text(moved))
    return 0


def _history_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("name")
    asked = parser.add_mutually_exclusive_group()
    asked.add_argument("--at", metavar="DATE", help="who was champion on that date or at that time")
    asked.add_argument("--verify", action="store_true", help="find what is not as it was written")
    asked.add_argument("--accept", type=int, metavar="ENTRY", help="let a finding stand")
    parser.add_argument("--reason", default="", help="of --accept, kept for good")


def _history(options: Namespace) -> int:
    from pipelines import shelf

    if options.at is not None:
        held = shelf.held(options.name, options.at)
        answer(options, held.model_dump(mode="json"), shelf.held_text(held))
        return 0
    if options.verify:
        found = shelf.verify(options.name)
        answer(options, found.model_dump(mode="json"), shelf.verified_text(found))
        return IntegrityError.exit_code if found.findings else 0
    if options.accept is not None:
        written = shelf.accept(options.name, options.accept, options.reason)
        answer(options, shelf.history_document(written), shelf.history_text(written))
        return 0
    events = shelf.history(options.name)
    answer(options, shelf.history_document(events), shelf.history_text(events))
    return 0


COMMANDS = (
    Command(
        "predict", _predict, "labels from a registered model, without PyTorch", _predict_arguments
    ),
    Command("models", _models, "list registered models and their champions"),
    Command("compare", _compare, "two versions or runs on the same test rows", _compare_arguments),
    Command(
        "promote",
        _promote,
        "make a version the champion, past the gate with a reason",
        _promote_arguments,
    ),
    Command("rollback", _rollback, "put an earlier champion back", _rollback_arguments),
    Command(
        "history",
        _history,
        "what became of each version, verified",
        _history_arguments,
    ),
)
