"""Commands about runs that were begun: what ran, what it said, and going on."""

import sys
from argparse import ArgumentParser, Namespace

from pipelines.commands import Command, answer
from pipelines.commands.running import executed, ways

RUN = "id of a run, its beginning, or `latest`"


def _runs_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("-n", type=int, default=20, metavar="N", help="how many; 20 without it")


def _runs(options: Namespace) -> int:
    from pipelines import listing

    found = listing.newest(options.n)
    answer(options, listing.document(found), listing.text(found))
    return 0


def _logs_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help=RUN)
    parser.add_argument("-f", "--follow", action="store_true", help="until the run ends")


def _logs(options: Namespace) -> int:
    from pipelines import logs

    story = logs.Story(options.run)
    if options.json:
        lines = [line for part in logs.parts(story, options.follow) for line in part]
        answer(options, logs.document(story.run, story.state, lines), "")
        return 0
    for part in logs.parts(story, options.follow):
        for line in part:
            print(logs.text(line), flush=options.follow)
    return 0


def _again_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help=RUN)
    ways(parser)


def _resume(options: Namespace) -> int:
    from pipelines import running

    return executed(options, running.going_on(options.run))


def _retry(options: Namespace) -> int:
    from pipelines import following

    return executed(options, following.again(options.run))


def _cancel_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help=RUN)


def _cancel(options: Namespace) -> int:
    from pipelines import cancelling

    done = cancelling.cancel(
        options.run, lambda text: print(f"athanor: {text}", file=sys.stderr, flush=True)
    )
    answer(options, done.model_dump(mode="json"), cancelling.text(done))
    return 0


COMMANDS = (
    Command("resume", _resume, "go on with a run that did not finish", _again_arguments),
    Command(
        "retry", _retry, "go on with a run that ended badly, or begin it anew", _again_arguments
    ),
    Command(
        "cancel",
        _cancel,
        "stop a run at a checkpoint, or take it from the queue",
        _cancel_arguments,
    ),
    Command("runs", _runs, "list runs and what became of them, newest first", _runs_arguments),
    Command("logs", _logs, "tell what happened in a run", _logs_arguments),
)
