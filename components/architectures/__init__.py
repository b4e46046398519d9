"""Family: what a network is. One file is one architecture; torch is imported inside `build`."""

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

from components.options import Option
from components.records import Record
from components.spec import DataSpec

if TYPE_CHECKING:
    from components.layers.backbone import Backbone


class Gives(Record):
    """What a backbone hands to a head: widths, known before anything is built."""

    states: int | None
    """Width of the per-token states; None where there are none."""
    pooled: tuple[int, ...]
    """Width of the pooled vector of each branch; most architectures have one branch."""
    embedding: int | None = None
    """Width of the table that reads tokens, where a head may share it."""


class Architecture(Option):
    """The shape of a network, without its head."""

    family: ClassVar[str] = __name__

    @abstractmethod
    def gives(self, spec: DataSpec) -> Gives:
        """The widths that a head can build on; imports nothing heavy.

        Raises:
            ValueError: this architecture cannot read such data.
        """

    @abstractmethod
    def build(self, spec: DataSpec) -> "Backbone":
        """A freshly initialised backbone; draws from torch's global generator."""
