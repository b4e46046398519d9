"""The comparison as one HTML file that asks for nothing from outside; every text is escaped."""

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import Any

from components.artifacts import Score
from components.evaluation.contrast import Bin, OfClass, OfSlice
from pipelines.comparison.charts import interval, reliability, span
from pipelines.comparison.records import Change, Compared, Example, Model, ratios
from pipelines.comparison.style import STYLE
from pipelines.comparison.words import faster, finding, points, times

DIGEST = 12


def page(found: Compared, pictures: Mapping[str, bytes], above: Sequence[str] = ()) -> bytes:
    """The page; `pictures` are PNG files by id of their row, none for texts.

    `above` is HTML that stands between the finding and the numbers.
    """
    body = [
        *_head(found),
        *above,
        *_numbers(found),
        *_flips(found, pictures),
        *_where(found),
        *_calibration(found),
        *_changes(found.changes),
        *_foot(found),
    ]
    return whole(f"{found.a.title} and {found.b.title}", body)


def whole(title: str, body: Sequence[str]) -> bytes:
    """An HTML file of our look that asks for nothing from outside."""
    return "\n".join(
        [
            "<!doctype html>",
            "<html lang=en><head><meta charset=utf-8>",
            "<meta name=viewport content='width=device-width,initial-scale=1'>",
            "<meta http-equiv=Content-Security-Policy "
            "content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">",
            f"<title>{escape(title)}</title>",
            f"<style>{STYLE}</style></head><body><main>",
            *body,
            "</main></body></html>\n",
        ]
    ).encode()


def _head(found: Compared) -> Iterator[str]:
    of = found.contrast
    yield "<header>"
    yield (
        "<h1>"
        + " <i>beside</i> ".join(
            f"<span class='key {side}'>{side.upper()}</span> {escape(one.title)}"
            for side, one in (("b", found.b), ("a", found.a))
        )
        + "</h1>"
    )
    yield (
        f"<p class=soft>{of.rows:,} test rows of {escape(found.data['name'])} "
        f"<code>{escape(found.data['tree'][:DIGEST])}</code></p>"
    )
    for note in found.notes:
        yield f"<p class=note>{escape(note)}</p>"
    yield f"<p class='verdict {of.paired.finding.replace(' ', '-')}'>{escape(finding(of))}</p>"
    yield "</header>"


def _numbers(found: Compared) -> Iterator[str]:
    of, a, b = found.contrast, found.a, found.b
    pair = of.paired
    accuracy = of.metrics["accuracy"]
    yield "<section class=cards>"
    yield _card(
        "accuracy, B minus A",
        f"{100 * accuracy.difference.value:+.2f}",
        f"points, 95 % interval {100 * accuracy.difference.low:+.2f} to "
        f"{100 * accuracy.difference.high:+.2f}",
    )
    yield _card("rows lost", f"{pair.losses:,}", "A was right, B is wrong", "bad")
    yield _card("rows won", f"{pair.wins:,}", "A was wrong, B is right", "good")
    ratio = ratios(found)
    yield _card("size", times(ratio["size"], "smaller", "larger"), _sizes(a, b))
    yield _card(
        "one row",
        faster(ratio["batch_1"]),
        f"{a.cpu_ms.batch_1:.3f} to {b.cpu_ms.batch_1:.3f} ms of the processor",
    )
    yield "</section>"
    yield _share(pair.both_right, pair.wins, pair.losses, pair.both_wrong)
    rows = [
        [name, f"{one.a.value:.4f}", f"{one.b.value:.4f}", points(one.difference)]
        for name, one in zip(
            ("accuracy", "macro-F1", "calibration error"),
            (of.metrics[name] for name in ("accuracy", "macro_f1", "ece")),
            strict=True,
        )
    ]
    rows.append(["size", *_sizes(a, b).split(" to "), times(ratio["size"], "smaller", "larger")])
    for name, label in (("batch_1", "1 row"), ("batch_32", "32 rows")):
        old, new = getattr(a.cpu_ms, name), getattr(b.cpu_ms, name)
        rows.append([f"{label}, processor", f"{old:.3f} ms", f"{new:.3f} ms", faster(ratio[name])])
    yield table(("", "A", "B", "B minus A, 95 % interval in points"), rows)
    yield (
        "<p class=soft>Differences are paired: both answer the same resampled rows. Times are "
        "the processor's, taken when this page was made: the two in turns, one thread each.</p>"
    )


def _flips(found: Compared, pictures: Mapping[str, bytes]) -> Iterator[str]:
    pair = found.contrast.paired
    for title, kind, count, examples in (
        ("Lost: B is wrong where A was right", "lost", pair.losses, found.lost),
        ("Won: B is right where A was wrong", "won", pair.wins, found.won),
    ):
        shown = f"the {len(examples)} surest of {count:,}" if len(examples) < count else f"{count}"
        yield f"<section><h2>{title} <small>{shown}</small></h2>"
        yield f"<div class='examples {'pictures' if pictures else 'texts'}'>"
        yield from (_example(one, kind, pictures) for one in examples)
        yield "</div></section>"


def _example(one: Example, kind: str, pictures: Mapping[str, bytes]) -> str:
    said = "".join(
        f"<span class='said {'right' if answer.label == one.true else 'wrong'}'>"
        f"<span class='key {side}'>{side.upper()}</span> {escape(answer.label)} "
        f"<em>{100 * answer.probability:.0f} %</em></span>"
        for side, answer in (("a", one.a), ("b", one.b))
    )
    if one.id in pictures:
        data = base64.b64encode(pictures[one.id]).decode()
        seen = f"<img alt='{escape(one.true)}' src='data:image/png;base64,{data}'>"
    else:
        seen = f"<blockquote dir=auto>{escape(one.text or one.id)}</blockquote>"
    return (
        f"<article class={kind}>{seen}<div><p class=true>true label <b>{escape(one.true)}</b></p>"
        f"<p>{said}</p><p class=soft><code>{escape(one.id)}</code></p></div></article>"
    )


def _where(found: Compared) -> Iterator[str]:
    of = found.contrast
    yield "<section><h2>Where they differ</h2>"
    for title, parts in (("slice", of.slices), ("F1 of class", of.classes)):
        yield _parts(title, parts)
    yield (
        "<p class=soft>Each interval stands for itself: of twenty parts that do not differ, one "
        "looks as if it did.</p></section>"
    )


def _parts(title: str, parts: Iterable[OfSlice | OfClass]) -> str:
    parts = tuple(parts)
    reach = span([one.difference for one in parts])
    rows = [
        [
            escape(one.slice if isinstance(one, OfSlice) else one.label),
            f"{one.rows:,}",
            f"{one.a:.4f}",
            f"{one.b:.4f}",
            points(one.difference),
            interval(one.difference, reach),
        ]
        for one in parts
    ]
    return table((title, "rows", "A", "B", "B minus A, points", ""), rows)


def _calibration(found: Compared) -> Iterator[str]:
    bins: dict[str, tuple[Bin, ...]] = found.contrast.calibration
    ece = found.contrast.metrics["ece"]

    def read(score: Score) -> str:
        return f"{score.value:.4f} [{score.low:.4f}, {score.high:.4f}]"

    yield "<section><h2>Calibration</h2><div class=calibration>"
    yield reliability(bins["a"], bins["b"])
    yield (
        "<div><p>How often an answer of this confidence is right. On the diagonal a model is as "
        "sure as it may be; below it, it is too sure.</p>"
        f"<p><span class='key a'>A</span> calibration error {read(ece.a)}</p>"
        f"<p><span class='key b'>B</span> calibration error {read(ece.b)}</p>"
        f"<p>B minus A {points(ece.difference)} points</p></div>"
    )
    yield "</div></section>"


def _changes(changes: tuple[Change, ...]) -> Iterator[str]:
    yield f"<section><h2>Made from different <small>{len(changes)}</small></h2>"
    if not changes:
        yield "<p>Nothing: the same config, data, code and libraries.</p></section>"
        return
    rows = [
        [escape(one.kind), f"<code>{escape(one.where)}</code>", _leaf(one.a), _leaf(one.b)]
        for one in changes
    ]
    yield table(("", "what", "A", "B"), rows, "changes")
    yield "</section>"


def _foot(found: Compared) -> Iterator[str]:
    yield "<footer><table class=who><tr><th></th><th>A</th><th>B</th></tr>"
    pair = (found.a, found.b)
    for name, values in (
        ("version", [one.title for one in pair]),
        ("asked for as", [one.reference for one in pair]),
        ("variant", [one.variant for one in pair]),
        ("bundle", [one.bundle[:DIGEST] for one in pair]),
        ("data", [f"{one.data['name']} {one.data['tree'][:DIGEST]}" for one in pair]),
        ("commit", [one.commit[:DIGEST] + " edited" * one.edited for one in pair]),
        ("answers", ["left by its run" if one.stored else "given now" for one in pair]),
    ):
        cells = "".join(f"<td>{escape(value)}</td>" for value in values)
        yield f"<tr><th>{name}</th>{cells}</tr>"
    yield "</table></footer>"


def _card(title: str, value: str, below: str, kind: str = "") -> str:
    return (
        f"<div class='card {kind}'><span>{escape(title)}</span><b>{escape(value)}</b>"
        f"<small>{escape(below)}</small></div>"
    )


def _share(both: int, won: int, lost: int, neither: int) -> str:
    """One bar of all rows: who answers them rightly."""
    whole = both + won + lost + neither
    parts = (("both", both, "both right"), ("lost", lost, "only A right"),
             ("won", won, "only B right"), ("neither", neither, "both wrong"))  # fmt: skip
    bars = "".join(
        f"<i class={n} style='flex-grow:{count / whole:.6f}'></i>" for n, count, _ in parts
    )
    words = "".join(f"<span><i class={n}></i>{text} {count:,}</span>" for n, count, text in parts)
    return f"<div class=share>{bars}</div><p class=legend>{words}</p>"


def _sizes(a: Model, b: Model) -> str:
    return f"{a.size_bytes / 1e6:.2f} MB to {b.size_bytes / 1e6:.2f} MB"


def _leaf(value: Any) -> str:
    return "<span class=soft>none</span>" if value is None else f"<code>{escape(str(value))}</code>"


def table(heads: Iterable[str], rows: Iterable[list[str]], kind: str = "") -> str:
    """Cells hold HTML: whoever gives a text escapes it."""
    top = "".join(f"<th>{head}</th>" for head in heads)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return (
        f"<div class=scroll><table class='{kind or 'numbers'}'><tr>{top}</tr>{body}</table></div>"
    )
