"""Every file of a finished project, damaged in six ways: what the commands that use it answer.

    python -m benchmarks.damage FOLDER [--seed N] [--only PATH] [--kind KIND] [--every N]

FOLDER holds the project and its home; a run makes them where they are not there yet. Prints one
line a case that went wrong, with the command that does it again, and the table at the end.
"""

import argparse
import collections
import sys
import time
from pathlib import Path

from tests.faults import commands, damage


def main() -> int:
    """Print the table; 1 where a damage was not found."""
    options = _options()
    root = Path(options.folder).resolve()
    if (root / "home" / "bundles").is_dir():
        finished = damage.Finished(root)
    else:
        finished = damage.Finished.made(root)
    commands.warm()
    names = [n for n in finished.files() if n.startswith(tuple(options.only))][:: options.every]
    used = {command for name in names for command in damage.use_of(name).commands}
    finished.learn(*sorted(used - {"use"}))
    finished.keep_copy()
    begun = time.monotonic()
    table: dict[str, collections.Counter[str]] = {}
    for name in names:
        for kind in options.kind:
            result = finished.case(damage.Case(name, kind, options.seed))
            table.setdefault(result.case.use.prefix, collections.Counter())[result.outcome] += 1
            if result.outcome == "WRONG" or options.verbose:
                print(f"{result.outcome:<8} {kind:<8} {name}: {result.said}", flush=True)
            if result.outcome == "WRONG":
                print(f"         {result.case.replay}", flush=True)
    _print(table, len(names), time.monotonic() - begun)
    return int(any(counts["WRONG"] for counts in table.values()))


def _print(table: dict[str, collections.Counter[str]], files: int, seconds: float) -> None:
    outcomes = ("named", "remade", "unused", "not injected", "WRONG")
    print(f"| files | {' | '.join(outcomes)} |")
    print(f"|---{'|---' * len(outcomes)}|")
    total: collections.Counter[str] = collections.Counter()
    for prefix, counts in sorted(table.items()):
        total += counts
        print(f"| `{prefix}` | {' | '.join(str(counts[name]) for name in outcomes)} |")
    print(f"| all | {' | '.join(str(total[name]) for name in outcomes)} |")
    print(f"{files} files, {sum(total.values())} cases, {seconds:.0f} s")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=[""], help="files whose path begins so")
    parser.add_argument("--kind", nargs="*", default=damage.KINDS, choices=damage.KINDS)
    parser.add_argument("--every", type=int, default=1, help="every N-th file")
    parser.add_argument("--verbose", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
