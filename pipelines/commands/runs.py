"""Commands about runs that were begun: what ran, what it said, and going on."""

from argparse import ArgumentParser, Namespace

from pipelines.commands import Command, answer

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
        answer(options, logs.document(story.record, lines), "")
        return 0
    for part in logs.parts(story, options.follow):
        for line in part:
            print(logs.text(line), flush=options.follow)
    return 0


def _resume_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help=RUN)


def _resume(options: Namespace) -> int:
    from pipelines import receipt, retrain, running, runs
    from pipelines.retraining import words

    record = runs.find(options.run)
    report = running.resume(record.id)
    found = retrain.told(report, record)
    text = receipt.as_text(report) if found is None else words.text(found)
    answer(options, receipt.as_json(report), text)
    return report.exit_code


COMMANDS = (
    Command("resume", _resume, "go on with a run that did not finish", _resume_arguments),
    Command("runs", _runs, "list runs and what became of them, newest first", _runs_arguments),
    Command("logs", _logs, "tell what happened in a run", _logs_arguments),
)
