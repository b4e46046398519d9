from pathlib import Path

import numpy as np
import pytest

from components import objects
from components.artifacts import Exported
from components.evaluation.rows import read
from components.inference.timing import MeasureConfig, timed
from components.steps.compress import compress
from components.steps.evaluate import evaluate
from components.steps.measure import measure
from components.training import weights
from tests.compression.learnt import Learnt

BRIEF = MeasureConfig(single_rows=4, batches=2, rounds=2)


@pytest.fixture
def exported(text: Learnt) -> Exported:
    return compress(text.model, text.data, ())


def test_a_measurement_is_of_this_graph_and_its_module(text: Learnt, exported: Exported) -> None:
    measured = measure(exported, text.data, BRIEF)
    assert measured.exported == exported.digest
    assert measured.size_bytes == objects.path(exported.files["model.onnx"]).stat().st_size
    latency = measured.latency
    assert latency.batch_1_p50 <= latency.batch_1_p95
    assert latency.torch_batch_1_p50 is not None
    assert measured.made.facts["host"]["threads"] == 1


def test_speed_is_no_part_of_the_identity(text: Learnt, exported: Exported) -> None:
    first, second = (measure(exported, text.data, BRIEF) for _ in range(2))
    assert first.made != second.made
    assert first == second


def test_measuring_gives_torch_its_threads_back(text: Learnt, exported: Exported) -> None:
    import torch

    before = torch.get_num_threads()
    measure(exported, text.data, BRIEF)
    assert torch.get_num_threads() == before


def test_runners_take_turns_and_one_slow_round_does_not_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import time

    clock, calls = [0.0], []

    def runner(name: str, seconds: list[float]):
        def run(batch: dict) -> None:
            calls.append(name)
            clock[0] += seconds[calls.count(name) - 1]

        return run

    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(time, "thread_time", lambda: 0.0)
    graph = runner("graph", [9.0, 0.001, 5.0, 0.001])
    module = runner("module", [9.0, 0.004, 0.004, 0.004])
    [[one], [other]] = timed([graph, module], [{}], rounds=3)
    assert calls == ["graph", "module"] * 4
    assert one.wall_ms == pytest.approx(1)
    assert other.wall_ms == pytest.approx(4)


def test_predictions_are_the_modules_own_in_the_order_of_the_split(
    text: Learnt, exported: Exported
) -> None:
    from components.batches.examples import Examples

    made = evaluate(exported, text.data, split="val")
    assert (made.of, made.split, made.data) == (exported.digest, "val", text.data.digest)
    examples = Examples.load(objects.path(text.data.files["val.safetensors"]), text.data.spec)
    logits = weights.logits(weights.load(text.model), examples)
    expected = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    found = read(objects.path(made.files["rows.safetensors"]))
    np.testing.assert_allclose(found.probability, expected, atol=1e-5)
    assert made.scores["accuracy"].value > 0.95


def test_evaluating_again_gives_the_same_bytes(image: Learnt, work: Path) -> None:
    exported = compress(image.model, image.data, ())
    first, second = (evaluate(exported, image.data, split="test") for _ in range(2))
    assert first == second
    assert '"progress"' in (work / "journal.jsonl").read_text()
