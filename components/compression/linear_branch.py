"""A linear branch beside a small model: logistic regression on hashed n-grams, inside the graph."""

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, PositiveFloat

from components.artifacts import TrainedModel
from components.compression import Bench, Compression
from components.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from scipy.sparse import csr_matrix

    from components.batches.examples import Examples


class LinearBranch(Compression):
    """Fitted on training rows and averaged with the model's logits: accuracy for few bytes."""

    source: ClassVar[str] = "Wang & Manning 2012, ACL P12-2018 (linear models on n-grams)"
    works_on: ClassVar[Literal["model", "graph"]] = "model"

    longest: Annotated[int, Field(ge=1, le=3)] = 3
    """Tokens of the longest n-gram."""
    buckets: Annotated[int, Field(ge=2)] = 131_072
    """Rows of the table of each size of n-gram; single tokens have a table of their own."""
    inverse_strengths: Annotated[tuple[PositiveFloat, ...], Field(min_length=1)] = (0.03, 0.1, 0.3)
    """Of the L2 penalty; the one with the smallest loss on validation rows is taken."""

    def model(self, candidate: TrainedModel, bench: Bench) -> TrainedModel:
        """The model with one branch more; nothing of it is trained again.

        Raises:
            UsageError: the model does not classify texts.
        """
        if candidate.spec.modality != "text" or candidate.recipe.objective.kind != "classification":
            raise UsageError(
                f"linear_branch reads classified texts, not {candidate.spec.modality} for "
                f"{candidate.recipe.objective.kind}",
                "leave it out of compress",
            )
        from components import objects
        from components.architectures.branches import Branches
        from components.architectures.ngrams import Ngrams
        from components.training import weights

        labels = len(candidate.spec.labels)
        fitted = self._fit(bench, candidate)
        linear = Ngrams(longest=self.longest, buckets=self.buckets, width=labels, pooling="root")
        before = candidate.architecture
        others = before.branches if isinstance(before, Branches) else (before,)
        state = weights.tensors(candidate)
        if not isinstance(before, Branches):
            state = {_inside(name): value for name, value in state.items()}
        state |= self._tensors(fitted, candidate.spec.vocabulary_size, len(others))
        file = bench.folder / "with-linear-branch.safetensors"
        weights.save(state, file)
        return candidate.model_copy(
            update={
                "architecture": Branches(branches=(*others, linear)),
                "files": {**candidate.files, weights.FILE: objects.put(file)},
            }
        )

    def _fit(self, bench: Bench, candidate: TrainedModel) -> "tuple[np.ndarray, np.ndarray]":
        """Weights (labels, columns), scaled for plain counts, and intercepts (labels,)."""
        import numpy as np
        from sklearn.linear_model import LogisticRegression
        from sklearn.metrics import log_loss
        from threadpoolctl import threadpool_limits

        from components import objects
        from components.batches.examples import Examples

        spec = bench.data.spec
        split = {
            name: Examples.load(objects.path(bench.data.files[f"{name}.safetensors"]), spec)
            for name in ("train", "val")
        }
        counts = {name: self._counts(examples, candidate) for name, examples in split.items()}
        having = np.bincount(counts["train"].indices, minlength=counts["train"].shape[1])
        inverse = np.log((1 + len(split["train"])) / (1 + having)) + 1
        features = {name: each.multiply(inverse).tocsr() for name, each in counts.items()}
        answers = {name: examples.columns["label"] for name, examples in split.items()}
        every = np.arange(len(spec.labels))
        best: tuple[float, LogisticRegression] | None = None
        with threadpool_limits(limits=1):
            for strength in self.inverse_strengths:
                model = LogisticRegression(C=strength, solver="newton-cg", max_iter=1000)
                model.fit(features["train"], answers["train"])
                chances = model.predict_proba(features["val"])
                loss = float(log_loss(answers["val"], chances, labels=every))
                if best is None or loss < best[0]:
                    best = loss, model
        model = best[1] if best else model
        weight, bias = model.coef_ * inverse, model.intercept_
        if len(every) == 2:  # one row says how much more the second label is than the first
            weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
        return weight, bias

    def _counts(self, examples: "Examples", candidate: TrainedModel) -> "csr_matrix":
        """How often each hashed n-gram stands in a row, over the root of the row's length."""
        import numpy as np
        import torch
        from scipy.sparse import csr_matrix

        from components.layers.ngrams import buckets
        from components.spec import PAD

        first = [0] + [
            candidate.spec.vocabulary_size + self.buckets * size for size in range(self.longest - 1)
        ]
        columns, owners = [], []
        for begin in range(0, len(examples), 256):
            rows = np.arange(begin, min(begin + 256, len(examples)))
            ids = torch.from_numpy(examples.batch(rows)["ids"])
            row, place = (ids != PAD).nonzero(as_tuple=True)
            for size in range(1, self.longest + 1):
                grams = ids if size == 1 else buckets(ids, size, self.buckets)
                columns.append(grams[row, place].numpy() + first[size - 1])
                owners.append(row.numpy() + begin)
        owner = np.concatenate(owners)
        value = 1 / np.sqrt(np.maximum(examples.lengths, 1))[owner]
        width = candidate.spec.vocabulary_size + self.buckets * (self.longest - 1)
        shape = (len(examples), width)
        return csr_matrix((value, (owner, np.concatenate(columns))), shape=shape)

    def _tensors(
        self, fitted: "tuple[np.ndarray, np.ndarray]", vocabulary: int, others: int
    ) -> dict:
        """The branch's tables, and its part of the head: it weighs as much as all others."""
        import torch

        weight, bias = (torch.from_numpy(part).float() for part in fitted)
        sizes = [vocabulary] + [self.buckets] * (self.longest - 1)
        tables = weight.T.split(sizes)
        place = f"backbone.branches.{others}.tables"
        return {
            **{f"{place}.{number}.weight": table for number, table in enumerate(tables)},
            f"head.outputs.{others}.weight": others * torch.eye(len(bias)),
            f"head.outputs.{others}.bias": others * bias,
        }


def _inside(name: str) -> str:
    """A tensor's name once its backbone is the first of several branches."""
    return f"backbone.branches.0.{name.removeprefix('backbone.')}" if name[0] == "b" else name
