"""The report as one HTML file that asks for nothing from outside; every text is escaped."""

from collections.abc import Iterator, Mapping
from html import escape

from pipelines.comparison.page import page as compared_page
from pipelines.comparison.page import table, whole
from pipelines.retraining.records import DataChange, Retrained
from pipelines.retraining.words import MOVED, headline, labels, rows


def page(found: Retrained, pictures: Mapping[str, bytes]) -> bytes:
    """What to decide and what is new in the data, above the comparison where there is one."""
    above = [*_decision(found), *_data(found)]
    if found.compared is not None:
        return compared_page(found.compared, pictures, above)
    title = f"Retraining of {found.name}"
    return whole(title, [f"<header><h1>{escape(title)}</h1></header>", *above])


def _decision(found: Retrained) -> Iterator[str]:
    kind = {"promoted": "better", "refused": "worse"}.get(found.outcome, "undecided")
    yield f"<section><h2>The decision</h2><p class='verdict {kind}'>{escape(headline(found))}</p>"
    yield f"<p class=soft>reason: {escape(found.reason)}; run {escape(found.run_id or '')}</p>"
    yield f"<ul class=soft>{''.join(f'<li>{escape(note)}</li>' for note in found.notes)}</ul>"
    if found.checks:
        cells = [
            ["yes" if one["passed"] else "<b>no</b>", escape(one["rule"]), escape(one["observed"])]
            for one in found.checks
        ]
        yield table(("passed", "the gate demands", "observed"), cells, "changes")
    choices = [[escape(one.text), f"<code>{escape(one.command)}</code>"] for one in found.choices]
    yield table(("to", "type"), choices, "changes")
    yield "</section>"


def _data(found: Retrained) -> Iterator[str]:
    yield "<section><h2>What is new in the data</h2>"
    for one in found.data:
        yield from _one(one)
    yield "</section>"


def _one(one: DataChange) -> Iterator[str]:
    before = one.before or "nothing"
    yield (
        f"<p><b>{escape(one.name)}</b> <code>{escape(before[:12])}</code> to "
        f"<code>{escape(one.after[:12])}</code></p>"
    )
    if one.rows:
        yield table(("split", "the champion's", "now", "new"), rows(one))
    if one.labels:
        heads = ("label", *one.labels)
        yield table(heads, labels(one))
    if one.moved is not None:
        yield f"<p>{MOVED.format(one.moved)}</p>"
    if one.drift:
        yield f"<ul>{''.join(f'<li>{escape(said)}</li>' for said in one.drift)}</ul>"
