"""Workers of one search, killed again and again: `python -m benchmarks.searching --kills 20`.

Real processes with a training that only takes steps: after all kills there are exactly the trials
that were asked for, each with one set of values, and no step was taken twice but the one in which
a worker died. `--rate` instead counts how many trials of no length so many workers get through, on
the home's SQLite file and on PostgreSQL: what the study itself costs.
"""

import argparse
import json
import os
import random
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.search import stub
from tests.search.test_parallel import CONFIG, Workers, chosen, steps

STORES = ("sqlite", "postgresql")


def main() -> None:
    """Print one line a round; a round that goes otherwise ends it with an error."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--workers", type=int, nargs="+", default=[3])
    parser.add_argument("--stores", nargs="+", default=["sqlite"], choices=STORES)
    parser.add_argument("--rate", action="store_true")
    options = parser.parse_args()
    config = CONFIG.model_copy(update={"trials": options.trials})
    for store in options.stores:
        for number in options.workers:
            with tempfile.TemporaryDirectory(prefix="athanor-benchmark-") as name:
                folder = Path(name)
                os.environ["ATHANOR_HOME"] = str(folder / "home")
                with on(store):
                    workers = Workers(folder / "key", number, config=config)
                    if options.rate:
                        _rate(store, folder / "key", workers)
                    else:
                        _kill(store, folder / "key", workers, options.kills)


def _kill(store: str, folder: Path, workers: Workers, kills: int) -> None:
    begun, chance, done = time.monotonic(), random.Random(kills), 0
    while done < kills and any(each.poll() is None for each in workers.processes.values()):
        workers.kill(chance)
        done += 1
    codes, config = workers.join(), workers.config
    result, taken = chosen(folder, config), steps(folder)
    by_trial = Counter(name for name, *_ in taken)
    again = len(taken) - config.trials * stub.STEPS
    assert codes == [0] * len(codes)
    assert len(result.trials) == len(by_trial) == config.trials
    assert {trial.state for trial in result.trials} == {"complete"}
    assert 0 <= again <= done
    facts = result.made.facts if result.made else {}
    print(
        f"{store:<11} {len(codes)} workers, {done} kills: {len(result.trials)} of {config.trials}"
        f" trials, {facts['taken_over']} taken over, {again} of {len(taken)} steps taken twice,"
        f" {time.monotonic() - begun:.0f} s"
    )


def _rate(store: str, folder: Path, workers: Workers) -> None:
    """What a trial of no length costs, without the start of its process."""
    workers.join()
    said = [json.loads(path.read_text()) for path in folder.glob("workers/*/cost.json")]
    trials, number = workers.config.trials, len(workers.processes)
    cpu_ms = 1000 * sum(each["cpu_s"] for each in said) / trials
    wall_s = max(each["end"] for each in said) - min(each["begin"] for each in said)
    print(
        f"{store:<11} {number} workers: {cpu_ms:.0f} ms CPU,"
        f" {1000 * wall_s / trials:.0f} ms a trial"
    )


@contextmanager
def on(store: str) -> Iterator[None]:
    """The home that the environment names, in files or on a PostgreSQL of its own."""
    if store == "sqlite":
        yield
        return
    from pipelines import database
    from tests.servers import postgres_server as server

    os.environ["PGUSER"], os.environ["PGPASSWORD"] = server.USER, server.PASSWORD
    with server.running(server.wheel()) as running:
        database.use(running.name, lambda _: None)
        yield


if __name__ == "__main__":
    main()
