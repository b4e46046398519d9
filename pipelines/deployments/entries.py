"""`configs/deployments.yaml`: what is deployed, or every problem of the file with its line."""

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from components import project
from components.errors import AthanorError, ConfigError
from components.records import Record
from pipelines.config import DEPLOYMENTS, Name, checked, load_run, run_files
from pipelines.deployments.durations import Duration, seconds
from pipelines.deployments.notices import Notice
from pipelines.deployments.policy import OnLate, Overlap
from pipelines.deployments.times import Schedule
from pipelines.deployments.words import EVENTS, one_of
from pipelines.reading import Document, read, shown

OWN = "athanor"
"""Name of the deployments through which `athanor run` submits."""


class Trigger(Record):
    """What starts a deployment beside its schedule: an event, or that nothing came for a time."""

    event: Annotated[str | None, BeforeValidator(one_of(EVENTS, "no such event"))] = None
    subject: str = ""
    """Only an event about this: a data set, a model, a config's name. Empty: about anything."""
    nothing_registered_for: Duration | None = None
    """No version of the config's name was registered for so long."""

    @model_validator(mode="after")
    def _one(self) -> "Trigger":
        if (self.event is None) == (self.nothing_registered_for is None):
            raise ValueError("a trigger is either an event or nothing_registered_for; write one")
        if self.subject and self.event is None:
            raise ValueError("only an event has a subject; leave it out")
        return self

    @property
    def word(self) -> str:
        """Its name: unlike that of any other trigger of one deployment."""
        return "-".join(filter(None, (self.event, self.subject))) or "nothing_registered"


class Parameters(Record):
    """What an entry gives its flow beside the config."""

    assignments: tuple[str, ...] = ()
    """`a.b=value` on top of the config, as after `--set`."""
    data: Literal["pull", "incoming", "as-is"] = "pull"
    """Where a retraining gets new data from."""


class Entry(Record):
    """One deployment."""

    name: Name
    flow: Literal["retrain", "run"] = "retrain"
    config: str
    """A run's YAML file, seen from the project's folder."""
    schedule: Schedule | None = None
    triggers: tuple[Trigger, ...] = ()
    parameters: Parameters = Parameters()
    on_late: OnLate = "latest"
    """What becomes of slots that nobody was there for."""
    late_after: Duration | None = None
    """How late a slot may start; without it a minute, or half of a shorter interval."""
    overlap: Overlap = "skip"
    """What becomes of a slot while the run before it is at work."""
    timeout: Duration | None = None
    """A run at work for longer is cancelled."""
    notify: tuple[Notice, ...] = ()
    paused: bool = False
    """Deployed, and its schedule off until somebody turns it on."""

    @field_validator("name")
    @classmethod
    def _free(cls, name: str) -> str:
        if name == OWN:
            raise ValueError("athanor run submits under this name; choose another")
        return name

    @model_validator(mode="after")
    def _fits(self) -> "Entry":
        if self.on_late == "all" and self.overlap == "replace":
            raise ValueError(
                "on_late all runs every slot to its end and overlap replace ends them;"
                " choose overlap queue, or on_late latest"
            )
        if self.flow == "run" and "data" in self.parameters.model_fields_set:
            raise ValueError("flow run takes no parameter data: the run gets what it lacks")
        if self.schedule is None and not self.triggers and self.paused:
            raise ValueError("there is nothing to pause; add a schedule or leave paused out")
        words = [each.word for each in self.triggers]
        if twice := [word for at, word in enumerate(words) if word in words[:at]]:
            raise ValueError(f"the trigger {twice[0]} stands twice; keep one")
        return self

    @property
    def timeout_s(self) -> float | None:
        """How long a run may work."""
        return seconds(self.timeout) if self.timeout else None


class Deployments(Record):
    """The whole file."""

    deployments: tuple[Entry, ...] = Field(default=())

    @model_validator(mode="after")
    def _names(self) -> "Deployments":
        names = [entry.name for entry in self.deployments]
        for at, name in enumerate(names):
            if name in names[:at]:
                raise ValueError(f"deployments.{at}.name: {name!r} stands twice; rename one")
        return self


def place() -> Path:
    """Where the file lies."""
    return project.root() / "configs" / DEPLOYMENTS


def load(file: Path | None = None) -> tuple[Entry, ...]:
    """The entries of the project's file, or of another one.

    Raises:
        ConfigError: every problem, one line each: file, line, key, value, remedy.
    """
    document = read(file or place())
    found = checked(document, Deployments).deployments
    if problems := [
        line for at, entry in enumerate(found) for line in _config(document, at, entry)
    ]:
        raise ConfigError("\n".join(problems), "nothing was deployed; mend the lines")
    return found


def _config(document: Document, at: int, entry: Entry) -> Iterator[str]:
    """What is wrong with the run that an entry names."""
    where = document.at(("deployments", at, "config"))
    key = f"deployments.{at}.config"
    path = project.root() / entry.config
    if not path.resolve().is_relative_to(project.root()):
        yield f"{where} {key}: {entry.config!r} lies outside the project; name one of configs/"
        return
    if not path.is_file():
        known = [shown(each) for each in run_files(path.parent)]
        near = difflib.get_close_matches(entry.config, known, 1)
        hint = f"did you mean {near[0]}" if near else f"there are: {', '.join(known) or 'none'}"
        yield f"{where} {key}: there is no file {entry.config}; {hint}"
        return
    try:
        load_run(path, entry.parameters.assignments)
    except AthanorError as error:
        for line in error.message.splitlines():
            yield f"{where} {key}: {line}"
