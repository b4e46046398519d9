"""AdamW with its parameter groups, and the learning rate over the steps."""

import math

import torch
from torch import nn

from components.recipe import Optimizer, Schedule


def adamw(model: nn.Module, optimizer: Optimizer) -> torch.optim.AdamW:
    """Fused AdamW; only matrices decay, not embeddings, norms and biases.

    Every group holds its `factor` of the learning rate.
    """
    tables = {
        id(parameter)
        for module in model.modules()
        if isinstance(module, nn.Embedding)
        for parameter in module.parameters()
    }
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        decays = parameter.ndim > 1 and id(parameter) not in tables
        number = branch(name) if optimizer.branch_lr else None
        factor = 1.0 if number is None else optimizer.branch_lr[number]
        key = (optimizer.weight_decay if decays else 0.0, factor)
        groups.setdefault(key, []).append(parameter)
    return torch.optim.AdamW(
        [
            {"params": parameters, "weight_decay": decay, "factor": factor}
            for (decay, factor), parameters in groups.items()
        ],
        lr=optimizer.lr,
        betas=optimizer.betas,
        fused=True,
    )


def branch(name: str) -> int | None:
    """The branch that a parameter belongs to by its name, `backbone.branches.1.tables.0.weight`."""
    parts = name.split(".")
    if parts[0] in ("backbone", "head") and parts[1] in ("branches", "outputs"):
        return int(parts[2])
    return None


def learning_rate(step: int, total: int, peak: float, schedule: Schedule) -> float:
    """The rate of the optimizer step number `step`, counted from 0.

    A straight line up to `peak` over the warm-up, then half a cosine down to the floor.
    """
    warmup = schedule.warmup * total
    if step + 1 < warmup:
        return peak * (step + 1) / warmup
    done = (step - warmup) / max(total - warmup, 1)
    wave = 0.5 * (1 + math.cos(math.pi * min(max(done, 0.0), 1.0)))
    return peak * (schedule.floor + (1 - schedule.floor) * wave)
