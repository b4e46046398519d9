"""Guess hidden tokens from the rest: what a text network can learn without labels."""

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, cast

import numpy as np
from pydantic import Field

from components.architectures import Gives
from components.objectives import HARD, Arrays, Objective, Softening
from components.spec import MASK, PAD, DataSpec

if TYPE_CHECKING:
    from torch import Tensor, nn

    from components.layers.backbone import Encoded
    from components.layers.heads import Vocabulary


class MaskedLanguageModel(Objective):
    """Some tokens are hidden, replaced or left, and the network names them.

    The vocabulary's logits are computed at those places only: with 15 % of them, that is six
    times less work in what is the largest matrix product of a small encoder.
    """

    source: ClassVar[str] = "Devlin et al., arXiv:1810.04805, section 3.1"
    metric: ClassVar[str] = "loss"
    direction: ClassVar[Literal["maximize", "minimize"]] = "minimize"
    reads: ClassVar[Literal["train", "pretrain"]] = "pretrain"

    share: Annotated[float, Field(gt=0, lt=1)] = 0.15
    """Of the tokens that are guessed."""
    masked: Annotated[float, Field(ge=0, le=1)] = 0.8
    """Of those, replaced by the mask token."""
    replaced: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Of those, replaced by another token; the rest is left as it is."""
    output: Literal["shared", "own"] = "shared"
    """Whether the logits come through the table that reads tokens or through one of their own."""

    def check(self, gives: Gives, spec: DataSpec) -> None:
        if gives.states is None:
            raise ValueError("masked_lm needs a state per token, this architecture gives none")
        if spec.vocabulary_size <= MASK + 1:
            raise ValueError(f"masked_lm needs tokens, the data are {spec.modality} without any")
        if self.masked + self.replaced > 1:
            raise ValueError(
                f"masked_lm: masked {self.masked} and replaced {self.replaced} exceed 1"
            )

    def head(self, gives: Gives, spec: DataSpec) -> "nn.Module":
        from components.layers.heads import OwnVocabulary, SharedVocabulary

        width = gives.states or 0
        if self.output == "own" or gives.embedding is None:
            return OwnVocabulary(width, spec.vocabulary_size)
        return SharedVocabulary(width, gives.embedding, spec.vocabulary_size)

    def arrange(self, batch: Arrays, spec: DataSpec, rng: np.random.Generator) -> Arrays:
        """`ids` with tokens hidden and `target`, the true token at the chosen places, else 0."""
        ids = batch["ids"]
        tokens = ids != PAD
        chosen = (rng.random(ids.shape, dtype=np.float32) < self.share) & tokens
        if not chosen.any() and tokens.any():
            places = np.argwhere(tokens)
            chosen[tuple(places[rng.integers(len(places))])] = True
        fate = rng.random(ids.shape, dtype=np.float32)
        others = rng.integers(MASK + 1, spec.vocabulary_size, ids.shape)
        seen = np.where(chosen & (fate < self.masked), MASK, ids)
        swap = chosen & (fate >= self.masked) & (fate < self.masked + self.replaced)
        return {"ids": np.where(swap, others, seen), "target": np.where(chosen, ids, PAD)}

    def loss(
        self,
        encoded: "Encoded",
        head: "nn.Module",
        batch: "dict[str, Tensor]",
        softening: Softening = HARD,
    ) -> "tuple[Tensor, int]":
        from components.layers.losses import cross_entropy

        target = batch["target"].flatten()
        places = (target != PAD).nonzero().squeeze(1)
        states = encoded.per_token().flatten(0, 1).index_select(0, places)
        logits = cast("Vocabulary", head).logits(states, encoded.embedding)
        wanted = target.index_select(0, places)
        return cross_entropy(logits, wanted, softening.label_smoothing), len(places)
