"""Register: the selected graph becomes a version of a name."""

import hashlib
import socket
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import Field

from components.artifacts import Exported, Made, Prepared, RegisteredModel, Variant
from components.errors import GateRefused
from components.files import canonical
from components.records import Record


class RegisterConfig(Record):
    """The name to register under and the parity with PyTorch that is demanded."""

    name: str = Field(pattern=r"^\w[\w.-]{0,99}$")
    min_agreement: float = Field(default=0.9, ge=0, le=1)
    """Smallest share of rows on which graph and PyTorch module choose the same label."""
    min_agreement_uncompressed: float = Field(default=0.999, ge=0, le=1)
    """The same for a graph without any compression."""


def register(
    variants: tuple[Variant, ...], selected: Exported, config: RegisterConfig, *, data: Prepared
) -> RegisteredModel:
    """The version that holds the selected graph, read back from the registry and verified.

    The same variants under the same name and config are one version, however often this runs.
    `data` gives what turns raw input into the graph's arrays.

    Raises:
        GateRefused: a graph lacks proof that it computes what its PyTorch module computes.
        UsageError: the selected graph is none of the variants.
        IntegrityError: a file is not what its record names, or came back changed.
        ServiceUnreachable: the registry does not answer.
    """
    from components.bundle.assembly import assemble, the_variant
    from components.history import history, record
    from components.registry import registering
    from components.registry.fetching import fetch

    began = time.monotonic()
    chosen = the_variant(variants, selected)
    _demand_parity(variants, config)
    key = run_key(variants, selected, config)
    with tempfile.TemporaryDirectory(prefix="athanor-bundle-") as temporary:
        folder = Path(temporary) / "bundle"
        folder.mkdir()
        bundle = assemble(folder, config.name, variants, selected, data)
        version = registering.add(config.name, key, bundle, _shown(chosen))
    kept = fetch(config.name, version.version)
    evidence = {
        "bundle": kept.digest,
        "key": kept.signed["key"],
        "run_key": key,
        "run_id": version.run_id,
    }
    known = [event.evidence for event in history(config.name) if event.event == "registered"]
    if evidence not in known:
        record(config.name, "registered", version.version, evidence=evidence)
    return RegisteredModel(
        name=config.name,
        version=version.version,
        bundle=kept.digest,
        run_key=key,
        made=Made(
            seconds=round(time.monotonic() - began, 3),
            at=datetime.now(UTC).isoformat(timespec="seconds"),
            host=socket.gethostname(),
            facts={"run_id": version.run_id},
        ),
    )


def run_key(variants: tuple[Variant, ...], selected: Exported, config: RegisterConfig) -> str:
    """What a version is made from, as one digest: equal keys are one version."""
    parts = {
        "variants": sorted(variant.exported.digest for variant in variants),
        "selected": selected.digest,
        "config": config.digest,
    }
    return hashlib.sha256(canonical(parts)).hexdigest()


def _demand_parity(variants: tuple[Variant, ...], config: RegisterConfig) -> None:
    for variant in variants:
        graph = variant.exported
        least = config.min_agreement if graph.chain else config.min_agreement_uncompressed
        if graph.parity.rows < 1 or graph.parity.top1_agreement < least:
            raise GateRefused(
                f"{graph.name} agrees with its PyTorch module on "
                f"{graph.parity.top1_agreement:.2%} of {graph.parity.rows} rows, "
                f"{least:.2%} is demanded",
                "leave this chain out of compress, or give it more calibration rows",
            )


def _shown(chosen: Variant) -> dict[str, dict[str, Any]]:
    """Metrics and params of the version's run in MLflow."""
    metrics: dict[str, Any] = {"final/size_mb": chosen.exported.size_bytes / 1e6}
    for split, predictions in (("val", chosen.validation), ("test", chosen.test)):
        if predictions is not None:
            scores = predictions.scores.items()
            metrics |= {f"{split}/{name}": score.value for name, score in scores}
    recipe = chosen.exported.model.recipe
    params: dict[str, Any] = {
        "variant": chosen.exported.name,
        "model.arch": recipe.architecture.kind,
        "objective": recipe.objective.kind,
        "seed": recipe.seed,
    }
    return {"metrics": metrics, "params": params}
