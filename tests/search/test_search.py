import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from components import study, workspace
from components.artifacts import SearchResult
from components.errors import ConfigError, TrainingDiverged
from components.space import Values
from components.steps import search as search_step
from components.steps.search import Pruning, SearchConfig, search, trial_recipe
from tests.training import small

BASE = small.recipe(
    architecture={"kind": "ngrams", "width": 4, "buckets": 16, "pooling": "mean"},
    budget={"epochs": 2, "batch_size": 30},
)
SPACE = {
    "optimizer.lr": Values(low=1e-3, high=1.0, log=True),
    "architecture.width": Values(low=2, high=8),
    "architecture.pooling": Values(choices=("mean", "unit")),
}
CONFIG = SearchConfig(trials=12, space=SPACE, pruning=Pruning(startup_trials=3, min_trials=2))


def searched(folder: Path, config: SearchConfig = CONFIG, **given) -> SearchResult:
    with workspace.opened(folder):
        return search(small.prepared(), given.pop("base", BASE), config, **given)


def told(result: SearchResult) -> list:
    return [(trial.number, trial.state, trial.value, trial.params) for trial in result.trials]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """What a search finds that nothing disturbs, in a home of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATHANOR_HOME", str(tmp_path_factory.mktemp("undisturbed")))
        return searched(tmp_path_factory.mktemp("work"))


def test_the_result_is_a_complete_recipe_with_the_best_values(tmp_path, undisturbed):
    values = [trial.value for trial in undisturbed.trials if trial.state == "complete"]
    assert undisturbed.value == max(values)
    best = next(trial for trial in undisturbed.trials if trial.value == max(values))
    assert undisturbed.best.optimizer.lr == best.params["optimizer.lr"]
    assert undisturbed.best.budget == BASE.budget
    assert undisturbed.best.seed == BASE.seed


def test_the_base_is_tried_first(undisturbed):
    assert undisturbed.trials[0].params == {
        "optimizer.lr": 0.01, "architecture.width": 4, "architecture.pooling": "mean"
    }  # fmt: skip


def test_the_same_search_elsewhere_has_the_same_trials_and_another_seed_has_not(
    tmp_path, undisturbed
):
    assert searched(tmp_path / "again") == undisturbed
    other = searched(tmp_path / "other", CONFIG.model_copy(update={"seed": 1}))
    assert told(other) != told(undisturbed)


class Cut(BaseException):
    """As sudden as a kill: nothing in the search catches it."""


def test_the_order_in_which_a_config_lists_paths_changes_nothing(tmp_path, undisturbed):
    turned = CONFIG.model_copy(update={"space": dict(reversed(SPACE.items()))})
    assert list(turned.space) != list(CONFIG.space)
    assert turned == CONFIG
    assert searched(tmp_path, turned) == undisturbed


@pytest.mark.parametrize("moments", [(1,), (17, 2, 9)])
def test_a_search_cut_off_anywhere_ends_with_the_same_trials(
    tmp_path, undisturbed, monkeypatch, moments
):
    real = workspace.Workspace.progress
    for moment in moments:
        left = [moment]

        def progress(self, *args, left=left):
            real(self, *args)
            left[0] -= 1
            if not left[0]:
                raise Cut

        monkeypatch.setattr(workspace.Workspace, "progress", progress)
        with pytest.raises(Cut):
            searched(tmp_path / "cut")
    monkeypatch.setattr(workspace.Workspace, "progress", real)
    result = searched(tmp_path / "cut")
    assert result == undisturbed
    journal = (tmp_path / "cut" / "journal.jsonl").read_text()
    assert journal.count('"kind": "trial"') == CONFIG.trials


def test_control_one_sampler_for_a_whole_process_goes_astray_after_a_cut(tmp_path, monkeypatch):
    """The promise above is not empty: the usual way, one seeded sampler, does not keep it."""
    import optuna

    samplers: dict[int, optuna.samplers.TPESampler] = {}

    def one_for_all(seed: int, finished: int) -> optuna.samplers.TPESampler:
        return samplers.setdefault(seed, optuna.samplers.TPESampler(seed=seed))

    monkeypatch.setattr(study, "_sampler", one_for_all)
    monkeypatch.setattr(search_step, "_name", lambda *_: workspace.current().step.name)
    short, long = (CONFIG.model_copy(update={"trials": trials}) for trials in (3, 6))
    whole = searched(tmp_path / "whole", long)
    samplers.clear()
    part = searched(tmp_path / "part", short)
    assert told(part) == told(whole)[:3]
    samplers.clear()  # a new process
    assert told(searched(tmp_path / "part", long)) != told(whole)


def test_the_best_of_the_previous_search_is_tried_first(tmp_path, undisturbed):
    config = CONFIG.model_copy(update={"trials": 3, "seed": 7})
    again = searched(tmp_path / "warm", config, previous=undisturbed)
    complete = [trial for trial in undisturbed.trials if trial.state == "complete"]
    best = max(complete, key=lambda trial: (trial.value, -trial.number))
    tried = [trial.params for trial in again.trials]
    assert best.params in tried[:2]
    assert again.value >= undisturbed.value


def test_a_finished_search_answers_at_once(tmp_path, monkeypatch):
    from components.training import session

    config = CONFIG.model_copy(update={"trials": 2})
    first = searched(tmp_path / "done", config)

    def never(*_: object, **__: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(session, "run", never)
    assert searched(tmp_path / "done", config) == first


def test_pruned_trials_are_stopped_and_never_chosen(tmp_path):
    config = CONFIG.model_copy(
        update={"pruning": Pruning(startup_trials=2, warmup=0.0, min_trials=1), "trials": 10}
    )
    result = searched(tmp_path / "pruned", config)
    states = [trial.state for trial in result.trials]
    assert "pruned" in states
    free = searched(tmp_path / "free", config.model_copy(update={"pruning": None, "trials": 6}))
    assert {trial.state for trial in free.trials} == {"complete"}


def test_a_trial_has_its_own_budget_and_the_result_the_whole_one():
    config = CONFIG.model_copy(update={"epochs": 2, "max_steps": 4})
    one = trial_recipe(BASE, config, {"optimizer.lr": 0.5})
    assert (one.budget.epochs, one.budget.max_steps, one.optimizer.lr) == (2, 4, 0.5)
    longer = trial_recipe(BASE, config.model_copy(update={"epochs": 9}), {})
    assert longer.budget.epochs == BASE.budget.epochs


def test_trials_that_diverge_are_failed_and_the_search_goes_on(tmp_path, monkeypatch):
    from components.training import session

    real = session.run

    def run(data, recipe, **given):
        if recipe.architecture.model_dump()["pooling"] == "unit":
            raise TrainingDiverged("the training loss is nan")
        return real(data, recipe, **given)

    monkeypatch.setattr(session, "run", run)
    result = searched(tmp_path / "some", CONFIG.model_copy(update={"trials": 6}))
    assert {trial.state for trial in result.trials} >= {"failed", "complete"}
    assert result.best.architecture.model_dump()["pooling"] == "mean"
    assert len(result.trials) == 6


def test_a_search_without_any_complete_trial_says_so(tmp_path, monkeypatch):
    from components.training import session

    def run(*_: object, **__: object) -> None:
        raise TrainingDiverged("the training loss is nan")

    monkeypatch.setattr(session, "run", run)
    config = CONFIG.model_copy(update={"trials": 2})
    with pytest.raises(TrainingDiverged, match="none of 2 trials"):
        searched(tmp_path / "none", config)


def test_data_without_validation_rows_are_refused(tmp_path):
    data = small.prepared().model_copy(update={"rows": {"train": 60}})
    with pytest.raises(ConfigError, match="compares validation rows"):
        search(data, BASE, CONFIG)


SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tests.search.test_search import searched
searched(Path(sys.argv[2]))
"""


@pytest.mark.slow
def test_a_search_killed_for_good_ends_with_the_same_trials(tmp_path, undisturbed):
    """SIGKILL at growing depths, each in the middle of a trial."""
    journal = tmp_path / "killed" / "journal.jsonl"
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-c", SCRIPT, str(root), str(tmp_path / "killed")]
    for depth in (2, 14, 25):
        process = subprocess.Popen(command, env=os.environ)
        begun = time.monotonic()
        while not (journal.is_file() and journal.read_bytes().count(b'"progress"') >= depth):
            assert process.poll() is None, "it ended before the kill"
            assert time.monotonic() - begun < 120
            time.sleep(0.002)
        process.kill()
        process.wait()
    with workspace.opened(tmp_path / "killed"):
        result = search(small.prepared(), BASE, CONFIG)
    assert result == undisturbed
