"""`resources:` of a config: what a step wants of a machine."""

import pytest

from pipelines.resources import Resources, check, check_shares, of


def test_a_step_s_own_entry_comes_before_its_group_s() -> None:
    wanted = {"compress": Resources(gpus=1), "compress-fp32": Resources(memory_gb=3)}
    assert of(wanted, "compress-fp32") == Resources(memory_gb=3)
    assert of(wanted, "compress-int8_dynamic") == Resources(gpus=1)
    assert of(wanted, "prepare") == Resources()


def test_there_is_one_rank_a_device_unless_processes_are_named() -> None:
    assert Resources(gpus=2).ranks == 2
    assert Resources().ranks == 1
    assert Resources(processes=2).ranks == 2


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"serch": Resources()}, "resources.serch: no such step"),
        ({"finetune": Resources(parallel=2)}, "resources.finetune.parallel: only a search"),
        ({"evaluate": Resources(gpus=2)}, "resources.evaluate: 2 processes"),
    ],
)
def test_what_no_step_can_use_is_refused(wanted: dict[str, Resources], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        check(wanted)


def test_ranks_share_devices_evenly() -> None:
    with pytest.raises(ValueError, match="3 do not share 2 devices"):
        Resources(gpus=2, processes=3)


def test_processes_take_equally_many_portions_of_a_batch() -> None:
    wanted = {"finetune": Resources(gpus=2)}
    check_shares(wanted, "finetune", 4)
    check_shares(wanted, "pretrain", 1)
    with pytest.raises(
        ValueError, match=r"finetune.budget.accumulate: 1 .* 2 processes; set it to 2"
    ):
        check_shares(wanted, "finetune", 1)
