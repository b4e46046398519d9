"""A training of prepared data by a recipe, from the arguments to the record."""

import json
import signal
from pathlib import Path
from typing import ClassVar

import pytest
import torch

from components import objects, workspace
from components.artifacts import TrainedModel
from components.errors import ConfigError, IntegrityError, UsageError
from components.objectives.classification import Classification
from components.steps.train import train
from components.training import interrupt, session, weights
from components.training.checkpoint import Checkpoints
from tests.training import small


def step(folder: Path, **arguments: object) -> TrainedModel:
    with workspace.opened(folder):
        return train(arguments.pop("data"), arguments.pop("recipe"), **arguments)


def test_pretrain_finetune_and_distil_are_one_step(tmp_path: Path) -> None:
    data = small.prepared()
    masked = small.recipe(objective={"kind": "masked_lm"})
    pretrained = step(tmp_path / "a", data=data, recipe=masked)
    assert pretrained.scores.keys() == {"train/loss", "val/loss"}
    tuned = step(tmp_path / "b", data=data, recipe=small.recipe(), start=pretrained)
    assert tuned.parents == {"start": pretrained.digest}
    assert tuned.scores["val/accuracy"] > 0.5
    narrow = small.ENCODER | {"width": 8}
    guided = small.recipe(architecture=narrow, guidance={})
    student = step(tmp_path / "c", data=data, recipe=guided, teacher=tuned)
    assert student.parents == {"teacher": tuned.digest}
    assert student.architecture.width == 8
    assert torch.equal(
        weights.load(student).state_dict()["backbone.norm.weight"],
        weights.tensors(student)["backbone.norm.weight"],
    )


def test_the_same_training_at_another_place_is_the_same_record(tmp_path: Path) -> None:
    data = small.prepared()
    here = step(tmp_path / "here", data=data, recipe=small.recipe())
    there = step(tmp_path / "there", data=data, recipe=small.recipe())
    assert here == there
    assert here.made != there.made or here.made.at
    other = step(tmp_path / "other", data=data, recipe=small.recipe(seed=1))
    assert other != here


def test_the_journal_tells_losses_scores_and_progress(tmp_path: Path) -> None:
    step(tmp_path, data=small.prepared(), recipe=small.recipe())
    lines = [json.loads(line) for line in (tmp_path / "journal.jsonl").read_text().splitlines()]
    told = {name for line in lines if line["kind"] == "metrics" for name in line["values"]}
    assert told == {"train/loss", "val/loss", "val/accuracy"}
    progress = [line for line in lines if line["kind"] == "progress"]
    assert (progress[-1]["done"], progress[-1]["total"]) == (24, 24)


def test_auto_precision_is_settled_in_the_record(tmp_path: Path) -> None:
    trained = step(tmp_path, data=small.prepared(), recipe=small.recipe(precision="auto"))
    assert trained.recipe.precision in ("fp32", "bf16")


def test_a_start_hands_over_the_backbone_and_the_head_only_to_its_own_kind(tmp_path: Path) -> None:
    data = small.prepared()
    first = step(tmp_path / "a", data=data, recipe=small.recipe())
    tensors = weights.tensors(first)

    model = small.model(small.recipe(), data.spec, seed=9)
    assert weights.hand_over(model, first, "classification") == (len(tensors), len(tensors))
    assert torch.equal(
        model.state_dict()["head.outputs.0.weight"], tensors["head.outputs.0.weight"]
    )

    model = small.model(small.recipe(objective={"kind": "masked_lm"}), data.spec, seed=9)
    taken, _ = weights.hand_over(model, first, "masked_lm")
    assert taken == sum(name.startswith("backbone.") for name in tensors)


def test_a_start_of_which_nothing_fits_is_refused(tmp_path: Path) -> None:
    data = small.prepared()
    first = step(tmp_path / "a", data=data, recipe=small.recipe())
    bag = small.recipe(architecture={"kind": "ngrams", "buckets": 16, "width": 4})
    with pytest.raises(UsageError, match="none of the backbone's tensors"):
        step(tmp_path / "b", data=data, recipe=bag, start=first)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"guidance": {}}, "guidance but no teacher"),
        ({"optimizer": {"lr": 0.1, "branch_lr": [1, 2]}}, "has 2 factors.*encoder has 0 branches"),
        ({"architecture": {"kind": "cnn"}}, "cnn reads images, the data are text"),
        (
            {"architecture": {"kind": "ngrams"}, "objective": {"kind": "masked_lm"}},
            "masked_lm needs a state per token",
        ),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_trained(
    changes: dict, match: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=match):
        step(tmp_path, data=small.prepared(), recipe=small.recipe(**changes))


def test_masked_lm_without_unlabelled_rows_is_refused(tmp_path: Path) -> None:
    data = small.prepared()
    files = {name: sha for name, sha in data.files.items() if "pretrain" not in name}
    data = data.model_copy(update={"files": files})
    with pytest.raises(ConfigError, match="trains on pretrain rows"):
        step(tmp_path, data=data, recipe=small.recipe(objective={"kind": "masked_lm"}))


def test_a_teacher_without_guidance_or_of_another_objective_is_refused(tmp_path: Path) -> None:
    data = small.prepared()
    masked = step(tmp_path / "a", data=data, recipe=small.recipe(objective={"kind": "masked_lm"}))
    with pytest.raises(ConfigError, match="a teacher but no guidance"):
        step(tmp_path / "b", data=data, recipe=small.recipe(), teacher=masked)
    with pytest.raises(ConfigError, match="masked_lm teacher cannot guide classification"):
        step(tmp_path / "b", data=data, recipe=small.recipe(guidance={}), teacher=masked)


def test_weights_of_another_architecture_are_refused_by_name(tmp_path: Path) -> None:
    trained = step(tmp_path, data=small.prepared(), recipe=small.recipe())
    wider = trained.architecture.model_copy(update={"width": 32})
    with pytest.raises(
        IntegrityError, match=r"does not hold the tensors of its architecture: back"
    ):
        weights.load(trained.model_copy(update={"architecture": wider}))


def test_loading_a_model_draws_nothing_from_the_global_generator(tmp_path: Path) -> None:
    trained = step(tmp_path, data=small.prepared(), recipe=small.recipe())
    before = torch.get_rng_state()
    weights.load(trained)
    assert torch.equal(torch.get_rng_state(), before)


def test_logits_come_in_the_order_of_the_rows(tmp_path: Path) -> None:
    data = small.prepared()
    model = weights.load(step(tmp_path, data=data, recipe=small.recipe()))
    rows = small.examples(data, "val")
    found = weights.logits(model, rows)
    for row in range(len(rows)):
        single = model(torch.from_numpy(rows.batch(torch.tensor([row]).numpy())["ids"]))
        assert found[row] == pytest.approx(single[0].detach().numpy(), abs=1e-5)


def test_threads_and_kernels_are_given_back() -> None:
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    progress = session.run(small.prepared(), small.recipe(threads=1))
    next(progress)
    assert torch.are_deterministic_algorithms_enabled()
    progress.close()
    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == before


@pytest.fixture
def handlers() -> None:
    """Our signal handlers, the former ones put back afterwards."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    interrupt.install()
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize(
    ("number", "raised", "match"),
    [(signal.SIGTERM, SystemExit, "143"), (signal.SIGINT, KeyboardInterrupt, "^$")],
)
def test_a_signal_leaves_a_checkpoint_and_the_training_goes_on_from_it(
    number: signal.Signals, raised: type[BaseException], match: str, tmp_path: Path
) -> None:
    data = small.prepared()
    recipe = small.recipe(budget={"epochs": 3, "batch_size": 8, "checkpoint_steps": 1000})
    undisturbed = list(session.run(data, recipe))[-1].outcome
    progress = session.run(data, recipe, folder=tmp_path)
    for _ in range(5):
        next(progress)
    signal.raise_signal(number)
    with pytest.raises(raised, match=match):
        next(progress)
    assert [path.name for path in tmp_path.glob("*.json")] == ["000000006.json"]
    resumed = list(session.run(data, recipe, folder=tmp_path))
    assert resumed[0].step == 7
    assert small.sha(resumed[-1].outcome.state, tmp_path) == small.sha(undisturbed.state, tmp_path)


@pytest.mark.usefixtures("handlers")
def test_a_signal_outside_a_training_ends_the_step_at_once() -> None:
    with pytest.raises(SystemExit, match="143"):
        signal.raise_signal(signal.SIGTERM)
    with interrupt.held():
        signal.raise_signal(signal.SIGTERM)
        assert interrupt.pending() == signal.SIGTERM
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        with pytest.raises(SystemExit, match="143"):
            interrupt.leave(interrupt.pending())
    assert not interrupt.pending()


def test_other_checkpoints_in_the_folder_are_not_taken(tmp_path: Path) -> None:
    data = small.prepared()
    next(session.run(data, small.recipe(seed=1), folder=tmp_path))
    assert Checkpoints(tmp_path, {}).load() is None
    first = next(session.run(data, small.recipe(seed=2), folder=tmp_path))
    assert first.step == 1


def test_weights_of_equal_tensors_have_equal_bytes(tmp_path: Path) -> None:
    state = {"backbone.b": torch.arange(6.0).reshape(2, 3), "backbone.a": torch.ones(2)}
    turned = {name: state[name] for name in reversed(state)}
    turned["backbone.b"] = state["backbone.b"].t().contiguous().t()
    weights.save(state, tmp_path / "a")
    weights.save(turned, tmp_path / "b")
    assert objects.put(tmp_path / "a") == objects.put(tmp_path / "b")


class Contrast(Classification):
    """An objective whose loss looks at a batch as a whole."""

    compares_rows: ClassVar[bool] = True


def test_a_batch_is_not_cut_for_an_objective_that_compares_its_rows() -> None:
    recipe = small.recipe(budget={"epochs": 1, "batch_size": 8, "accumulate": 2})
    recipe = recipe.model_copy(update={"objective": Contrast()})
    with pytest.raises(ConfigError, match=r"accumulate cuts it into 2 portions; set budget"):
        next(session.run(small.prepared(), recipe))
