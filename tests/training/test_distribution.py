"""Several ranks make what one process makes, whatever happens to them."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from safetensors.torch import load_file

from components.launch import Launch
from tests.training import small
from tests.training.several import Answer, Wish

ROOT = Path(__file__).resolve().parents[2]
SHORT = {"epochs": 2, "batch_size": 8, "checkpoint_steps": 5, "accumulate": 2}
SMALL_BAG = {"kind": "ngrams", "width": 8, "buckets": 64}
TRAININGS = {
    "encoder": {"ema": 0.9},
    "masked": {"objective": {"kind": "masked_lm"}},
    "fp16": {"precision": "fp16"},
    "bag": {"architecture": SMALL_BAG},
    "branches": {
        "architecture": {"kind": "branches", "branches": [small.ENCODER, SMALL_BAG]},
        "optimizer": {"lr": 0.01, "branch_lr": [1.0, 5.0]},
    },
    "image": {
        "architecture": {"kind": "cnn", "channels": [6, 8], "halvings": 1},
        "augmentation": {"shift_pixels": 1, "rotate_degrees": 10, "scale": 0.1},
    },
}
TWO, SHARED = Launch(processes=2), Launch(processes=2, strategy="fsdp")

Train = Callable[..., Answer]


@pytest.fixture(scope="module")
def train(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Train]:
    """Trains as wished, in a folder of its own where none is given."""
    home = tmp_path_factory.mktemp("home")
    environment = os.environ | {"ATHANOR_HOME": str(home), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.training.several"],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def ask(launch: Launch, **wishes: object) -> Answer:
        folder = wishes.pop("folder", None) or tmp_path_factory.mktemp("work")
        wish = Wish.model_validate({"folder": folder, "launch": launch, **wishes})
        process.stdin.write(wish.model_dump_json() + "\n")
        process.stdin.flush()
        return Answer.model_validate_json(process.stdout.readline())

    yield ask
    process.stdin.close()
    assert process.wait(30) == 0


def furthest(one: Answer, other: Answer) -> float:
    """The largest difference of two models' weights, the biases of attention left out.

    The gradient of a key's bias is zero but for rounding, which Adam scales to the learning rate.
    """
    a, b = load_file(one.tensors), load_file(other.tensors)
    names = [name for name in a if not name.endswith("query_key_value.bias")]
    return max((a[name] - b[name]).abs().max().item() for name in names)


@pytest.mark.parametrize("name", TRAININGS)
def test_two_ranks_make_the_bits_of_one_process_and_shared_ranks_nearly_so(
    name: str, train: Train
) -> None:
    wishes = {
        "changes": {"budget": SHORT} | TRAININGS[name],
        "data": "image" if name == "image" else "text",
    }
    one, two, shared = (train(launch, **wishes) for launch in (Launch(), TWO, SHARED))
    assert two.sha256 == one.sha256
    assert two.scores == one.scores
    assert two.checkpoints == one.checkpoints
    assert shared.scores == pytest.approx(one.scores, abs=1e-5)
    assert furthest(one, shared) < 1e-5
    told = {"processes": 2, "devices": "cpu", "backend": "gloo", "restarts": 0}
    assert two.facts == told | {"strategy": "ddp"}
    assert shared.facts == told | {"strategy": "fsdp"}
    assert one.facts == {}


def test_three_ranks_with_rounds_of_portions_and_a_batch_of_one_row_make_the_same_bits(
    train: Train,
) -> None:
    budget = {"epochs": 2, "batch_size": 59, "accumulate": 6, "patience": 1}
    wishes = {"changes": {"budget": budget, "optimizer": {"lr": 0.01}}}
    one, three = train(Launch(), **wishes), train(Launch(processes=3), **wishes)
    assert three.sha256 == one.sha256
    shared = train(Launch(processes=3, strategy="fsdp"), **wishes)
    assert shared.scores == pytest.approx(one.scores, abs=1e-5)
    other = train(Launch(), changes={"budget": budget | {"accumulate": 3}})
    assert other.sha256 != one.sha256


@pytest.mark.slow
def test_a_checkpoint_of_shared_ranks_is_the_file_of_one_process(train: Train) -> None:
    one, shared = train(Launch()), train(SHARED)
    assert "000000128.safetensors" in one.checkpoints
    assert shared.checkpoints == one.checkpoints


@pytest.mark.slow
@pytest.mark.parametrize("launch", [TWO, SHARED], ids=["ddp", "fsdp"])
def test_ranks_that_are_killed_begin_again_at_the_last_checkpoint_and_end_at_the_same_bits(
    launch: Launch, train: Train
) -> None:
    undisturbed = train(launch)
    disturbed = train(launch, kills=5)
    assert len(disturbed.fell) == 5
    assert len(set(disturbed.fell)) > 1
    assert disturbed.facts["restarts"] >= 5
    assert disturbed.sha256 == undisturbed.sha256
    assert disturbed.scores == undisturbed.scores
    assert disturbed.checkpoints == undisturbed.checkpoints
    broken = train(launch, kills=1, entry="tests.training.several:forgetful")
    assert broken.fell
    assert broken.scores != undisturbed.scores


@pytest.mark.slow
@pytest.mark.parametrize("launch", [TWO, SHARED], ids=["ddp", "fsdp"])
def test_asked_to_stop_ranks_leave_one_checkpoint_that_one_process_takes_and_the_reverse(
    launch: Launch, train: Train, tmp_path: Path
) -> None:
    budget = {"epochs": 20, "batch_size": 8, "checkpoint_steps": 100000, "accumulate": 2}
    changes = {"budget": budget, "optimizer": {"lr": 0.001}}
    whole = train(Launch(), changes=changes)
    for number, (first, then) in enumerate([(launch, Launch()), (Launch(), launch)]):
        folder = tmp_path / str(number)
        asked = train(first, changes=changes, folder=folder, end="asked")
        assert asked.error == "KeyboardInterrupt: "
        [manifest] = (folder / "checkpoints").glob("[0-9]*.json")
        assert 0 < int(manifest.stem) < 160
        resumed = train(then, changes=changes, folder=folder)
        assert resumed.scores == pytest.approx(whole.scores, abs=1e-5)
        assert furthest(resumed, whole) < 1e-5
        if launch == TWO:
            assert resumed.sha256 == whole.sha256


def test_ranks_end_with_their_step_and_listen_on_this_machine_alone(train: Train) -> None:
    dead = train(TWO, end="killed")
    assert "SIGKILL" in dead.error
    assert dead.left == ()
    done = train(TWO)
    addresses = {place.partition(":")[0] for place in done.listening}
    assert addresses == {"0100007F"}


def test_an_error_of_one_rank_is_the_steps_own_and_is_not_tried_again(train: Train) -> None:
    short = train(TWO, entry="tests.training.several:short")
    assert short.error == "ResourceError: the disk is full; make room"
    broken = train(SHARED, entry="tests.training.several:broken")
    assert broken.error.startswith("StepBroken: ")
    assert "RuntimeError: a bug of ours" in broken.error


def test_portions_that_ranks_cannot_share_evenly_are_refused_before_anything_trains(
    train: Train, tmp_path: Path
) -> None:
    refused = train(Launch(processes=3), folder=tmp_path)
    assert refused.error == (
        "ConfigError: budget.accumulate is 2: 3 processes cannot share that many portions of a "
        "batch evenly; set budget.accumulate of this step to a multiple of 3 such as 3, or its "
        "resources to one process"
    )
    assert not (tmp_path / "checkpoints").exists()
