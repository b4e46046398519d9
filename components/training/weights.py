"""Weights as canonical files, models made of them, and what a model says about rows."""

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from components import files, objects
from components.artifacts import TrainedModel, Weights
from components.batches import order
from components.batches.examples import Examples
from components.errors import IntegrityError, UsageError
from components.layers.backbone import Model, assemble
from components.recipe import Recipe
from components.spec import DataSpec

FILE = "weights.safetensors"
EVALUATION_ROWS = 256


def fresh(recipe: Recipe, spec: DataSpec) -> Model:
    """A newly initialised model; draws from torch's global generator.

    Raises:
        ValueError: architecture, objective and data do not fit each other.
    """
    gives = recipe.architecture.gives(spec)
    recipe.objective.check(gives, spec)
    backbone = recipe.architecture.build(spec)
    return assemble(backbone, recipe.objective.head(gives, spec), spec)


def load(weights: TrainedModel) -> Model:
    """The model of a record, in evaluation mode, its bytes verified.

    Raises:
        IntegrityError: the file's tensors are not those of the record's architecture.
    """
    recipe = weights.recipe.model_copy(update={"architecture": weights.architecture})
    with torch.random.fork_rng(devices=[]):
        model = fresh(recipe, weights.spec)
    found = tensors(weights)
    wanted = {name: value.shape for name, value in model.state_dict().items()}
    if wanted != {name: value.shape for name, value in found.items()}:
        names = sorted(wanted.keys() ^ found.keys()) or [
            name for name in wanted if wanted[name] != found[name].shape
        ]
        raise IntegrityError(
            f"{FILE} of {weights.digest[:12]} does not hold the tensors of its architecture: "
            f"{', '.join(names[:5])}",
            "train the model again",
        )
    model.load_state_dict(found)
    return model.eval()


def tensors(weights: Weights) -> dict[str, Tensor]:
    """The tensors of a record by name."""
    if FILE not in weights.files:
        raise UsageError(f"record {weights.digest[:12]} names no {FILE}", "give trained weights")
    return load_file(objects.path(weights.files[FILE]))


def save(state: dict[str, Tensor], path: Path) -> None:
    """Write tensors as a file of which equal weights have equal bytes."""
    whole = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    with files.replacing(path) as temporary:
        save_file(whole, temporary)


def logits(model: Model, examples: Examples) -> np.ndarray:
    """(rows, labels) float32 of every row in the split's order; the model is left in its mode."""
    training = model.training
    model.eval()
    device = next(model.parameters()).device
    found: np.ndarray | None = None
    name = "ids" if len(examples.offsets) else "pixels"
    with torch.inference_mode():
        for rows in order.by_length(examples.lengths, EVALUATION_ROWS):
            given = torch.from_numpy(examples.batch(rows)[name]).to(device)
            part = model(given).float().cpu().numpy()
            if found is None:
                found = np.empty((len(examples), *part.shape[1:]), dtype=np.float32)
            found[rows] = part
    model.train(training)
    return np.zeros((0, 0), dtype=np.float32) if found is None else found


def hand_over(model: Model, start: Weights, objective: str) -> tuple[int, int]:
    """Copy what fits of other weights into a model: how many tensors, of how many.

    The backbone's tensors go by name and shape, the head's only where the start was trained for
    the same kind of objective.

    Raises:
        UsageError: nothing of the backbone fits.
    """
    own = model.state_dict()
    same = isinstance(start, TrainedModel) and start.recipe.objective.kind == objective
    taken = {
        name: value
        for name, value in tensors(start).items()
        if name in own and own[name].shape == value.shape and (name.startswith("backbone.") or same)
    }
    if not any(name.startswith("backbone.") for name in taken):
        raise UsageError(
            f"none of the backbone's tensors in {start.digest[:12]} has the name and shape of one "
            f"here ({start.architecture.kind} -> {type(model.backbone).__name__})",
            "give both trainings the same architecture, or start from none",
        )
    model.load_state_dict(taken, strict=False)
    return len(taken), len(own)
