"""`athanor retrain`: the champion's model goes on with new data, and a report to decide on.

Get new data > are they the champion's? > the chain of `pipelines.train`, from its weights and its
studies > both on the same new test rows > promoted or refused > the report.
"""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from components import leases
from components.bundle import Bundle
from components.registry import fetching, glance
from pipelines import ancestry, outages, running
from pipelines.config import RunConfig, load_run
from pipelines.receipt import Report
from pipelines.retraining import arrival, report
from pipelines.retraining.records import Retrained
from pipelines.runs import Retraining, RunRecord, Wishes

log = logging.getLogger(__name__)


@leases.held()
def retrain(
    config: str,
    reason: str = "",
    assignments: Sequence[str] | None = None,
    data: str = "pull",
    run: Callable[[Path, Wishes], Report] = running.run,
) -> Retrained:
    """What became of the model of a config: trained further on new data, or left as it is.

    New data come by `pull` of what is recorded, from the shards that are `incoming`, or not at
    all (`as-is`). `run` executes the chain, in this process where nothing else is said.

    Raises:
        DataRejected: new data broke a rule.
        AthanorError: whatever else stopped it; the run can be resumed.
    """
    file, given = Path(config), tuple(assignments or ())
    known = load_run(file, given)
    arrived = arrival.bring(known.data, data)
    champion = _champion(known)
    asked = _asked(known, champion, reason)
    if asked.before == asked.after:
        return _same_data(known, asked, arrived)
    wishes = Wishes(assignments=given, retraining=asked)
    taken_over = ancestry.taken_over(known, wishes)
    done = run(file, wishes)
    return report.of(done, asked, (*arrived, *taken_over.notes))


def told(done: Report, record: RunRecord) -> Retrained | None:
    """The report of a run that went on after an interruption; None where it retrained nothing."""
    asked = record.wishes.retraining
    if asked is None:
        return None
    return report.of(done, asked, ancestry.taken_over(done.config, record.wishes).notes)


class _Champion(NamedTuple):
    """Who holds the alias now."""

    version: int
    bundle: Bundle


def _champion(config: RunConfig) -> _Champion | None:
    version = outages.patiently(partial(glance.champion, config.name), log.warning)
    if version is None:
        return None
    fetch = partial(fetching.fetch, config.name, version)
    return _Champion(version, outages.patiently(fetch, log.warning))


def _asked(config: RunConfig, champion: _Champion | None, reason: str) -> Retraining:
    """What the run's record keeps: from where it goes on, and with which data."""
    after = arrival.digests(config.data)
    why = reason or "asked for by hand"
    if champion is None:
        return Retraining(reason=why, champion=None, after=after)
    made_of = champion.bundle.manifest["remake"]["data"]
    return Retraining(
        reason=why,
        champion=champion.version,
        bundle=champion.bundle.digest,
        before={one["name"]: one["tree"] for one in made_of},
        after=after,
    )


def _same_data(config: RunConfig, asked: Retraining, arrived: tuple[str, ...]) -> Retrained:
    return Retrained(
        name=config.name,
        outcome="same data",
        reason=asked.reason,
        started_from=asked.champion,
        champion=asked.champion,
        notes=arrived,
        data=report.same(asked),
    )
