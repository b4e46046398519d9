"""Who trains one model together, and what they say to each other.

The loop asks `current()` and works the same alone and together: a rank computes its share of the
portions of every batch, and what portions come to is put together in their order. So the number of
ranks changes no bit where each holds the whole model.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from components.training.checkpoint import Snapshot

Note = list[float]
"""What a portion tells beside its gradient: loss, terms, and what it did to the buffers."""


class Ranks:
    """A training by one process, which says nothing to anybody."""

    number: int = 1
    rank: int = 0
    computes_idle: bool = False
    """Whether a rank that has nothing to compute must compute something beside the others."""

    @property
    def leads(self) -> bool:
        """Whether this rank writes journal, checkpoints and result."""
        return self.rank == 0

    def place(self, model: nn.Module) -> None:
        """Keep of a model what this rank is to hold."""

    def begin(self, present: int) -> None:
        """Begin a round of portions, one for each of the first ranks."""

    def add(self, parameters: Sequence[nn.Parameter], note: Note) -> list[Note]:
        """Take up the gradients of the round: the notes of its portions, in their order."""
        return [note]

    def finish(self, parameters: Sequence[nn.Parameter]) -> None:
        """Give every parameter the sum of the gradients that were taken up."""

    def clip(self, parameters: Sequence[nn.Parameter], norm: float) -> None:
        """Shorten the gradient, of all parameters as one vector, to this length."""
        nn.utils.clip_grad_norm_(parameters, norm)

    def gather(self, mine: list[Any]) -> list[Any]:
        """What all ranks found, each in turn: the parts `rank`, `rank + number`, ... of a whole."""
        return mine

    def largest(self, number: int) -> int:
        """The largest of the numbers that the ranks name."""
        return number

    def read(self, load: Callable[[], Snapshot | None]) -> Snapshot | None:
        """What the leader loads, at every rank."""
        return load()

    def whole(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Tensors of the model as one process would hold them."""
        return tensors

    def part(self, whole: dict[str, Tensor], like: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What this rank holds of whole tensors, as it holds `like`."""
        return whole

    def local(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The same memory, for arithmetic that looks at each element alone."""
        return [*tensors]


_current = [Ranks()]


def current() -> Ranks:
    """Those who train in this process's training."""
    return _current[-1]


@contextmanager
def joined(ranks: Ranks) -> Iterator[None]:
    """Inside, trainings are by these ranks."""
    _current.append(ranks)
    try:
        yield
    finally:
        _current.pop()
