"""Which steps of a run are done, which would run, and why: answered from text and stored results.

Nothing heavy is imported here, so `plan` and `why` answer in seconds, and a run of which everything
is cached starts no engine.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from components import project
from components.records import Record
from pipelines.keys import Call, Document, bind, changes, document, key, stored
from pipelines.step_names import matches


class Unknown:
    """The result of a step that did not run yet; so is everything read from it."""

    def __init__(self, step: str) -> None:
        self.step = step

    def __getattr__(self, name: str) -> "Unknown":
        if name.startswith("__"):
            raise AttributeError(name)
        return self


class Outlook(NamedTuple):
    """What would happen to one step, and why."""

    name: str
    state: str
    """`cached`, `run`, or `waits` for the result of a step that runs."""
    reasons: tuple[str, ...]
    key: str | None


class Planner:
    """Reads the chain by looking up stored results; nothing is executed.

    `forced` names steps whose stored result does not count.
    """

    def __init__(self, run: str, forced: "Forced") -> None:
        self.run = run
        self.forced = forced
        self.outlooks: list[Outlook] = []

    def __call__(self, name: str, step: Callable[..., Record], *args: Any, **kwargs: Any) -> Any:
        """The stored record of a step, or Unknown."""
        call = bind(name, step, args, kwargs)
        forced = self.forced(name)
        if waits := sorted({part.step for part in _unknown(call.arguments)}):
            return self._note(Outlook(name, "waits", (f"for {', '.join(waits)}",), None))
        of = document(call)
        this = key(of)
        forced = forced and this not in self.forced.done
        found = None if forced or not keeps(call) else stored(this)
        if found is not None:
            self.outlooks.append(Outlook(name, "cached", changes(self.run, name, of), this))
            return found
        return self._note(Outlook(name, "run", why_run(self.run, self.forced, call, of), this))

    def raw(self, data_set: str) -> Any:
        """The data set as recorded."""
        return raw(data_set)

    def expectations(self, data_set: str) -> Any:
        """The suite of a data set."""
        from pipelines.config import load_expectations

        return load_expectations(data_set)

    def record(self, kind: type[Record], **parts: Any) -> Any:
        """A record of known parts, or Unknown."""
        unknown = next(_unknown(parts), None)
        return unknown if unknown is not None else kind(**parts)

    def chosen(self, variants: Any, selected: Any) -> Any:
        """The variant of the selected graph, or Unknown."""
        unknown = next(_unknown([variants, selected]), None)
        return unknown if unknown is not None else choose(variants, selected)

    def decided(self, registered: Any, gate: Any) -> Any:
        """The stored decision; None where the version would be judged."""
        from components.gate import stored_decision

        if isinstance(registered, Unknown):
            self._note(Outlook("judge", "waits", ("for register",), None))
            self._note(Outlook("promote", "waits", ("for judge",), None))
            return registered
        forced = [self.forced(name) for name in EFFECTS]
        anew = any(forced) and version_of(registered) not in self.forced.done
        found = None if anew else stored_decision(registered, gate)
        if found is not None:
            reason = (f"version {registered.version} was decided: {found.outcome}",)
            later = found.verdict is not None and found.verdict.rule != "first"
            names = (*(["rescore"] * later), "judge", *(["promote"] * bool(found.promotion)))
            self.outlooks += [Outlook(name, "cached", reason, None) for name in names]
        return found

    def decide(self, decision: Any) -> Any:
        """Nothing is stored."""
        return decision

    def champion(self, registered: Any) -> Any:
        """Not looked up: it would start the registry."""
        return Unknown("champion")

    @property
    def complete(self) -> bool:
        """Whether every step is cached."""
        return all(outlook.state == "cached" for outlook in self.outlooks)

    def _note(self, outlook: Outlook) -> Unknown:
        self.outlooks.append(outlook)
        return Unknown(outlook.name)


class Forced:
    """Steps that must run again: those named, and all from one step on, in running order.

    `done` are keys of steps, and versions, that began anew already: each is forced once a run.
    """

    def __init__(
        self, names: tuple[str, ...] = (), start: str | None = None, done: Iterable[str] = ()
    ) -> None:
        self.names = names
        self.start = start
        self.done = set(done)
        self.begun = False

    def __call__(self, name: str) -> bool:
        """Whether this step is forced; steps are asked about in running order."""
        self.begun = self.begun or (self.start is not None and matches(self.start, name))
        return self.begun or self.by_name(name) is not None

    def by_name(self, name: str) -> str | None:
        """The word of the user's that forces this step."""
        return next((wanted for wanted in self.names if matches(wanted, name)), None)


EFFECTS = ("judge", "promote")
"""Steps that change or read state outside their arguments: their decision is stored, not they."""


def version_of(registered: Any) -> str:
    """A version as `NAME/VERSION`."""
    return f"{registered.name}/{registered.version}"


def keeps(call: Call) -> bool:
    """Whether a result is kept under the call's key."""
    return call.name not in EFFECTS


def why_run(run: str, forced: Forced, call: Call, of: Document) -> tuple[str, ...]:
    """Why a step has no result to use."""
    if word := forced.by_name(call.name):
        return (f"--force {word}",)
    if forced.begun:
        return (f"--from {forced.start}",)
    if not keeps(call):
        return ("no decision on this version is stored",)
    return changes(run, call.name, of) or ("its stored result is gone or damaged",)


def raw(data_set: str) -> Any:
    """The data set under `data/`, its identity and its rows; every byte is the recorded one.

    Raises:
        DataRejected: its `dataset.json` is malformed.
        IntegrityError: its files are not what was recorded.
        UsageError: no data set of this name is recorded.
    """
    from components.artifacts import RawData
    from components.data import check, pointer
    from components.data.cards import read_card

    root = project.root()
    check.verify([data_set])
    part = pointer.recorded(root).part(data_set)
    rows = read_card(root / "data" / data_set).counts
    return RawData(name=data_set, tree=part.digest, rows=rows)


def choose(variants: Any, selected: Any) -> Any:
    """The variant of the selected graph."""
    return next(variant for variant in variants if variant.exported == selected)


def _unknown(value: Any) -> Iterator[Unknown]:
    if isinstance(value, Unknown):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _unknown(part)
    elif isinstance(value, tuple | list):
        for part in value:
            yield from _unknown(part)
