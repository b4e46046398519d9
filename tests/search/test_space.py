import pytest

from components.recipe import Recipe
from components.space import Values, changed, check_space, values_of
from tests.registry.variants import a_recipe

LR = Values(low=1e-4, high=1e-1, log=True)


def test_a_space_that_fits_is_accepted():
    space = {
        "optimizer.lr": LR,
        "architecture.width": Values(low=16, high=64),
        "architecture.pooling": Values(choices=("mean", "unit")),
        "ema": Values(choices=(0.9, 0.99)),
    }
    check_space(a_recipe(), space)


@pytest.mark.parametrize(
    ("path", "values", "words"),
    [
        ("optimiser.lr", LR, "did you mean optimizer.lr"),
        ("optimizer.rl", LR, "did you mean optimizer.lr"),
        ("optimizer", LR, "optimizer: no such value"),
        ("optimizer.lr.x", LR, "optimizer.lr has no parts"),
        ("guidance.alpha", LR, "guidance is not set in the recipe"),
        ("seed", Values(low=0, high=9), "does not choose this"),
        ("architecture.kind", Values(choices=("cnn", "ngrams")), "does not choose this"),
        ("architecture.width", Values(low=0.5, high=9.5), "must be whole numbers, as 64 is"),
        ("architecture.pooling", Values(choices=("mean", "max")), "'max' is refused"),
        ("optimizer.lr", Values(low=-1.0, high=1.0), "-1.0 is refused"),
        ("budget.batch_size", Values(low=0, high=8), "0 is refused"),
    ],
)
def test_a_space_that_does_not_fit_is_refused_with_the_remedy(path, values, words):
    with pytest.raises(ValueError, match=words):
        check_space(a_recipe(), {path: values})


def test_an_empty_space_is_refused():
    with pytest.raises(ValueError, match="names no path"):
        check_space(a_recipe(), {})


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "needs low and high, or choices"),
        ({"low": 1}, "needs low and high, or choices"),
        ({"low": 2, "high": 1}, "low 2 is not below high 1"),
        ({"low": 0.0, "high": 1.0, "log": True}, "log needs a low above 0"),
        ({"low": 1, "high": 2, "choices": (1, 2)}, "choices and a range"),
        ({"choices": (1,)}, "two choices or more"),
        ({"low": float("nan"), "high": 1.0}, "finite number"),
        ({"lo": 1, "high": 2}, "Extra inputs"),
    ],
)
def test_values_are_a_range_or_choices(fields, words):
    with pytest.raises(ValueError, match=words):
        Values(**fields)


def test_changing_values_leaves_the_rest_and_checks_the_whole():
    recipe = a_recipe()
    other = changed(recipe, {"optimizer.lr": 0.5, "architecture.width": 8})
    assert isinstance(other, Recipe)
    assert (other.optimizer.lr, other.architecture.model_dump()["width"]) == (0.5, 8)
    assert changed(other, {"optimizer.lr": recipe.optimizer.lr, "architecture.width": 64}) == recipe


def test_the_base_counts_only_where_it_lies_inside_the_space():
    recipe = a_recipe()
    assert values_of(recipe, {"optimizer.lr": LR}) == {"optimizer.lr": 0.01}
    assert values_of(recipe, {"optimizer.lr": Values(low=0.1, high=0.2)}) is None
    assert values_of(recipe, {"ema": Values(choices=(0.9, 0.99))}) is None
