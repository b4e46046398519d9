"""What steps hand to each other: small frozen records that name files by their sha256.

The files themselves lie in the object store (`components.objects`); no tensor, frame or session
passes between steps.
"""

from typing import Any, Literal

from pydantic import ConfigDict, PositiveFloat

from components.architectures import Architecture
from components.recipe import Recipe
from components.records import Record
from components.spec import DataSpec

Split = Literal["train", "val", "test"]
Files = dict[str, str]
"""Name of a file inside the artifact -> sha256 of its bytes."""


class Made(Record):
    """Circumstances of a result: shown, never part of its identity."""

    seconds: float = 0.0
    at: str = ""
    """UTC, ISO 8601."""
    host: str = ""
    facts: dict[str, Any] = {}


class RawData(Record):
    """A data set as it lies in `data/<name>`; the digest is its sub-tree's, as DVC computes it."""

    name: str
    tree: str
    """md5 of the sub-tree with `.dir`, the DVC digest."""
    rows: dict[str, int]
    """Rows per split."""


class Check(Record):
    """One rule and what came of it."""

    rule: str
    passed: bool
    severity: Literal["critical", "warning", "info"] = "critical"
    observed: str = ""
    examples: tuple[str, ...] = ()


class ValidatedData(Record):
    """A data set that passed its expectations."""

    raw: RawData
    checks: tuple[Check, ...]
    made: Made | None = None
    """Its facts name the report's files (`report.html`, `result.json`): how a report looks must
    not train a model again."""


class Prepared(Record):
    """Arrays fitted on training rows: tokenizer, scaler, labels and one array file per split.

    `files` holds `<split>.safetensors` for train, val and test, `pretrain.safetensors` where there
    are unlabelled rows, `rows.<split>.jsonl` (id, text or picture, label) and what the reader of
    raw input needs, named in `inputs.json`.
    """

    sources: tuple[ValidatedData, ...]
    spec: DataSpec
    files: Files
    rows: dict[str, int]
    made: Made | None = None


class Fitting(Record):
    """What a preparation fitted for a model; with it, later rows are read as that model does."""

    spec: DataSpec
    files: Files
    """`inputs.json` and what it names."""


class Weights(Record):
    """Trained parameters: `weights.safetensors` in `files`, tensors `backbone.*` and `head.*`."""

    architecture: Architecture
    spec: DataSpec
    files: Files
    parents: dict[str, str] = {}
    """Role (`start`, `teacher`) -> digest of the weights record."""


class TrainedModel(Weights):
    """Weights that a recipe made here."""

    recipe: Recipe
    scores: dict[str, float] = {}
    """Last training loss and best validation score, as `train/loss`, `val/accuracy`."""
    made: Made | None = None


class Trial(Record):
    """One finished search trial."""

    number: int
    state: Literal["complete", "pruned", "failed"]
    value: float | None
    params: dict[str, Any]


class SearchResult(Record):
    """A finished study and the complete recipe that it chose."""

    best: Recipe
    value: float
    trials: tuple[Trial, ...]
    made: Made | None = None


class Parity(Record):
    """Proof that a graph computes what its PyTorch module computes."""

    model_config = ConfigDict(allow_inf_nan=True)  # of a graph that is refused for it

    rows: int
    max_difference: float
    """Largest absolute difference of logits."""
    top1_agreement: float
    """Share of rows on which both choose the same label."""
    shapes: tuple[str, ...]


class Exported(Record):
    """A graph that can be served; nothing trains it any more."""

    name: str
    """Name of the chain, such as `fp32` or `distillation+int8_dynamic`."""
    model: TrainedModel
    """The weights that the graph was written from (the student's, where one was distilled)."""
    chain: tuple[dict[str, Any], ...]
    files: Files
    """`model.onnx`."""
    size_bytes: int
    parity: Parity
    made: Made | None = None


class Latency(Record):
    """Milliseconds per call, one thread, ONNX Runtime."""

    batch_1_p50: PositiveFloat
    batch_1_p95: PositiveFloat
    batch_32_p50: PositiveFloat
    batch_32_p95: PositiveFloat
    torch_batch_1_p50: PositiveFloat | None = None
    """The same weights' fp32 PyTorch module, measured interleaved in the same process."""


class Measured(Record):
    """Size of a graph; its latency is in `made.facts`, for it differs from run to run."""

    exported: str
    """Digest of the Exported."""
    size_bytes: int
    made: Made | None = None

    @property
    def latency(self) -> Latency:
        """The latency measured when this record was made."""
        return Latency.model_validate(self.made.facts["latency_ms"]) if self.made else None  # type: ignore[return-value]


class Score(Record):
    """A value with its 95 % interval and the number of units it rests on."""

    value: float
    low: float
    high: float
    n: int


class Predictions(Record):
    """One model on one split: a row per example, and scores with intervals.

    `files`: `rows.safetensors` (`probability` float32 (rows, labels), `label` int64 (rows,),
    `unit` int64 (rows,)), `report.json` (per class, confusion, calibration, slices), plots.
    """

    model: str
    """Name of the variant or baseline."""
    of: str
    """Digest of the model's record."""
    data: str
    """Digest of the Prepared."""
    split: Split
    objective: dict[str, Any]
    files: Files
    scores: dict[str, Score]
    """`accuracy`, `macro_f1`, `ece`."""
    made: Made | None = None


class Variant(Record):
    """An exported model with what is known about it; put together by the flow."""

    exported: Exported
    measured: Measured
    validation: Predictions
    test: Predictions | None = None


class Verdict(Record):
    """What a candidate showed beside a rival."""

    rule: Literal["better", "non_inferior", "first"]
    rival: str
    """`majority`, `linear`, or `champion vN`."""
    candidate: str
    """Digest of the candidate's predictions."""
    against: str
    """Digest of the rival's predictions."""
    difference: Score
    """Candidate minus rival, in the primary metric."""
    p_value: float
    wins: int
    losses: int
    checks: tuple[Check, ...]
    passed: bool
    made: Made | None = None


class RegisteredModel(Record):
    """A version in the registry."""

    name: str
    version: int
    bundle: str
    """sha256 of the bundle's manifest."""
    run_key: str
    made: Made | None = None


class Promotion(Record):
    """An alias that was moved, or was found where it belongs."""

    name: str
    version: int
    previous: int | None
    moved: bool
    reason: str
    atomic: bool = True
    """Whether alias and history were written in one transaction."""
    made: Made | None = None
