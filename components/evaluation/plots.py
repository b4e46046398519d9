"""Pictures of an evaluation, the same bytes every time; drawn without pyplot's global state."""

import io

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from components.evaluation.metrics import Bins

BLUE, GREY, ORANGE = "#2f6db3", "#8a8f98", "#d9822b"
DOTS_PER_INCH = 120
CELLS_WITH_NUMBERS = 20
"""Labels up to which each cell of a confusion matrix shows its count."""


def confusion_png(matrix: np.ndarray, labels: tuple[str, ...]) -> bytes:
    """True label down, chosen label across, coloured by the share of the true label's rows."""
    side = min(9.0, 2.8 + 0.45 * len(labels))
    figure, axes = _figure(side, side)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(labels)), labels, rotation=90 if len(labels) > 10 else 0)
    axes.set_yticks(range(len(labels)), labels)
    axes.set_xlabel("chosen")
    axes.set_ylabel("true")
    if len(labels) <= CELLS_WITH_NUMBERS:
        for row, column in np.ndindex(*matrix.shape):
            colour = "white" if shares[row, column] > 0.55 else "black"
            text = str(matrix[row, column])
            axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=9)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return _png(figure)


def reliability_png(bins: Bins, error: float) -> bytes:
    """Share of right answers over mean confidence, a point per bin, its area the bin's rows."""
    figure, axes = _figure(4.4, 4.4)
    filled = bins.rows > 0
    confidence = bins.confidence[filled] / bins.rows[filled]
    right = bins.hits[filled] / bins.rows[filled]
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle="--", label="calibrated")
    axes.vlines(confidence, np.minimum(confidence, right), np.maximum(confidence, right), ORANGE)
    area = 18 + 140 * bins.rows[filled] / bins.rows.sum()
    axes.scatter(confidence, right, area, color=BLUE, zorder=3, label="bins of equal mass")
    low = max(0.0, min(float(confidence.min()), float(right.min())) - 0.08)
    axes.set_xlim(low, 1.02)
    axes.set_ylim(low, 1.02)
    axes.set_xlabel("mean confidence")
    axes.set_ylabel("share of right answers")
    axes.set_title(f"calibration error {error:.3f}", fontsize=10)
    axes.legend(frameon=False, loc="upper left", fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    return _png(figure)


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), dpi=DOTS_PER_INCH, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()


def _png(figure: Figure) -> bytes:
    """Without the entry that names the drawing library's version."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
