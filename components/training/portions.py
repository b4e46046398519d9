"""A batch cut into portions: the same gradients, whoever computes which of them.

A portion draws its chance from (seed, step, its number) and finds the buffers as the step began;
losses, gradients and buffers are put together in the portions' order.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from components.batches import order
from components.batches.examples import Arrays
from components.training import determinism, ranks
from components.training.ranks import Note
from components.training.state import TrainingState

Loss = Callable[[Arrays], tuple[Tensor, int]]


def accumulate(batch: Arrays, state: TrainingState, loss: Loss) -> tuple[float, int]:
    """Gradients of a batch's mean loss; the sum of its losses and their number."""
    together = ranks.current()
    portions = cut(batch, state.recipe.budget.accumulate)
    rows = len(next(iter(batch.values())))
    work = _Work(state, loss, rows if len(portions) > 1 else None)
    parameters = [each for each in state.model.parameters() if each.requires_grad]
    notes: list[Note] = []
    for first in range(0, len(portions), together.number):
        number, note = first + together.rank, work.nothing
        together.begin(present=min(together.number, len(portions) - first))
        if number < len(portions):
            note = work.portion(portions[number], number)
        elif together.computes_idle:
            work.idle(portions[0], number)
        notes += together.add(parameters, note)
    together.finish(parameters)
    work.settle_buffers(notes)
    total, terms = 0.0, 0
    for each in notes:
        total, terms = total + each[0], terms + int(each[1])
    if len(portions) > 1 and terms != rows:
        gradients = [each.grad for each in parameters if each.grad is not None]
        torch._foreach_mul_(together.local(gradients), rows / max(terms, 1))
    return total, terms


def cut(batch: Arrays, number: int) -> list[Arrays]:
    """A batch cut by rows into at most this many portions."""
    rows = len(next(iter(batch.values())))
    size = math.ceil(rows / number)
    return [
        {name: array[first : first + size] for name, array in batch.items()}
        for first in range(0, rows, size)
    ]


class _Work:
    """Computes portions of one step."""

    def __init__(self, state: TrainingState, loss: Loss, rows: int | None) -> None:
        self.state, self.loss, self.rows = state, loss, rows
        self.buffers = [*state.model.buffers()]
        self.before = [each.clone() for each in self.buffers]

    @property
    def nothing(self) -> Note:
        """The note of a rank without a portion; as long as any other."""
        return [0.0] * (2 + sum(each.numel() for each in self.buffers))

    def portion(self, portion: Arrays, number: int) -> Note:
        """Gradients of a portion."""
        found, count = self._backward(portion, number, 1.0)
        note = [found, float(count)]
        for buffer in self.buffers:
            note += buffer.double().flatten().tolist()
        self._restore_buffers()
        return note

    def idle(self, portion: Arrays, number: int) -> None:
        """The work of a portion and none of its gradients."""
        self._backward(portion, number, 0.0)
        self._restore_buffers()

    def settle_buffers(self, notes: list[Note]) -> None:
        """Buffers as the portions left them on average: a step moves them once, as a whole one."""
        place = 2
        for buffer in self.buffers:
            end = place + buffer.numel()
            values = torch.tensor([note[place:end] for note in notes], dtype=torch.float64)
            mean = values.sum(0) / len(notes)
            with torch.no_grad():
                buffer.copy_(mean.view(buffer.shape))
            place = end

    def _backward(self, portion: Arrays, number: int, factor: float) -> tuple[float, int]:
        state = self.state
        with determinism.drawn(order.portion_seed(state.recipe.seed, state.step, number)):
            loss, count = self.loss(portion)
            # One portion knows its number of terms; several agree on the rows until all are known.
            share = loss / (max(count, 1) if self.rows is None else self.rows)
            share = share if factor == 1 else share * factor
            state.scaler.scale(share).backward()
        return loss.item(), count

    @torch.no_grad()
    def _restore_buffers(self) -> None:
        for buffer, value in zip(self.buffers, self.before, strict=True):
            buffer.copy_(value)
