"""What the one loop promises of a training that nothing disturbs."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from components.errors import TrainingDiverged
from components.recipe import Recipe
from components.training import determinism
from components.training.loop import Progress, Stepper, Task, evaluate, fit
from components.training.optimizers import adamw, learning_rate
from components.training.state import TrainingState
from tests.training import small

CALM = {"architecture": small.ENCODER | {"dropout": 0.0}}
CALM_HEAD = {"kind": "classification", "dropout": 0.0}


def train(recipe: Recipe, **changes: object) -> list[Progress]:
    data = small.prepared()
    with determinism.settled(1, recipe.seed):
        model = small.model(recipe, data.spec)
        return list(fit(model, small.task(data, recipe, **changes)))


def test_every_step_is_told_and_the_last_one_carries_the_outcome() -> None:
    progress = train(small.recipe())
    assert [each.step for each in progress] == list(range(1, 25))
    assert {each.total_steps for each in progress} == {24}
    assert [each.epoch for each in progress] == [0] * 8 + [1] * 8 + [2] * 8
    assert [each.done for each in progress] == [False] * 23 + [True]
    ends = [each.step for each in progress if "val/accuracy" in each.metrics]
    assert ends == [8, 16, 24]
    assert {"train/loss", "val/accuracy", "val/loss"} == progress[-1].outcome.scores.keys()


def test_the_loss_falls() -> None:
    recipe = small.recipe(budget={"epochs": 10, "batch_size": 8}, optimizer={"lr": 0.02})
    losses = [each.metrics["train/loss"] for each in train(recipe)]
    assert np.mean(losses[-8:]) < 0.5 * np.mean(losses[:8])


@pytest.mark.parametrize("objective", [CALM_HEAD, {"kind": "masked_lm"}])
@pytest.mark.parametrize("portions", [2, 3, 8])
def test_the_gradient_of_a_batch_in_portions_is_that_of_the_batch(
    objective: dict, portions: int
) -> None:
    data = small.prepared()
    gradients = []
    for number in (1, portions):
        budget = {"epochs": 1, "batch_size": 16, "accumulate": number}
        recipe = small.recipe(**CALM, objective=objective, budget=budget)
        model = small.model(recipe, data.spec)
        task = small.task(data, recipe)
        stepper = Stepper(TrainingState(model, recipe), task)
        batch = task.train.batch(np.arange(16))
        stepper.accumulate(recipe.objective.arrange(batch, data.spec, np.random.default_rng(0)))
        gradients.append({name: value.grad for name, value in model.named_parameters()})
    whole, cut = gradients
    assert any(gradient is not None and gradient.abs().max() > 1e-3 for gradient in whole.values())
    for name, gradient in whole.items():
        assert torch.allclose(gradient, cut[name], atol=1e-6), name


def test_a_step_is_that_of_plain_pytorch() -> None:
    recipe = small.recipe(**CALM, objective=CALM_HEAD, budget={"epochs": 1, "batch_size": 60})
    data = small.prepared()
    rows = small.examples(data)
    model = small.model(recipe, data.spec)
    batch = rows.batch(np.arange(len(rows)))
    optimizer = adamw(model, recipe.optimizer)
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(0, 1, recipe.optimizer.lr, recipe.schedule)
    logits = model(torch.from_numpy(batch["ids"]))
    functional.cross_entropy(logits, torch.from_numpy(batch["label"])).backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    [ours] = train(recipe)
    for name, value in model.state_dict().items():
        if name.endswith("query_key_value.bias"):
            continue  # the keys' bias has no gradient but rounding, which Adam blows up
        assert torch.allclose(value, ours.outcome.state[name], atol=1e-6), name


def test_max_steps_ends_mid_epoch_with_a_validation() -> None:
    progress = train(small.recipe(budget={"epochs": 3, "batch_size": 8, "max_steps": 11}))
    assert progress[-1].step == progress[-1].total_steps == 11
    assert "val/accuracy" in progress[-1].metrics
    assert progress[-1].done


def test_patience_ends_a_training_that_no_longer_gets_better() -> None:
    budget = {"epochs": 50, "batch_size": 60, "patience": 2}
    progress = train(small.recipe(optimizer={"lr": 1e-12}, budget=budget))
    assert progress[-1].done
    assert progress[-1].step == 3, "one epoch sets the mark, two do not pass it"


def test_the_weights_of_the_best_epoch_are_the_result() -> None:
    recipe = small.recipe(budget={"epochs": 6, "batch_size": 8}, optimizer={"lr": 0.05})
    progress = train(recipe)
    told = [each.metrics["val/accuracy"] for each in progress if "val/accuracy" in each.metrics]
    data = small.prepared()
    model = small.model(recipe, data.spec)
    model.load_state_dict(progress[-1].outcome.state)
    task = small.task(data, recipe)
    again = evaluate(model, task, task.validation)
    assert again["accuracy"] == max(told) == progress[-1].outcome.scores["val/accuracy"]


def test_without_validation_rows_the_last_weights_are_the_result() -> None:
    progress = train(small.recipe(), validation=None)
    assert progress[-1].outcome.scores.keys() == {"train/loss"}


def test_the_average_is_the_decayed_sum_of_all_weights() -> None:
    recipe = small.recipe(ema=0.5)
    model = small.model(recipe, small.TEXT)
    state = TrainingState(model, recipe)
    wanted = {name: value.clone() for name, value in model.named_parameters()}
    for step in range(1, 31):
        with torch.no_grad():
            for value in model.parameters():
                value.add_(torch.randn_like(value))
        decay = min(0.5, (1 + step) / (10 + step))
        wanted = {
            name: decay * wanted[name] + (1 - decay) * value.detach()
            for name, value in model.named_parameters()
        }
        state.advance(0.0, 1, 1000)
    for name, value in state.averaged.named_parameters():
        assert torch.allclose(value, wanted[name], atol=1e-6), name


def test_a_loss_that_is_not_finite_ends_the_training_with_a_remedy() -> None:
    with pytest.raises(TrainingDiverged, match=r"training loss is nan at step .*lower recipe.opt"):
        train(small.recipe(optimizer={"lr": 1e30, "clip_norm": 1e30}, schedule={"warmup": 0.0}))


def test_a_teacher_pulls_its_student() -> None:
    recipe = small.recipe(guidance={"alpha": 1.0, "temperature": 2.0}, label_smoothing=0.1)
    wanted = np.tile(np.float32([[6.0, -6.0]]), (60, 1))
    progress = train(recipe, teacher_logits=wanted, validation=None)
    data = small.prepared()
    model = small.model(recipe, data.spec)
    model.load_state_dict(progress[-1].outcome.state)
    logits = model.eval()(torch.from_numpy(small.examples(data).batch(np.arange(60))["ids"]))
    assert (logits.argmax(1) == 0).all()


def test_warm_up_climbs_to_the_peak_and_the_cosine_falls_to_the_floor() -> None:
    schedule = small.recipe(schedule={"warmup": 0.1, "floor": 0.05}).schedule
    rates = [learning_rate(step, 100, 2.0, schedule) for step in range(100)]
    assert rates[:10] == sorted(rates[:10])
    assert max(rates) == pytest.approx(2.0)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert learning_rate(100, 100, 2.0, schedule) == pytest.approx(0.1)


def test_only_matrices_decay() -> None:
    recipe = small.recipe(optimizer={"lr": 0.1, "weight_decay": 0.3})
    model = small.model(recipe, small.TEXT)
    names = {id(value): name for name, value in model.named_parameters()}
    decays = {
        names[id(value)]: group["weight_decay"]
        for group in adamw(model, recipe.optimizer).param_groups
        for value in group["params"]
    }
    assert decays["backbone.layers.0.up.weight"] == 0.3
    assert decays["head.outputs.0.weight"] == 0.3
    still = [name for name, decay in decays.items() if decay == 0.0]
    assert "backbone.embedding.table.weight" in still
    assert "backbone.positions.weight" in still
    assert "backbone.norm.weight" in still
    assert "backbone.layers.0.up.bias" in still
    assert len(decays) == len(names)


def test_a_branch_has_its_own_learning_rate_down_to_the_head() -> None:
    bag = {"kind": "ngrams", "buckets": 16, "width": 4}
    recipe = small.recipe(
        architecture={"kind": "branches", "branches": [small.ENCODER, bag]},
        optimizer={"lr": 0.1, "branch_lr": [1, 5]},
    )
    model = small.model(recipe, small.TEXT)
    names = {id(value): name for name, value in model.named_parameters()}
    factors = {
        names[id(value)]: group["factor"]
        for group in adamw(model, recipe.optimizer).param_groups
        for value in group["params"]
    }
    fast = {name for name, factor in factors.items() if factor == 5}
    assert fast == {name for name in factors if "branches.1." in name or "outputs.1." in name}
    assert {"backbone.branches.1.tables.0.weight", "head.outputs.1.bias"} <= fast


def test_validation_leaves_the_training_alone() -> None:
    recipe = small.recipe()
    with_rows, without = train(recipe), train(recipe, validation=None)
    losses = [[each.metrics["train/loss"] for each in run] for run in (with_rows, without)]
    assert losses[0] == losses[1]


def test_a_task_counts_its_steps() -> None:
    data = small.prepared()
    assert Task(small.recipe(), data.spec, small.examples(data)).total_steps == 24


def test_portions_draw_their_own_chance_and_leave_the_common_one_alone() -> None:
    recipe = small.recipe(budget={"epochs": 1, "batch_size": 8, "accumulate": 2})
    data = small.prepared()
    model = small.model(recipe, data.spec)
    stepper = Stepper(TrainingState(model, recipe), small.task(data, recipe))
    batch = small.examples(data).batch(np.arange(8))
    before = torch.get_rng_state()
    first, _ = stepper.accumulate(batch)
    again, _ = stepper.accumulate(batch)
    assert torch.equal(torch.get_rng_state(), before)
    assert again == first
    stepper.state.step += 1
    other, _ = stepper.accumulate(batch)
    assert other != first


def test_a_step_in_portions_moves_the_running_statistics_once() -> None:
    cnn = {"kind": "cnn", "channels": [6, 8], "halvings": 1}
    data = small.prepared(small.IMAGE)
    buffers = []
    for number in (1, 2):
        budget = {"epochs": 1, "batch_size": 16, "accumulate": number}
        recipe = small.recipe(architecture=cnn, budget=budget)
        model = small.model(recipe, data.spec)
        task = small.task(data, recipe)
        Stepper(TrainingState(model, recipe), task).take(task.train.batch(np.arange(16)))
        buffers.append(dict(model.named_buffers()))
    whole, cut = buffers
    assert cut["backbone.blocks.0.norm.num_batches_tracked"] == 1
    # The means of equal halves have the mean of the whole as theirs; variances have not.
    name = "backbone.blocks.0.norm.running_mean"
    assert torch.allclose(cut[name], whole[name], atol=1e-6)
