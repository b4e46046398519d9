"""A linear branch beside a small model: logistic regression on hashed n-grams, inside the graph."""

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, NamedTuple

from pydantic import Field, PositiveFloat

from components.artifacts import TrainedModel
from components.compression import Bench, Compression
from components.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from scipy.sparse import csr_matrix

    from components.batches.examples import Examples


class Regression(NamedTuple):
    """Logits are (counts @ weight.T + bias) @ spread.T."""

    weight: "np.ndarray"
    """(scores, columns): one score a label; of two labels one, how much more the second is."""
    bias: "np.ndarray"
    """(scores,)."""
    spread: "np.ndarray"
    """(labels, scores)."""

    def logits(self, counts: "csr_matrix") -> "np.ndarray":
        """(rows, labels)."""
        import numpy as np

        return (np.asarray(counts @ self.weight.T) + self.bias) @ self.spread.T


class LinearBranch(Compression):
    """Fitted on training rows and added to the model's logits: accuracy for few bytes.

    Columns that tell the labels apart are scaled up before the fit, so the penalty spares them.
    How much model and regression count is fitted on validation rows: two numbers.
    """

    source: ClassVar[str] = "Wang & Manning 2012, ACL P12-2018 (log-count ratios as scales)"
    works_on: ClassVar[Literal["model", "graph"]] = "model"

    longest: Annotated[int, Field(ge=1, le=3)] = 3
    """Tokens of the longest n-gram."""
    buckets: Annotated[int, Field(ge=2)] = 262_144
    """Rows of the table of each size of n-gram; single tokens have a table of their own."""
    evenness: PositiveFloat = 1.0
    """Added to a column's log-count ratio to make its scale; large: all columns alike."""
    inverse_strengths: Annotated[tuple[PositiveFloat, ...], Field(min_length=1)] = (
        0.03,
        0.06,
        0.12,
    )
    """Of the L2 penalty; the one with the smallest loss on validation rows is taken."""

    def model(self, candidate: TrainedModel, bench: Bench) -> TrainedModel:
        """The model with one branch more; what it had is only scaled, nothing is trained again.

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

        fitted = self._fit(bench, candidate)
        shares = self._shares(bench, candidate, fitted)
        linear = Ngrams(
            longest=self.longest, buckets=self.buckets, width=len(fitted.bias), pooling="root"
        )
        before = candidate.architecture
        others = before.branches if isinstance(before, Branches) else (before,)
        state = weights.tensors(candidate)
        if not isinstance(before, Branches):
            state = {_inside(name): value for name, value in state.items()}
        outputs = len(others) + 1  # the head takes their mean
        for name in state:
            if name.startswith("head.outputs."):
                state[name] = state[name] * (shares[0] * outputs / len(others))
        state |= self._tensors(fitted, candidate.spec.vocabulary_size, len(others))
        for part in ("weight", "bias"):
            state[f"head.outputs.{len(others)}.{part}"] *= shares[1] * outputs
        file = bench.folder / "with-linear-branch.safetensors"
        weights.save(state, file)
        return candidate.model_copy(
            update={
                "architecture": Branches(branches=(*others, linear)),
                "files": {**candidate.files, weights.FILE: objects.put(file)},
            }
        )

    def _fit(self, bench: Bench, candidate: TrainedModel) -> "Regression":
        """The regression with the smallest loss on validation rows, for plain counts."""
        import numpy as np
        from sklearn.linear_model import LogisticRegression
        from sklearn.metrics import log_loss
        from threadpoolctl import threadpool_limits

        spec = bench.data.spec
        split = {name: _examples(bench, name) for name in ("train", "val")}
        counts = {name: self._counts(examples, candidate) for name, examples in split.items()}
        answers = {name: examples.columns["label"] for name, examples in split.items()}
        having = np.bincount(counts["train"].indices, minlength=counts["train"].shape[1])
        inverse = np.log((1 + len(split["train"])) / (1 + having)) + 1
        every = np.arange(len(spec.labels))
        scale = inverse * (self.evenness + _ratios(counts["train"], answers["train"], every))
        features = {name: each.multiply(scale).tocsr() for name, each in counts.items()}
        fits: list[tuple[float, LogisticRegression]] = []
        with threadpool_limits(limits=1):
            for strength in self.inverse_strengths:
                model = LogisticRegression(C=strength, solver="newton-cg", max_iter=1000)
                model.fit(features["train"], answers["train"])
                chances = model.predict_proba(features["val"])
                loss = log_loss(answers["val"], chances, labels=every)
                fits.append((float(loss), model))
        _, best = min(fits, key=lambda fit: fit[0])
        spread = np.array([[-0.5], [0.5]]) if len(every) == 2 else np.eye(len(every))
        return Regression(best.coef_ * scale, best.intercept_, spread)

    def _shares(
        self, bench: Bench, candidate: TrainedModel, fitted: "Regression"
    ) -> tuple[float, float]:
        """What to multiply the logits of model and regression with, for the smallest loss."""
        import numpy as np
        from scipy.optimize import minimize
        from scipy.special import logsumexp

        from components.export.reference import one_thread
        from components.training import weights

        examples = _examples(bench, "val")
        answers = examples.columns["label"]
        with one_thread():
            own = weights.logits(weights.load(candidate), examples)
        parts = np.stack([own, fitted.logits(self._counts(examples, candidate))])

        def loss(shares: np.ndarray) -> float:
            logits = np.tensordot(shares, parts, 1)
            right = np.take_along_axis(logits, answers[:, None], axis=1)[:, 0]
            return float(np.mean(logsumexp(logits, axis=1) - right))

        found = minimize(loss, (0.5, 0.5), bounds=((0, 10), (0, 10)), method="L-BFGS-B").x
        return round(float(found[0]), 3), round(float(found[1]), 3)

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

    def _tensors(self, fitted: "Regression", vocabulary: int, others: int) -> dict:
        """The branch's tables, and its part of the head."""
        import torch

        weight, bias, spread = (torch.from_numpy(part).float() for part in fitted)
        sizes = [vocabulary] + [self.buckets] * (self.longest - 1)
        tables = weight.T.split(sizes)
        place = f"backbone.branches.{others}.tables"
        return {
            **{f"{place}.{number}.weight": table for number, table in enumerate(tables)},
            f"head.outputs.{others}.weight": spread,
            f"head.outputs.{others}.bias": spread @ bias,
        }


def _inside(name: str) -> str:
    """A tensor's name once its backbone is the first of several branches."""
    return f"backbone.branches.0.{name.removeprefix('backbone.')}" if name[0] == "b" else name


def _examples(bench: Bench, split: str) -> "Examples":
    from components import objects
    from components.batches.examples import Examples

    return Examples.load(objects.path(bench.data.files[f"{split}.safetensors"]), bench.data.spec)


def _ratios(counts: "csr_matrix", answers: "np.ndarray", every: "np.ndarray") -> "np.ndarray":
    """(columns,) how many times likelier a column is in rows of one label than in others, as log.

    The largest over the labels of |log((p + 1) / (q + 1))|, with p and q the rows that have the
    column as shares of all that such rows have.
    """
    import numpy as np

    having = counts.copy()
    having.data = np.ones_like(having.data)
    total = np.asarray(having.sum(0)).ravel() + 1
    largest = np.zeros(len(total))
    for label in every:
        inside = np.asarray(having[answers == label].sum(0)).ravel() + 1
        outside = total - inside + 1
        ratio = np.log(inside / inside.sum()) - np.log(outside / outside.sum())
        largest = np.maximum(largest, np.abs(ratio))
    return largest
