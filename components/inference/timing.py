"""How long calls take: on real rows, on one thread, and fair to those that take turns."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median

import numpy as np
from pydantic import PositiveInt

from components.records import Record

Batch = Mapping[str, np.ndarray]
Runner = Callable[[Batch], object]

LARGE_BATCH = 32


class MeasureConfig(Record):
    """How often each call is timed. A call's time is the median of its rounds, so a neighbour that
    takes the processor for a moment does not count; percentiles are over calls."""

    single_rows: PositiveInt = 40
    """Rows asked one by one."""
    batches: PositiveInt = 6
    """Batches of 32 rows."""
    rounds: PositiveInt = 5


class Timing(Record):
    """Milliseconds of one call: on the clock, and of the processor alone."""

    wall_ms: float
    cpu_ms: float


def timed(runners: Sequence[Runner], batches: Sequence[Batch], rounds: int) -> list[list[Timing]]:
    """For each runner the time of every batch, the median of its rounds; runners take turns."""
    for run in runners:
        run(batches[0])  # memory is laid out on the first call
    taken: dict[tuple[int, int], list[tuple[float, float]]] = {}
    for _ in range(rounds):
        for place, batch in enumerate(batches):
            for number, run in enumerate(runners):
                wall, cpu = time.perf_counter(), time.thread_time()
                run(batch)
                seconds = time.perf_counter() - wall, time.thread_time() - cpu
                taken.setdefault((number, place), []).append(seconds)
    return [
        [
            Timing(
                wall_ms=1000 * median(wall for wall, _ in taken[number, place]),
                cpu_ms=1000 * median(cpu for _, cpu in taken[number, place]),
            )
            for place in range(len(batches))
        ]
        for number in range(len(runners))
    ]


def latency(
    single: list[Timing], large: list[Timing], reference: list[Timing] | None = None
) -> dict[str, float]:
    """The fields of a `Latency`: percentiles over the calls, in milliseconds on the clock."""
    found = {
        "batch_1_p50": percentile(single, 50),
        "batch_1_p95": percentile(single, 95),
        "batch_32_p50": percentile(large, 50),
        "batch_32_p95": percentile(large, 95),
    }
    return found | ({"torch_batch_1_p50": percentile(reference, 50)} if reference else {})


def percentile(timings: list[Timing], share: int) -> float:
    """So many percent of the calls took at most this long, in milliseconds on the clock."""
    return round(float(np.percentile([timing.wall_ms for timing in timings], share)), 4)


def processor(timings: list[Timing]) -> float:
    """Median of the processor's own time, in milliseconds."""
    return round(float(np.percentile([timing.cpu_ms for timing in timings], 50)), 4)


def host() -> dict[str, str | float]:
    """What the times depend on besides the graph."""
    import onnxruntime

    lines = Path("/proc/cpuinfo")
    models = [
        line.partition(":")[2].strip()
        for line in (lines.read_text().splitlines() if lines.is_file() else [])
        if line.startswith("model name")
    ]
    return {
        "processor": models[0] if models else "unknown",
        "cores": os.cpu_count() or 0,
        "load": round(os.getloadavg()[0], 2),
        "threads": 1,
        "onnxruntime": onnxruntime.__version__,
    }
