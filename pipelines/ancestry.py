"""What a retraining takes over from the champion: how it reads rows, its weights, its studies.

All of it follows from the version that the run's record names, so a run that is resumed takes over
the very same. A step reads its arguments and nothing else: what is found here is passed to it.
"""

import shutil
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from components import bundle as bundles
from components import files, objects, project, signing
from components.artifacts import Fitting, SearchResult, TrainedModel, Trial
from components.bundle import Bundle, origin
from components.bundle.origin import Origin
from components.errors import UsageError
from components.recipe import Recipe
from components.records import content
from components.registry import fetching
from components.space import leaves, values_of
from pipelines.config import RunConfig
from pipelines.keys import differing, named_objects, result_folder, stored
from pipelines.runs import Retraining, Wishes
from pipelines.train import AFRESH, Start

READING = ("inputs.json", "tokenizer.json")
"""Files of a bundle that say how the version reads rows."""


class Ancestry(NamedTuple):
    """What is taken over, and in words what of it and what not."""

    start: Start
    notes: tuple[str, ...]


class _Afresh(Exception):
    """Why the champion's weights cannot go on."""


def start(config: RunConfig, wishes: Wishes) -> Start:
    """What a run takes over; nothing where it retrains nothing."""
    return taken_over(config, wishes).start


def taken_over(config: RunConfig, wishes: Wishes) -> Ancestry:
    """The same with what there is to say of it.

    Raises:
        IntegrityError: the champion's files are damaged.
    """
    retraining = wishes.retraining
    if retraining is None:
        return Ancestry(AFRESH, ())
    name, version = config.name, retraining.champion
    if version is None:
        return Ancestry(AFRESH, (f"{name} has no champion yet: this run starts afresh",))
    bundle = _bundle(name, retraining)
    try:
        made = origin.of(bundle)
        begun = _begun(config, made, bundle)
    except (UsageError, _Afresh) as reason:
        return Ancestry(AFRESH, (f"starts afresh, not from {name} v{version}: {reason}",))
    try:
        weights = _going_on(config, begun, made, bundle)
    except _Afresh as reason:
        kept = begun.model_copy(update={"fitted": None})
        said = f"starts afresh, not from the weights of {name} v{version}: {reason}"
        return Ancestry(kept, (said, *_found(kept, config, version)))
    whole = begun.model_copy(update={"weights": weights})
    said = f"starts from the weights of {name} v{version} ({weights.digest[:12]})"
    return Ancestry(whole, (said, *_found(whole, config, version)))


def carry(made: Origin, home: Path, folder: Path) -> tuple[str, ...]:
    """Put what a retrained version took over into another home, for a run in the project `folder`.

    Gives the words by which that run takes it over; none for a version that started afresh.
    """
    kept = made.facts.get("retraining")
    if not kept or kept["champion"] is None:
        return ()
    bundle = _bundle(made.config["name"], Retraining.model_validate(kept))
    shutil.copytree(bundle.folder, home / "bundles" / bundle.digest)
    if bundle.signer is not None:
        place = folder / signing.FOLDER / f"{bundle.signer.id}.pub"
        files.write_bytes(place, f"{bundle.signer.line}\n".encode())
    steps = origin.of(bundle).steps
    for key in [steps[name]["key"] for name in ("finetune", "search") if name in steps]:
        if (record := stored(key)) is not None:
            files.copy(result_folder() / key, home / "cache" / key)
            for sha in named_objects(record):
                files.copy(objects.path(sha), home / "objects" / sha[:2] / sha)
    files.write_json(folder / "retraining.json", kept)
    return ("--retraining", "retraining.json")


def _bundle(name: str, retraining: Retraining) -> Bundle:
    """The champion's files, from this home where it has them: a remake has no registry."""
    kept = project.home() / "bundles" / retraining.bundle
    if retraining.bundle and kept.is_dir():
        return bundles.open(kept, retraining.bundle)
    return fetching.fetch(name, retraining.champion or 0)


def tags(wishes: Wishes) -> dict[str, str]:
    """What MLflow shows of a run that retrains."""
    if (retraining := wishes.retraining) is None:
        return {}
    told = {
        "athanor.retrain.reason": retraining.reason,
        "athanor.retrain.data": " ".join(f"{n}:{d}" for n, d in retraining.after.items()),
    }
    if retraining.champion is not None:
        told["athanor.retrain.from"] = str(retraining.champion)
        told["athanor.retrain.bundle"] = retraining.bundle
    return told


def _begun(config: RunConfig, made: Origin, bundle: Bundle) -> Start:
    """The champion's reading of rows and what its searches found, without its weights."""
    recipe = _recipe(made)
    found = _values_found(made, recipe)
    begun = Start(fitted=_fitted(bundle), study=_study(config, made, recipe), found=found)
    try:
        begun.recipe(config.finetune)
    except (ValidationError, KeyError, TypeError):  # found for a recipe of another shape
        return begun.model_copy(update={"found": {}})
    return begun


def _recipe(made: Origin) -> Recipe:
    """What the champion was finetuned with."""
    try:
        return Recipe.model_validate(made.steps["finetune"]["inputs"]["recipe"])
    except (KeyError, ValidationError):
        raise _Afresh("it keeps no recipe that this code reads") from None


def _values_found(made: Origin, recipe: Recipe) -> dict[str, Any]:
    """Where the champion's recipe is not what its config says, a search found better."""
    written = dict(leaves(made.config["finetune"]))
    used = dict(leaves(content(recipe.model_dump(mode="json"))))
    return {at: used[at] for at in used if at in written and used[at] != written[at]}


def _study(config: RunConfig, made: Origin, recipe: Recipe) -> SearchResult | None:
    """The champion's study; where its result is gone, what it came to as one trial."""
    if "search" in made.steps:
        kept = stored(made.steps["search"]["key"])
        if isinstance(kept, SearchResult):
            return kept
    params = values_of(recipe, config.search.space) if config.search else None
    if params is None:
        return None
    trial = Trial(number=0, state="complete", value=None, params=params)
    return SearchResult(best=recipe, value=0.0, trials=(trial,))


def _fitted(bundle: Bundle) -> Fitting:
    named = [name for name in READING if name in bundle.names]
    files = {name: objects.put(bundle.folder / name) for name in named}
    return Fitting(spec=bundle.exported.model.spec, files=files)


def _going_on(config: RunConfig, begun: Start, made: Origin, bundle: Bundle) -> TrainedModel:
    """The champion's finetuned weights, where this config can train them further.

    Raises:
        _Afresh: it cannot, or they are gone.
    """
    mine = content(config.prepare.model_dump(mode="json"))
    if changes := differing(made.config["prepare"], mine):
        raise _Afresh(f"the config prepares rows otherwise ({'; '.join(changes[:3])})")
    if config.search and (paths := [p for p in config.search.space if p.startswith("arch")]):
        raise _Afresh(f"the search tries other architectures ({paths[0]})")
    weights = _weights(made, bundle)
    if weights.architecture != begun.recipe(config.finetune).architecture:
        raise _Afresh("the config describes another architecture")
    return weights


def _weights(made: Origin, bundle: Bundle) -> TrainedModel:
    """From the bundle where it ships them, else what the run left in this home.

    A version that was pruned or distilled ships other weights than were finetuned.

    Raises:
        _Afresh: they are gone.
    """
    step = made.steps["finetune"]
    if bundle.exported.model.digest == step["result"]:
        return bundle.adopt().model
    kept = stored(step["key"])
    if isinstance(kept, TrainedModel):
        return kept
    if all(objects.intact(sha) for sha in step["files"].values()):
        recipe = _recipe(made)
        spec, files = bundle.exported.model.spec, step["files"]
        return TrainedModel(architecture=recipe.architecture, spec=spec, files=files, recipe=recipe)
    raise _Afresh(
        "it ships a compressed model, and the weights that this was made from are gone from this "
        "home (athanor backup keeps them)"
    )


def _found(begun: Start, config: RunConfig, version: int) -> tuple[str, ...]:
    if config.search:
        tried = len(begun.study.trials) if begun.study else 0
        return (f"the search tries the best of v{version}'s {tried} trials first",) * bool(tried)
    values = ", ".join(f"{at} {value}" for at, value in begun.found.items())
    return (f"with what the searches before v{version} found: {values}",) * bool(values)
