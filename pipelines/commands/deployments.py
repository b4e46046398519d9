"""Commands about what runs without being asked."""

from argparse import ArgumentParser, Namespace

from pipelines.commands import Command, answer


def _deploy_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--dry-run", action="store_true", help="show the difference, write nothing")
    parser.add_argument("--prune", action="store_true", help="remove what the file does not name")
    parser.add_argument(
        "--overwrite",
        action="append",
        default=[],
        metavar="NAME",
        help="put the file's back where somebody edited the deployment in Prefect",
    )


def _deploy(options: Namespace) -> int:
    from pipelines.deployments import applying

    ask = applying.Ask(
        mode="show" if options.dry_run else "apply",
        unlisted="remove" if options.prune else "keep",
        overwrite=tuple(options.overwrite),
    )
    found = applying.deploy(ask)
    answer(options, found.model_dump(mode="json"), applying.text(found))
    return 0


def _schedule(options: Namespace) -> int:
    from pipelines.deployments import slots

    found = slots.plan()
    answer(options, found.model_dump(mode="json"), slots.text(found))
    return 0


def _event_arguments(parser: ArgumentParser) -> None:
    from pipelines.deployments.words import EVENTS

    parser.add_argument("name", choices=tuple(EVENTS))
    parser.add_argument("--subject", default="", help="what it is about: a data set, a model")
    parser.add_argument(
        "--payload", default="", metavar="JSON", help="""such as '{"digest": "d1"}'"""
    )


def _event(options: Namespace) -> int:
    from pipelines.deployments import events

    sent = events.announce(options.name, options.subject, options.payload)
    answer(options, sent, f"{sent['event']} was told to Prefect")
    return 0


COMMANDS = (
    Command(
        "deploy", _deploy, "make Prefect's deployments like configs/deployments.yaml",
        _deploy_arguments,
    ),
    Command("schedule", _schedule, "list the next slots, and what a change of the clock does"),
    Command("event", _event, "tell Prefect of an event that starts deployments", _event_arguments),
)  # fmt: skip
