"""Writers of one MLflow store: `python -m benchmarks.stores --writers 1 4 8`.

Each writer is a process with a run of its own that ships batches of a hundred points as the tracker
does, straight into the home's database: a SQLite file, or a PostgreSQL of the wheel's.
"""

import argparse
import multiprocessing
import os
import tempfile
import time
from statistics import median, quantiles

from benchmarks.searching import STORES, on

POINTS = 100


def main() -> None:
    """Print one line a store and number of writers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--writers", type=int, nargs="+", default=[1, 4, 8])
    parser.add_argument("--batches", type=int, default=20)
    parser.add_argument("--stores", nargs="+", default=list(STORES), choices=STORES)
    options = parser.parse_args()
    for store in options.stores:
        with tempfile.TemporaryDirectory(prefix="athanor-benchmark-") as name:
            os.environ["ATHANOR_HOME"] = name
            with on(store):
                for number in options.writers:
                    _measure(store, number, options.batches)


def _measure(store: str, number: int, batches: int) -> None:
    context = multiprocessing.get_context("spawn")
    begin = context.Barrier(number)
    with context.Pool(number, _remember, (begin,)) as pool:
        told = pool.map(_write, [batches] * number, chunksize=1)
    seconds = sorted(one for writer in told for one in writer)
    rate = POINTS * len(seconds) / max(map(sum, told))
    print(
        f"{store:<11} {number} writers: {rate:,.0f} points a second; a batch"
        f" {1000 * median(seconds):.0f} ms, p95 {1000 * quantiles(seconds, n=20)[-1]:.0f} ms,"
        f" worst {1000 * seconds[-1]:.0f} ms",
        flush=True,
    )


def _remember(begin: object) -> None:
    globals()["_begin"] = begin


def _write(batches: int) -> list[float]:
    from mlflow.entities import Metric

    from components import mlflow_store

    client = mlflow_store.client()
    experiment = mlflow_store.experiment_id(client, mlflow_store.tracking_uri(), "stores")
    run = client.create_run(experiment).info.run_id
    globals()["_begin"].wait()
    seconds = []
    for batch in range(batches):
        points = [Metric(f"m{at % 5}", 0.5, 0, batch * POINTS + at) for at in range(POINTS)]
        begun = time.monotonic()
        client.log_batch(run, metrics=points)
        seconds.append(time.monotonic() - begun)
    return seconds


if __name__ == "__main__":
    main()
