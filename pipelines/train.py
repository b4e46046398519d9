"""The chain, one line a step: from raw data to a registered, judged and promoted model.

`do` is who reads this page. `pipelines.steps` executes each line as a Prefect task;
`pipelines.plan` only looks up what is stored: a result that is not there is `Unknown`, and so is
everything made of it.
"""

import logging
from collections.abc import Callable
from typing import Any, Literal, Protocol, TypeVar

from components.artifacts import (
    Exported,
    Fitting,
    Predictions,
    Prepared,
    Promotion,
    RawData,
    RegisteredModel,
    SearchResult,
    TrainedModel,
    ValidatedData,
    Variant,
    Verdict,
)
from components.compression import chain_names
from components.gate import Decision, GateConfig
from components.recipe import Recipe
from components.records import Record
from components.registry.moving import ChampionMoved
from components.space import changed
from components.steps.baseline import baseline
from components.steps.compress import compress
from components.steps.evaluate import evaluate
from components.steps.judge import judge
from components.steps.measure import measure
from components.steps.prepare import prepare
from components.steps.promote import promote
from components.steps.register import RegisterConfig, register
from components.steps.rescore import Champion, rescore
from components.steps.search import search
from components.steps.select import select
from components.steps.train import train
from components.steps.validate import validate
from components.validation.expectations import Expectations
from pipelines.config import RunConfig

R = TypeVar("R", bound=Record)

TRIES = 3
"""How often a candidate is judged while other runs move the champion."""

log = logging.getLogger(__name__)


class Steps(Protocol):
    """Who reads the chain."""

    def __call__(self, name: str, step: Callable[..., R], *args: Any, **kwargs: Any) -> R:
        """The record of a step under its name in the run."""

    def raw(self, data_set: str) -> RawData:
        """The data set as it lies in `data/`."""

    def expectations(self, data_set: str) -> Expectations:
        """What its suite demands."""

    def record(self, kind: type[R], **parts: Any) -> R:
        """A record put together from results."""

    def chosen(self, variants: tuple[Variant, ...], selected: Exported) -> Variant:
        """The variant of the selected graph."""

    def decided(self, registered: RegisteredModel, gate: GateConfig) -> Decision | None:
        """The stored decision on a version."""

    def decide(self, decision: Decision) -> Decision:
        """Store a decision: a version is decided once."""

    def champion(self, registered: RegisteredModel) -> Champion | None:
        """Who holds the alias now: state of the registry, read when asked."""


class Start(Record):
    """What a run takes over from an earlier version; nothing where it starts afresh."""

    fitted: Fitting | None = None
    """How the version reads its rows; its weights fit no other."""
    weights: TrainedModel | None = None
    """In place of pretrained ones."""
    study: SearchResult | None = None
    """Its best trials are tried first."""
    found: dict[str, Any] = {}
    """Values that its searches found, by dotted path into the recipe; for a run without one."""

    def recipe(self, base: Recipe) -> Recipe:
        """The config's recipe with the values that were found before."""
        return changed(base, self.found)


AFRESH = Start()


class Outcome(Record):
    """What a run came to; the receipt is written from it."""

    validated: tuple[ValidatedData, ...]
    data: Prepared
    pretrained: TrainedModel | None
    searched: SearchResult | None
    finetuned: TrainedModel
    variants: tuple[Variant, ...]
    selected: Exported
    baselines: tuple[Predictions, ...]
    compared: tuple[Verdict, ...]
    """The selected variant against each baseline, in their order; shown, not deciding."""
    registered: RegisteredModel
    decision: Decision


def chain(do: Steps, config: RunConfig, start: Start = AFRESH) -> Outcome:
    """Validate > prepare > pretrain > search > finetune > compress > select > register > judge."""
    validated = tuple(
        do(f"validate-{name}", validate, do.raw(name), do.expectations(name))
        for name in config.data
    )
    data = do("prepare", prepare, validated, config.prepare, fitted=start.fitted)
    afresh = start.weights is None and config.pretrain is not None
    pretrained = do("pretrain", train, data, config.pretrain) if afresh else None
    weights = start.weights or pretrained
    found = _searched(do, data, config, weights, start) if config.search else None
    recipe = found.best if found else start.recipe(config.finetune)
    model = do("finetune", train, data, recipe, start=weights)
    variants = tuple(_variant(do, model, data, config, at) for at in range(len(config.compress)))
    selected = do("select", select, variants, config.select)
    variants = tuple(_tested(do, variant, data, config, at) for at, variant in enumerate(variants))
    chosen = do.chosen(variants, selected)
    baselines = tuple(
        do(f"baseline-{kind}", baseline, data, kind, split="test") for kind in config.baselines
    )
    compared = tuple(
        do(f"compare-{rival}", judge, chosen, answers, GateConfig(first=rival))
        for rival, answers in zip(config.baselines, baselines, strict=True)
    )
    registered = do("register", register, variants, selected, _named(config), data=data)
    decision = do.decided(registered, config.gate)
    if decision is None:
        rivals = dict(zip(config.baselines, baselines, strict=True))
        decision = _decide(do, config, (registered, chosen, data), rivals[config.gate.first])
    return do.record(
        Outcome,
        validated=validated,
        data=data,
        pretrained=pretrained,
        searched=found,
        finetuned=model,
        variants=variants,
        selected=selected,
        baselines=baselines,
        compared=compared,
        registered=registered,
        decision=decision,
    )


def _searched(
    do: Steps, data: Prepared, config: RunConfig, weights: TrainedModel | None, start: Start
) -> SearchResult:
    """The study, from the weights that finetuning starts from; the last one's best come first."""
    given = {"start": weights, "previous": start.study}
    return do("search", search, data, config.finetune, config.search, **given)


def _variant(do: Steps, model: TrainedModel, data: Prepared, config: RunConfig, at: int) -> Variant:
    """One chain of compression: its graph, its size and speed, its score on validation rows."""
    name = chain_names(config.compress)[at]
    exported = do(f"compress-{name}", compress, model, data, config.compress[at], name)
    return do.record(
        Variant,
        exported=exported,
        measured=do(f"measure-{name}", measure, exported, data, config.measure),
        validation=do(f"evaluate-{name}", evaluate, exported, data, split="val"),
    )


def _tested(do: Steps, variant: Variant, data: Prepared, config: RunConfig, at: int) -> Variant:
    """The variant with its score on test rows, read for the report and the gate alone."""
    name = chain_names(config.compress)[at]
    test = do(f"test-{name}", evaluate, variant.exported, data, split="test")
    return do.record(
        Variant,
        exported=variant.exported,
        measured=variant.measured,
        validation=variant.validation,
        test=test,
    )


def _decide(
    do: Steps,
    config: RunConfig,
    candidate: tuple[RegisteredModel, Variant, Prepared],
    first: Predictions,
) -> Decision:
    """Judge a version beside the champion; again where another took its place meanwhile."""
    for _ in range(TRIES - 1):
        try:
            return _decide_once(do, config, candidate, first)
        except ChampionMoved as moved:
            log.warning("%s; judging again", moved.message)
    return _decide_once(do, config, candidate, first)


def _decide_once(
    do: Steps,
    config: RunConfig,
    candidate: tuple[RegisteredModel, Variant, Prepared],
    first: Predictions,
) -> Decision:
    """Beside the champion or, for a first version, beside a baseline."""
    registered, chosen, data = candidate
    gate = config.gate
    champion = do.champion(registered)
    same = champion is not None and champion.bundle == registered.bundle
    if same:
        return do.decide(
            do.record(Decision, registered=registered, gate=gate.digest, outcome="unchanged")
        )
    version = champion.version if champion else None
    rival = do("rescore", rescore, champion, data, config.measure) if champion else first
    verdict = do("judge", judge, chosen, rival, gate, champion=version)
    promotion = (
        do("promote", promote, registered, verdict, expected=version) if verdict.passed else None
    )
    return do.decide(
        do.record(
            Decision,
            registered=registered,
            gate=gate.digest,
            outcome=_outcome(promotion),
            verdict=verdict,
            promotion=promotion,
        )
    )


def _outcome(promotion: Promotion | None) -> Literal["promoted", "refused", "unchanged"]:
    """A version that was rolled back by hand passes the gate and stays out all the same."""
    if promotion is None:
        return "refused"
    return "promoted" if promotion.moved else "unchanged"


def _named(config: RunConfig) -> RegisterConfig:
    return RegisterConfig(name=config.name)
