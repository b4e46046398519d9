"""What a training is, whole: nothing that changes the weights stands anywhere else."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from components.architectures import Architecture
from components.objectives import Guidance, Objective
from components.records import Record

Share = Annotated[float, Field(ge=0, le=1)]


class Optimizer(Record):
    """AdamW (Loshchilov & Hutter, arXiv:1711.05101) with the gradient's norm clipped."""

    lr: PositiveFloat
    weight_decay: NonNegativeFloat = 0.01
    """Applied to matrices; not to embeddings, norms and biases."""
    branch_lr: tuple[PositiveFloat, ...] = ()
    """Factor of the learning rate for each branch of the architecture `branches`, its part of the
    head included; empty: 1 for all. A wide table wants several times the rate of a deep net."""
    betas: tuple[Share, Share] = (0.9, 0.98)
    clip_norm: PositiveFloat = 1.0


class Schedule(Record):
    """Linear warm-up, then a cosine down to a floor."""

    warmup: Share = 0.06
    """Share of all steps."""
    floor: Share = 0.01
    """Share of the peak learning rate."""


class Budget(Record):
    """How long to train and in what portions."""

    epochs: PositiveInt
    max_steps: PositiveInt | None = None
    """Optimizer steps; whichever of the two ends first. The schedule is laid over it."""
    batch_size: PositiveInt = 64
    """Examples per optimizer step."""
    accumulate: PositiveInt = 1
    """Portions that a batch is cut into, to save memory."""
    patience: PositiveInt | None = None
    """Epochs without a better validation score before training stops; None: never early.
    The best epoch's weights are kept in both cases where there is a validation split."""
    checkpoint_steps: PositiveInt = 200
    """Optimizer steps between checkpoints."""


class Augmentation(Record):
    """Changes of training images, drawn from (seed, epoch, index)."""

    shift_pixels: NonNegativeInt = 0
    rotate_degrees: NonNegativeFloat = 0.0
    scale: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Largest relative change of size."""


class Recipe(Record):
    """A complete training: who trains on what for how long, down to the seed and the threads."""

    architecture: Architecture
    objective: Objective
    optimizer: Optimizer
    schedule: Schedule = Schedule()
    budget: Budget
    augmentation: Augmentation | None = None
    guidance: Guidance | None = None
    """Needed where a teacher is given, and only there."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Decay of the averaged weights, which are then the result; None: no average."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """`auto` is resolved from the processor's flags before a key is made."""
    threads: PositiveInt = 2
    """Part of the recipe: another count gives other bits."""
    seed: NonNegativeInt = 0
