"""kill -9 at random moments costs the steps since the last checkpoint and nothing else."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
STEPS = 64


def killed(folder: Path, kills: int, how: str) -> dict:
    folder.mkdir()
    command = [sys.executable, "-m", "tests.training.killed", str(folder), str(kills), how]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_killed_five_times_the_weights_are_those_of_the_undisturbed_training(
    tmp_path: Path,
) -> None:
    undisturbed = killed(tmp_path / "undisturbed", 0, "whole")
    disturbed = killed(tmp_path / "disturbed", 5, "whole")
    broken = killed(tmp_path / "broken", 2, "forgetful")
    assert disturbed["sha256"] == undisturbed["sha256"]
    assert broken["sha256"] != undisturbed["sha256"]
    for steps in (disturbed["steps"], broken["steps"]):
        assert all(0 < step < STEPS for step in steps), "a kill fell outside the training"
        assert steps == sorted(set(steps)), "a kill fell before the training went on"
