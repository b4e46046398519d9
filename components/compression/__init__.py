"""Family: ways to make a model smaller or faster; a chain of them is an ordered list."""

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from components.artifacts import Prepared, TrainedModel
from components.options import Option
from components.recipe import Recipe
from components.space import leaves

if TYPE_CHECKING:
    from components.objectives import Arrays

SHORT = re.compile(r"[a-z0-9_.-]{1,40}")
"""What reads well as a part of a name, in a shell too."""


class Bench(Protocol):
    """What a compression may ask for while it works."""

    data: Prepared
    folder: Path
    """For scratch files."""

    def calibration(self, rows: int) -> "list[Arrays]":
        """Batches of training inputs by name, for graphs that need activation ranges."""

    def train(
        self, recipe: Recipe, *, start: TrainedModel | None, teacher: TrainedModel | None
    ) -> TrainedModel:
        """Recovery or student training with the house's one loop."""


class Compression(Option):
    """One method; says on what it works: a trained `model` or an ONNX `graph`."""

    family: ClassVar[str] = __name__
    works_on: ClassVar[Literal["model", "graph"]]

    def model(self, candidate: TrainedModel, bench: Bench) -> TrainedModel:
        """A smaller trained model (methods that work on models)."""
        raise TypeError(f"{self.kind} works on a {self.works_on}")

    def graph(self, source: Path, target: Path, bench: Bench) -> None:
        """Write a smaller graph to target (methods that work on graphs)."""
        raise TypeError(f"{self.kind} works on a {self.works_on}")


def check_chain(chain: Sequence[Compression]) -> None:
    """Refuse an order that cannot be: what works on models comes before what works on graphs.

    Raises:
        ValueError: a method for models follows one for graphs, or a method comes twice.
    """
    kinds = [method.kind for method in chain]
    for before, method in pairwise(chain):
        if before.works_on == "graph" and method.works_on == "model":
            raise ValueError(
                f"{method.kind} works on a trained model, and {before.kind} before it already "
                f"makes a graph; put {method.kind} first"
            )
    if sum(kind.startswith("int8") for kind in kinds) > 1 or len(set(kinds)) < len(kinds):
        raise ValueError(f"the chain {'+'.join(kinds)} does the same thing twice; leave one out")


def chain_name(chain: Sequence[Compression]) -> str:
    """`fp32` for the empty chain, else the kinds joined by `+`."""
    return "+".join(method.kind for method in chain) or "fp32"


def chain_names(chains: Sequence[Sequence[Compression]]) -> tuple[str, ...]:
    """What the chains of one run are called, no two alike: `structured`, `structured-ratio0.7`.

    A chain of the same methods as an earlier one is told from it by the settings that differ, and
    by its number where these make no short word. One more at the end renames none of the others.
    """
    names: list[str] = []
    alike: dict[str, list[dict[str, Any]]] = {}
    for chain in chains:
        name = chain_name(chain)
        methods = {str(at): method.model_dump(mode="json") for at, method in enumerate(chain)}
        settings = dict(leaves(methods))
        if earlier := alike.setdefault(name, []):
            others = sorted(settings.items() - earlier[0].items())
            label = "-".join(f"{path.rpartition('.')[2]}{value}".lower() for path, value in others)
            clear = SHORT.fullmatch(label) and f"{name}-{label}" not in names
            name += f"-{label if clear else len(earlier) + 1}"
        earlier.append(settings)
        names.append(name)
    return tuple(names)
