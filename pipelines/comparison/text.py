"""The comparison on one screen."""

import io
import shutil
import sys
from collections.abc import Iterator
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from components.evaluation.contrast import Contrast
from pipelines.comparison.records import Change, Compared, Example, ratios
from pipelines.comparison.words import faster, finding, points, shown, times

NARROWEST, WIDEST = 80, 120
EXAMPLES = 4
"""Rows of each kind on the screen; the page and the JSON hold more."""
CLASSES = 3
CHANGES = 8


def text(found: Compared, page: str) -> str:
    """The whole answer; `page` says where the page is."""
    width = min(WIDEST, max(NARROWEST, shutil.get_terminal_size().columns))
    out = io.StringIO()
    console = Console(
        file=out, width=width, force_terminal=sys.stdout.isatty(), highlight=False, emoji=False
    )
    for part in _parts(found, width, page):
        console.print(part)
    return out.getvalue()


def _parts(found: Compared, width: int, page: str) -> Iterator[Any]:
    of = found.contrast
    for side, model in (("A", found.a), ("B", found.b)):
        yield f"[bold]{side}[/] {_who(model)}, answers {_when(model.stored)}"
    yield f"{of.rows:,} test rows of {escape(found.data['name'])} {found.data['tree'][:12]}"
    for note in found.notes:
        yield f"[yellow]note[/] {escape(note)}"
    colour = {"better": "green", "worse": "red"}.get(of.paired.finding, "yellow")
    yield f"[bold {colour}]{finding(of)}[/]"
    yield ""
    yield _numbers(found)
    yield ""
    yield from _flips("LOST, B is wrong where A was right", of.paired.losses, found.lost, width)
    yield from _flips("WON, B is right where A was wrong", of.paired.wins, found.won, width)
    yield f"both right {of.paired.both_right:,}, both wrong {of.paired.both_wrong:,}"
    yield ""
    yield _parts_of_rows(of)
    yield ""
    yield from _changes(found.changes)
    yield page


def _who(model: Any) -> str:
    champion = f" ({escape(model.reference)})" if model.reference != model.title else ""
    return f"{escape(model.title)}{champion} {escape(model.variant)}"


def _when(stored: bool) -> str:
    return "from its run" if stored else "given now"


def _numbers(found: Compared) -> Table:
    table = _table("", "A", "B", "B - A, 95 % interval, points")
    for name, label in (("accuracy", "accuracy"), ("macro_f1", "macro-F1"), ("ece", "ECE")):
        one = found.contrast.metrics[name]
        table.add_row(label, f"{one.a.value:.4f}", f"{one.b.value:.4f}", points(one.difference))
    a, b, ratio = found.a, found.b, ratios(found)
    table.add_row(
        "size",
        f"{a.size_bytes / 1e6:.2f} MB",
        f"{b.size_bytes / 1e6:.2f} MB",
        times(ratio["size"], "smaller", "larger"),
    )
    for name, label in (("batch_1", "1 row"), ("batch_32", "32 rows")):
        table.add_row(
            f"{label}, CPU",
            f"{getattr(a.cpu_ms, name):.3f} ms",
            f"{getattr(b.cpu_ms, name):.3f} ms",
            faster(ratio[name]),
        )
    return table


def _flips(title: str, count: int, examples: tuple[Example, ...], width: int) -> Iterator[str]:
    yield f"[bold]{title}: {count:,}[/]"
    for one in examples[:EXAMPLES]:
        said = (
            f"  {one.true}: A {one.a.label} {one.a.probability:.2f}, "
            f"B {one.b.label} {one.b.probability:.2f}  "
        )
        row = " ".join((one.text or one.id).split())
        room = width - cell_len(said) - 1
        cut = Text(row)
        cut.truncate(room, overflow="ellipsis")
        yield f"{escape(said)}[dim]{escape(cut.plain)}[/]"


def _parts_of_rows(found: Contrast) -> Table:
    """Every slice, and the classes that moved most."""
    table = _table("slice / F1 of class", "rows", "A", "B", "B - A, 95 % interval, points")
    for part in found.slices:
        table.add_row(
            escape(part.slice), str(part.rows), f"{part.a:.4f}", f"{part.b:.4f}",
            points(part.difference),
        )  # fmt: skip
    moved = sorted(found.classes, key=lambda one: -abs(one.difference.value))[:CLASSES]
    for one in moved:
        table.add_row(
            f"F1 {escape(one.label)}", str(one.rows), f"{one.a:.4f}", f"{one.b:.4f}",
            points(one.difference),
        )  # fmt: skip
    return table


def _changes(changes: tuple[Change, ...]) -> Iterator[str]:
    if not changes:
        yield "made from the same config, data and code"
        return
    yield f"[bold]made from different: {len(changes)}[/]"
    for one in changes[:CHANGES]:
        yield (
            f"  {one.kind:<8} {escape(one.where)}: {escape(shown(one.a))} -> {escape(shown(one.b))}"
        )
    if len(changes) > CHANGES:
        yield f"  and {len(changes) - CHANGES} more, on the page and in --json"


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for at, column in enumerate(columns):
        table.add_column(column, justify="right" if at else "left", no_wrap=True)
    return table
