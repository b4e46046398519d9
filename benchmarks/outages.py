"""Outages of MLflow and Prefect while a training works: `python -m benchmarks.outages`.

One `athanor run` whose training is as long as the schedule. MLflow and a standing Prefect server
are reached through proxies, which reset, freeze, answer 500, delay, or lose answers; MLflow's own
process is also killed and stopped (SIGSTOP). Kinds, order and seconds come from the seed. At the
end every point of the journal is compared with what MLflow shows. A seed replays its schedule.
"""

import argparse
import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from components import mlflow_store
from pipelines import starting, templates
from tests.faults.proxy import Illness, Proxy
from tests.faults.shipped import difference
from tests.pipelines import small_project
from tests.tracking.mlflow_server import Server

KINDS: tuple[tuple[str, str], ...] = (
    *(("mlflow", kind) for kind in ("kill", "stop", "gone", "frozen", "500s", "slow", "cut")),
    *(("prefect", kind) for kind in ("stop", "gone", "frozen", "500s", "slow")),
)
PAUSE_S = 4.0
"""Health between two outages, so that each begins with a tracker that works."""


class Outage(NamedTuple):
    """One line of the schedule."""

    server: str
    kind: str
    seconds: float


class Seen(NamedTuple):
    """What an outage met."""

    outage: Outage
    begun_at: int
    """Step of the training."""
    steps: int
    longest_s: float
    """Between two lines of the training's journal."""
    met: int
    """Requests that the proxy withheld; of a killed or stopped process unknown: -1."""


def schedule(seed: int, count: int, least_s: float, most_s: float) -> list[Outage]:
    """Every kind as often as every other, seconds evenly on a logarithmic scale."""
    dice = random.Random(seed)
    kinds = [KINDS[number % len(KINDS)] for number in range(count)]
    dice.shuffle(kinds)
    spread = math.log(most_s / least_s)
    return [Outage(*kind, round(least_s * math.exp(dice.random() * spread), 1)) for kind in kinds]


def main() -> int:
    """Print a line an outage and the sums; 1 where a point was lost or doubled, or steps waited."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--least", type=float, default=1.0, metavar="SECONDS")
    parser.add_argument("--most", type=float, default=300.0, metavar="SECONDS")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    planned = schedule(options.seed, options.count, options.least, options.most)
    with tempfile.TemporaryDirectory(prefix="athanor-outages-") as folder:
        words = (f"--{name} {value}" for name, value in vars(options).items())
        return _play(Path(folder), planned, " ".join(words))


def _play(folder: Path, planned: list[Outage], replay: str) -> int:
    home, mlflow, prefect = folder / "home", folder / "mlflow", folder / "prefect"
    for each in (home, mlflow, prefect):
        each.mkdir()
    os.environ["ATHANOR_HOME"] = str(home)
    shutil.copyfile(templates.folder() / "mlflow.db", mlflow / "mlflow.db")
    templates.install(prefect)
    server = Server(mlflow, f"sqlite:///{mlflow / 'mlflow.db'}")
    server.start()
    standing = starting.start(prefect, "prefect", starting.port(None, 4400))
    starting.await_answers(prefect, {"prefect": standing}, lambda _text: None)
    try:
        with Proxy(server.port) as first, Proxy(standing.port) as second:
            proxies = {"mlflow": first, "prefect": second}
            run = Training(folder, home, proxies, starting.secret(prefect))
            try:
                seen = _disturb(run, planned, proxies, server, standing.pid)
                return _judge(run, seen, server, replay)
            finally:
                run.stop()
    finally:
        server.thaw()
        server.kill()
        os.kill(standing.pid, signal.SIGCONT)
        starting.kernel.end(starting.marked(prefect, "prefect"))


class Training:
    """`athanor run` with a training without an end: it is interrupted when the schedule is over."""

    def __init__(self, folder: Path, home: Path, proxies: dict[str, Proxy], secret: str) -> None:
        self.home = home
        self.project = small_project.write(folder / "tiny")
        self.said = folder / "said.txt"
        self.environment = {
            **small_project.environment(home),
            "MLFLOW_TRACKING_URI": proxies["mlflow"].url,
            "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
            "PREFECT_API_URL": f"{proxies['prefect'].url}/api",
            "PREFECT_API_AUTH_STRING": secret,
        }
        words = ("run", "configs/tiny.yaml", "--set", "pretrain=~", "--set", "search=~")
        budget = "finetune.budget={epochs: 2000000, batch_size: 16, checkpoint_steps: 20000}"
        with self.said.open("w") as sink:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "pipelines.cli", *words, "--set", budget],
                cwd=self.project, env=self.environment, stdout=sink, stderr=sink,
            )  # fmt: skip
        self.longest_s, self._last = 0.0, time.monotonic()
        self._over = threading.Event()
        self.await_(lambda: self.step() > 200)
        threading.Thread(target=self._watch, daemon=True).start()

    @property
    def journal(self) -> Path:
        """That of the training."""
        return max(self.home.glob("work/*/journal.jsonl"), key=lambda path: path.stat().st_size)

    def step(self) -> int:
        """The last that the journal tells."""
        try:
            with self.journal.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - 8192))
                for line in reversed(file.read().split(b"\n")):
                    if b'"train/loss"' in line and line.endswith(b"}"):
                        return json.loads(line)["step"]
        except ValueError:
            return 0
        return 0

    def await_(self, true: Callable[[], bool], patience_s: float = 1200.0) -> None:
        """Return when it is true; the run must live."""
        deadline = time.monotonic() + patience_s
        while not true():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(self.said.read_text())
            time.sleep(0.1)

    def reset(self) -> None:
        """Begin to look for the longest pause anew."""
        self.longest_s, self._last = 0.0, time.monotonic()

    def stop(self) -> None:
        """Interrupt the run as Ctrl-C does."""
        self._over.set()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(180)

    def _watch(self) -> None:
        size = 0
        while not self._over.wait(0.05):
            now = self.journal.stat().st_size
            if now != size:
                size, self._last = now, time.monotonic()
            self.longest_s = max(self.longest_s, time.monotonic() - self._last)


def _disturb(
    run: Training, planned: list[Outage], proxies: dict[str, Proxy], server: Server, pid: int
) -> list[Seen]:
    seen = []
    for number, outage in enumerate(planned):
        proxy = proxies[outage.server]
        begun, struck = run.step(), proxy.struck
        run.reset()
        _strike(outage, proxy, server, pid)
        time.sleep(outage.seconds)
        _heal(outage, proxy, server, pid)
        met = -1 if outage.kind in ("kill", "stop") else proxy.struck - struck
        seen.append(Seen(outage, begun, run.step() - begun, run.longest_s, met))
        one = seen[-1]
        print(
            f"{number + 1:3} {outage.server:<7} {outage.kind:<6} {outage.seconds:6.1f} s  "
            f"from step {one.begun_at:>7}  steps during it {one.steps:>7}  "
            f"longest pause {one.longest_s:4.1f} s  requests met {one.met:>4}",
            flush=True,
        )
        if run.process.poll() is not None:
            raise RuntimeError(run.said.read_text())
        time.sleep(PAUSE_S)
    return seen


def _strike(outage: Outage, proxy: Proxy, server: Server, pid: int) -> None:
    if outage.kind == "kill":
        server.kill()
    elif outage.kind == "stop" and outage.server == "mlflow":
        server.freeze()
    elif outage.kind == "stop":
        os.kill(pid, signal.SIGSTOP)
    else:
        illness: Illness = outage.kind  # type: ignore[assignment]
        proxy.be(illness)


def _heal(outage: Outage, proxy: Proxy, server: Server, pid: int) -> None:
    if outage.kind == "kill":
        server.start()
    elif outage.kind == "stop" and outage.server == "mlflow":
        server.thaw()
    elif outage.kind == "stop":
        os.kill(pid, signal.SIGCONT)
    else:
        proxy.be("")


def _judge(run: Training, seen: list[Seen], server: Server, replay: str) -> int:
    """Stop the run, sync what remains, compare."""
    run.stop()
    sync = subprocess.run(
        [sys.executable, "-m", "pipelines.cli", "sync", "--timeout", "300"],
        cwd=run.project, env=run.environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    client = mlflow_store.client(server.uri)
    experiment = client.get_experiment_by_name("tiny").experiment_id
    found = client.search_runs([experiment], "tags.`athanor.stage` = 'finetune'")
    one = difference(run.journal, client, found[0].info.run_id)
    waited = [each for each in seen if each.steps == 0]
    unmet = [each for each in seen if each.met == 0]
    seconds = sum(each.outage.seconds for each in seen)
    print(
        f"{len(seen)} outages of {seconds:.0f} s together; {sum(s.steps for s in seen)} steps "
        f"during them, longest pause {max(s.longest_s for s in seen):.1f} s, "
        f"outages without a step {len(waited)}, outages that met no request {len(unmet)}\n"
        f"{one.points} points: {len(one.lost)} lost, {len(one.doubled)} doubled, "
        f"{len(one.strange)} strange; training runs in MLflow {len(found)}; "
        f"run ended with {run.process.returncode}, sync with {sync.returncode}\n"
        f"replay: python -m benchmarks.outages {replay}"
    )
    bad = waited or not one.none or len(found) != 1 or sync.returncode
    print(sync.stderr if sync.returncode else "", run.said.read_text() if bad else "", sep="")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
