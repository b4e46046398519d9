"""Is a registered version made again elsewhere the same? `python -m benchmarks.reproduce`.

Each case is run in a clone with a home of its own and registered; then another clone, which has no
data, makes the version again with `athanor reproduce`, which brings the data too. Two controls ask
for one thread more: set in the shell, which must be refused, and written into the version's
config, which must never come out identical.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from components import bundle, files

ROOT = Path(__file__).resolve().parent.parent


class Case(NamedTuple):
    """One shipped config, perhaps made smaller."""

    config: str
    changes: tuple[str, ...] = ()


CASES = {
    "quickstart": Case("configs/quickstart.yaml"),
    "digits": Case("configs/digits.yaml"),
    "small": Case(
        "configs/digits.yaml",
        ("name=small", "finetune.budget.epochs=1", "compress=[[]]", "baselines=[majority]"),
    ),
}


class Done(NamedTuple):
    """A command's exit code, its document, and how long it took."""

    code: int
    said: dict[str, Any]
    seconds: float


def main() -> None:
    """Print one row a case; exit with 1 where one is not identical or a control is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", default=list(CASES), help=", ".join(CASES))
    parser.add_argument("--archives", type=Path, help="a folder of the pinned archives")
    parser.add_argument("--control", action="store_true", help="remake each with a thread more")
    options = parser.parse_args()
    print(
        f"{'case':<12} {'run':>8} {'remake':>8}  {'verdict':<10} {'thread in shell':<16} in config"
    )
    good = True
    with tempfile.TemporaryDirectory(prefix="athanor-benchmark-") as folder:
        for name in options.cases:
            good &= _case(name, Path(folder) / name, options)
    sys.exit(0 if good else 1)


def _case(name: str, folder: Path, options: argparse.Namespace) -> bool:
    first, second, home = folder / "first", folder / "second", folder / "home"
    for source, target in ((ROOT, first), (first, second)):
        subprocess.run(["git", "clone", "--quiet", source, target], check=True)
    if options.archives:
        shutil.copytree(options.archives, home / "archives")
    case = CASES[name]
    words = [word for change in case.changes for word in ("--set", change)]
    made = _athanor(first, home, ["run", case.config, *words, "--json"])
    model = made.said["model"]
    version = f"{model['name']}/{model['version']}"
    shutil.rmtree(first / "data")
    remade = _athanor(second, home, ["reproduce", version, "--json"])
    verdict = remade.said.get("verdict", f"exit {remade.code}")
    more = str(int(_facts(home)["environment"]["OMP_NUM_THREADS"]) + 1)
    shell = _athanor(second, home, ["reproduce", version, "--json"], OMP_NUM_THREADS=more)
    control = "not asked"
    if options.control:
        manifest = _one_thread_more(home, folder / "edited")
        words = ["reproduce", "--from-manifest", str(manifest), "--allow-unsigned", "--json"]
        done = _athanor(second, home, words)
        control = f"{done.said.get('verdict')} at {done.said.get('step')}"
    print(
        f"{name:<12} {made.seconds:7.1f}s {remade.seconds:7.1f}s  {verdict:<10} "
        f"{'refused' if shell.code == 2 else f'exit {shell.code}':<16} {control}",
        flush=True,
    )
    if verdict != "identical":
        print(json.dumps(remade.said, indent=1), file=sys.stderr)
    return verdict == "identical" and shell.code == 2 and not control.startswith("identical")


def _one_thread_more(home: Path, folder: Path) -> Path:
    """The version's provenance with one thread more in its config, sealed anew."""
    [bundled] = (home / "bundles").glob("*/" + bundle.PROVENANCE)
    said = json.loads(bundled.read_bytes())
    said["facts"]["config"]["finetune"]["threads"] += 1
    files.write_bytes(
        folder / bundle.PROVENANCE, bundle.sealed(said["bundle"], said["files"], said["facts"])
    )
    return folder / bundle.PROVENANCE


def _facts(home: Path) -> dict[str, Any]:
    [bundled] = (home / "bundles").glob("*/" + bundle.PROVENANCE)
    return json.loads(bundled.read_bytes())["facts"]


def _athanor(clone: Path, home: Path, words: list[str], **variables: str) -> Done:
    environment = {n: v for n, v in os.environ.items() if n != "OMP_NUM_THREADS"}
    environment |= {"ATHANOR_HOME": str(home), "PYTHONPATH": str(clone), **variables}
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.cli", *words],
        cwd=clone,
        env=environment,
        stdout=subprocess.PIPE,
        check=False,
    )
    return Done(done.returncode, json.loads(done.stdout), time.monotonic() - begun)


if __name__ == "__main__":
    main()
