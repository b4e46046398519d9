"""A whole project of which a run costs seconds: made-up texts, their record, their expectations."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from components.data import pointer
from components.data.tree import scan
from components.keeping import moved

ROOT = Path(__file__).resolve().parents[2]

NAME = "tiny"
CONFIG = """\
# The smallest run that has every step.
name: tiny
data: [words]

prepare: {kind: characters, min_count: 1, max_length: 12}

pretrain:
  architecture: {kind: encoder, width: 16, layers: 1, heads: 2, dropout: 0.0}
  objective: {kind: masked_lm}
  optimizer: {lr: 3e-3}
  budget: {epochs: 1, max_steps: 4, batch_size: 32}
  threads: 1

finetune:
  architecture: {kind: encoder, width: 16, layers: 1, heads: 2, dropout: 0.0}
  objective: {kind: classification}
  optimizer: {lr: 1e-2}
  budget: {epochs: 4, batch_size: 16}
  threads: 1

search:
  trials: 2
  space:
    optimizer.lr: {low: 5e-3, high: 2e-2, log: true}
  epochs: 1

baselines: [majority, linear]
compress:
  - []
  - - {kind: int8_dynamic}
measure: {single_rows: 6, batches: 2, rounds: 2}
select: {max_drop: 0.5}
gate: {first: majority}
"""

EXPECTATIONS = """\
name: words
expectations:
  - type: expect_column_values_to_be_in_set
    kwargs: {column: label, value_set: [bad, good]}
  - type: expect_dataset_check_to_be_between
    kwargs: {check: repeated_share, params: {column: text}, max_value: 0.0}
"""

STEPS = (
    "validate-words", "prepare", "pretrain", "search", "finetune",
    "compress-fp32", "measure-fp32", "evaluate-fp32",
    "compress-int8_dynamic", "measure-int8_dynamic", "evaluate-int8_dynamic",
    "select", "test-fp32", "test-int8_dynamic",
    "baseline-majority", "baseline-linear", "compare-majority", "compare-linear",
    "register", "judge", "promote",
)  # fmt: skip
"""Every step of the config, in running order."""

ROWS = {"train": 160, "val": 40, "test": 60}
MARKS = {"bad": "坏差烂", "good": "好美佳"}
FILLING = "天地人山水日月风云木石火土金花鸟虫鱼春夏秋冬"


def write(folder: Path) -> Path:
    """The project in a folder: configs, data and the record of the data, consistent."""
    for name in ("configs/data", "configs/expectations", "data"):
        (folder / name).mkdir(parents=True)
    (folder / "configs/tiny.yaml").write_text(CONFIG)
    (folder / "configs/expectations/words.yaml").write_text(EXPECTATIONS)
    write_words(folder)
    return folder


def write_words(project: Path) -> None:
    """240 texts of two labels, no two alike: one character of each says which."""
    folder = project / "data/words"
    number = 0
    for split, count in ROWS.items():
        lines = []
        for _ in range(count):
            label = ("bad", "good")[number % 2]
            lines.append({"id": f"{number:04d}", "label": label, "text": _text(number, label)})
            number += 1
        (folder / split).mkdir(parents=True, exist_ok=True)
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        (folder / split / "0000.jsonl").write_text(text)
    card = {
        "name": "words", "modality": "text", "labels": ["bad", "good"], "licence": "none",
        "counts": ROWS, "provenance": "made up", "split_rule": "in order",
        "schema": {"id": "string", "label": "string", "text": "string"},
    }  # fmt: skip
    (folder / "dataset.json").write_text(json.dumps(card))
    record(project)


def record(project: Path) -> None:
    """Make what lies in `data/` the recorded state, as `dvc add` would."""
    tree = scan(project / "data")
    pointer.write_listing(project, tree)
    (project / "data.dvc").write_text(
        f"outs:\n- md5: {tree.digest}\n  size: {tree.size_bytes}\n"
        f"  nfiles: {len(tree.files)}\n  hash: md5\n  path: data\n"
    )


def _text(number: int, label: str) -> str:
    """The number in base 22 as characters, with a mark of the label among them."""
    digits = [FILLING[number // 22**place % 22] for place in (2, 1, 0)]
    digits.insert(number % 4, MARKS[label][number // 2 % 3])
    return "".join(digits) + FILLING[number * 7 % 22]


class Said(NamedTuple):
    """What a command answered."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The one document on standard output."""
        return json.loads(self.out)


def copied(finished: Path, project: Path, home: Path) -> None:
    """Copy a finished project and its home; the copy names nothing of the original."""
    shutil.copytree(finished / "tiny", project)
    shutil.copytree(finished / "home", home)
    assert moved.settle(home) == finished / "home"


def under_dvc(project: Path, storage: Path | None = None) -> None:
    """Put DVC's settings and git's ignored names into a project; with a remote `team` there."""
    (project / ".dvc").mkdir()
    for name in (".dvc/config", ".dvc/.gitignore", ".dvcignore"):
        shutil.copy(ROOT / name, project / name)
    if storage is not None:
        remote = f"['remote \"team\"']\n    url = {storage}\n    verify = true\n"
        (project / ".dvc/config").write_text(f"[core]\n    remote = team\n{remote}")
    (project / ".gitignore").write_text("/data\n.athanor/\n")


def frozen(folder: Path) -> Path:
    """A copy of our packages: what runs from it is one state, whoever edits the tree meanwhile.

    With their bytecode, which every command would else make anew: it fits as long as a file keeps
    the time and size that it had here.
    """
    for name in ("components", "pipelines"):
        being_written = shutil.ignore_patterns("*.pyc.*")
        shutil.copytree(ROOT / name, folder / name, ignore=being_written)
    return folder


def environment(home: Path, *paths: Path) -> dict[str, str]:
    """What a command is started with; our packages come from the first path that has them."""
    return {
        **os.environ,
        "ATHANOR_HOME": str(home),
        "PYTHONPATH": os.pathsep.join(map(str, paths or (ROOT,))),
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
    }


def athanor(
    project: Path, home: Path, words: Sequence[str], *paths: Path, timeout_s: float = 400
) -> Said:
    """Run a command as a user does, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.cli", *words],
        cwd=project,
        env=environment(home, *paths),
        capture_output=True,
        text=True,
        timeout=timeout_s,
    )
    return Said(done.returncode, done.stdout, done.stderr)
