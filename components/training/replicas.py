"""Ranks that each hold the whole model and add up their gradients in one order.

Sums are taken in the order of the portions, element by element: a rank receives its stretch of
every gradient from all others, adds them up one after the other, and hands the sums round. What is
sent is as much as in a ring; the result is that of one process, to the bit, for any number of
ranks (an all-reduce groups its addends as it likes, and groups them anew after a restart).
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from components.training.checkpoint import Snapshot
from components.training.ranks import Note, Ranks

BUCKET_BYTES = 64 << 20
"""Gradients that travel together: what a rank holds of them twice over while it adds."""

CPU = torch.device("cpu")


class Replicas(Ranks):
    """The ranks of the process group that this process is in."""

    def __init__(self) -> None:
        self.number, self.rank = dist.get_world_size(), dist.get_rank()
        self._present = self.number
        self._sums: dict[int, Tensor] = {}
        self._used = torch.zeros(0, dtype=torch.bool)

    def begin(self, present: int) -> None:
        self._present = present

    def add(self, parameters: Sequence[nn.Parameter], note: Note) -> list[Note]:
        used = [float(each.grad is not None) for each in parameters]
        told = self._told([*note, *used])
        marks = told[:, len(note) :].bool().any(0)
        self._used = marks | self._used if self._sums else marks
        for number, bucket in enumerate(_buckets(parameters)):
            gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in bucket]
            before = self._sums.get(number)
            self._sums[number] = summed(before, self._sent(gradients), self._present)
        for each in parameters:
            each.grad = None
        return told[:, : len(note)].tolist()

    def finish(self, parameters: Sequence[nn.Parameter]) -> None:
        used = dict(zip(parameters, self._used.tolist(), strict=True))
        for number, bucket in enumerate(_buckets(parameters)):
            mine = self._sums[number]
            whole = mine.new_empty(mine.numel() * self.number)
            dist.all_gather_single(whole, mine)
            place = 0
            for each in bucket:
                if used[each]:  # what no portion used must stay untouched: it would decay else
                    each.grad = torch.empty_like(each, memory_format=torch.preserve_format)
                    each.grad.copy_(whole[place : place + each.numel()].view(each.shape))
                place += each.numel()
        self._sums = {}

    def gather(self, mine: list[Any]) -> list[Any]:
        parts: list[list[Any]] = [[] for _ in range(self.number)]
        dist.all_gather_object(parts, mine)
        longest = max(map(len, parts))
        turns = (part[turn] for turn in range(longest) for part in parts if turn < len(part))
        return [*turns]

    def largest(self, number: int) -> int:
        told = torch.tensor(number)
        dist.all_reduce(told, op=dist.ReduceOp.MAX)
        return int(told)

    def read(self, load: Callable[[], Snapshot | None]) -> Snapshot | None:
        found = [load() if self.leads else None]
        dist.broadcast_object_list(found, device=CPU)
        return found[0]

    def _told(self, numbers: list[float]) -> Tensor:
        """(portions, numbers): what the ranks say of theirs, always on the CPU."""
        mine = torch.tensor(numbers, dtype=torch.float64)
        told = mine.new_empty(self.number * len(numbers))
        dist.all_gather_single(told, mine)
        return told.view(self.number, -1)[: self._present]

    def _sent(self, gradients: list[Tensor]) -> Tensor:
        """One flat tensor, long enough for equal stretches."""
        flat = [each.reshape(-1) for each in gradients]
        missing = -sum(map(len, flat)) % self.number
        return torch.cat([*flat, flat[0].new_zeros(missing)])


def summed(before: Tensor | None, sent: Tensor, present: int) -> Tensor:
    """This rank's stretch of what all ranks send, added in their order to what was before.

    `sent` holds a stretch for each rank; only the first `present` ranks are counted.
    """
    arrived = torch.empty_like(sent)
    dist.all_to_all_single(arrived, sent)
    parts = [*arrived.view(dist.get_world_size(), -1)[:present]]
    total = parts.pop(0).clone() if before is None else before
    for part in parts:
        total += part
    return total


def _buckets(parameters: Sequence[nn.Parameter]) -> list[list[nn.Parameter]]:
    """Parameters in their order, cut where enough bytes are together."""
    buckets: list[list[nn.Parameter]] = [[]]
    size = 0
    for each in parameters:
        if size and size + each.nbytes > BUCKET_BYTES:
            buckets.append([])
            size = 0
        buckets[-1].append(each)
        size += each.nbytes
    return buckets
