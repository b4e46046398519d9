"""What a step wants of a machine: devices, memory, processes. It changes no result's key."""

from collections.abc import Mapping
from typing import Literal

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveInt, model_validator

from components.launch import Launch
from components.records import Record
from pipelines.step_names import GROUPS, TRAINED, matches


class Resources(Record):
    """What one step is given, all or nothing."""

    gpus: NonNegativeInt = 0
    """Devices, for this step alone while it runs."""
    memory_gb: NonNegativeFloat = 0.0
    """Least memory of each device, or of the machine where the step wants no device."""
    processes: PositiveInt | None = None
    """Ranks of a training; None: one for each device, or one."""
    strategy: Literal["ddp", "fsdp"] = "ddp"
    """How ranks share a model: each holds it whole, or its part of it."""
    parallel: PositiveInt = 1
    """Trials of a search at one time, each with these devices."""

    @property
    def ranks(self) -> int:
        """Processes that train together."""
        return self.processes or max(1, self.gpus)

    def launch(self, devices: tuple[str, ...] | None = None) -> Launch:
        """How the step's process works on these devices; None: on whatever the machine shows."""
        return Launch(processes=self.ranks, strategy=self.strategy, devices=devices)

    @model_validator(mode="after")
    def _fits(self) -> "Resources":
        if self.gpus and self.ranks % self.gpus:
            raise ValueError(f"processes: {self.ranks} do not share {self.gpus} devices evenly")
        return self


def check(resources: Mapping[str, Resources]) -> None:
    """Refuse what no step can use.

    Raises:
        ValueError: `step.field: why`.
    """
    for name, wanted in resources.items():
        if not any(matches(group, name) for group in GROUPS):
            raise ValueError(f"resources.{name}: no such step; there are: {', '.join(GROUPS)}")
        if wanted.parallel > 1 and name != "search":
            raise ValueError(f"resources.{name}.parallel: only a search has trials; leave it out")
        if wanted.ranks > 1 and name not in TRAINED:
            raise ValueError(
                f"resources.{name}: {wanted.ranks} processes; only {' and '.join(TRAINED)} are"
                " trained by several"
            )


def check_shares(resources: Mapping[str, Resources], step: str, portions: int) -> None:
    """Refuse processes that cannot take equally many portions of a batch.

    Raises:
        ValueError: `step.field: why`.
    """
    ranks = of(resources, step).ranks
    if portions % ranks:
        raise ValueError(
            f"{step}.budget.accumulate: {portions} portions of a batch are not shared evenly by "
            f"{ranks} processes; set it to {-(-portions // ranks) * ranks}, or resources.{step}."
            "processes to 1"
        )


def of(resources: Mapping[str, Resources], step: str) -> Resources:
    """What a step is given: its own entry, else its group's, else one slot and no device."""
    if step in resources:
        return resources[step]
    named = [name for name in resources if matches(name, step)]
    return resources[named[0]] if named else Resources()
