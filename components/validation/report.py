"""The validation report: one HTML file that needs no network, and the same facts as JSON."""

from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

import pandas as pd

from components.artifacts import RawData
from components.files import canonical
from components.validation.outcomes import Outcome

STYLE = """
:root{color-scheme:light dark;--ink:#1c2024;--soft:#60646c;--line:#e3e5e9;--page:#f7f8fa;
--card:#fff;--good:#18794e;--bad:#c62a2f;--warn:#ad5700;--bar:#2f6db3;--track:#e8ebf0}
@media(prefers-color-scheme:dark){:root{--ink:#edeef0;--soft:#a0a6b0;--line:#2e3238;--page:#111315;
--card:#191b1f;--good:#4cc38a;--bad:#ff6369;--warn:#ffb224;--bar:#6aa5e8;--track:#2a2e34}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.55 system-ui,sans-serif}
main{max-width:62rem;margin:0 auto;padding:2.5rem 1.25rem 4rem}
h1{font-size:1.6rem;margin:0 0 .25rem;letter-spacing:-.01em}
h2{font-size:1.05rem;margin:2.2rem 0 .7rem}
p{margin:.2rem 0}.soft{color:var(--soft)}code{font:.88em ui-monospace,monospace}
.verdict{display:inline-block;margin:.9rem 0 0;padding:.3rem .8rem;border-radius:99px;color:#fff;
font-weight:600;background:var(--good)}.verdict.bad{background:var(--bad)}
@media(prefers-color-scheme:dark){.verdict{color:#111315}}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(8rem,1fr));gap:.8rem;margin-top:1.4rem}
.card,article,table{background:var(--card);border:1px solid var(--line);border-radius:10px}
.card{padding:.8rem 1rem}.card b{display:block;font-size:1.5rem;line-height:1.2}
article{padding:.85rem 1rem;margin:.6rem 0;border-left:4px solid var(--good)}
article.failed{border-left-color:var(--bad)}article.error{border-left-color:var(--bad)}
article.failed.warning,article.failed.info{border-left-color:var(--warn)}
article h3{font-size:.98rem;margin:0;overflow-wrap:anywhere}
.tag{float:right;font-size:.78rem;color:var(--soft);margin-left:1rem}
ul{margin:.45rem 0 0;padding-left:1.1rem}li{overflow-wrap:anywhere;color:var(--soft)}
table{width:100%;border-collapse:separate;border-spacing:0;font-variant-numeric:tabular-nums}
th,td{padding:.45rem .9rem;text-align:left;border-bottom:1px solid var(--line)}
tr:last-child td{border-bottom:0}th{font-size:.82rem;color:var(--soft);font-weight:500}
.number{text-align:right}.track{background:var(--track);border-radius:4px;height:.55rem;min-width:6rem}
.track i{display:block;height:100%;border-radius:4px;background:var(--bar)}
"""
MARKS = {"passed": "passed", "failed": "failed", "error": "could not be evaluated"}
SHOWN_ROWS = 90
"""Pairs of split and label in the table."""


def page(raw: RawData, outcomes: Sequence[Outcome], frame: pd.DataFrame) -> bytes:
    """The report as HTML: the verdict, what failed with examples, what passed, what the data are.

    Nothing in it depends on time, place or machine, and it asks for nothing from outside.
    """
    broken = refusing(outcomes)
    failed = [one for one in outcomes if one.state != "passed"]
    passed = [one for one in outcomes if one.state == "passed"]
    rules = "1 rule" if len(broken) == 1 else f"{len(broken)} rules"
    verdict = f"refused: {rules} broken" if broken else "accepted"
    cards = {
        "rows": f"{len(frame):,}",
        "rules": len(outcomes),
        "passed": len(passed),
        "failed": sum(one.state == "failed" for one in outcomes),
        "not evaluated": sum(one.state == "error" for one in outcomes),
    }
    body = [
        f"<h1>{escape(raw.name)}</h1>",
        f"<p class=soft>data tree <code>{escape(raw.tree)}</code></p>",
        f"<p class='verdict{' bad' if broken else ''}'>{verdict}</p>",
        "<div class=cards>",
        *(f"<div class=card><b>{value}</b>{name}</div>" for name, value in cards.items()),
        "</div>",
        *_section("Broken", failed),
        "<h2>The data</h2>",
        _rows_table(frame),
        *_section("Passed", passed),
    ]
    return "\n".join(
        [
            "<!doctype html>",
            "<html lang=en><head><meta charset=utf-8>",
            "<meta name=viewport content='width=device-width,initial-scale=1'>",
            "<meta http-equiv=Content-Security-Policy "
            "content=\"default-src 'none'; style-src 'unsafe-inline'\">",
            f"<title>Validation of {escape(raw.name)}</title>",
            f"<style>{STYLE}</style></head><body><main>",
            *body,
            "</main></body></html>\n",
        ]
    ).encode()


def result(raw: RawData, outcomes: Sequence[Outcome]) -> bytes:
    """The same as canonical JSON."""
    value: dict[str, Any] = {
        "accepted": not refusing(outcomes),
        "data": raw.model_dump(mode="json"),
        "outcomes": [one.model_dump(mode="json") for one in outcomes],
    }
    return canonical(value) + b"\n"


def refusing(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """The outcomes that refuse the data: a critical rule broken, or any rule not evaluated."""
    return [
        one
        for one in outcomes
        if one.state == "error" or (one.state == "failed" and one.check.severity == "critical")
    ]


def summary(broken: Sequence[Outcome]) -> str:
    """What refuses the data, a line per rule with its count and examples."""
    return "\n".join(
        "\n".join(
            [f"  {one.check.rule}: {one.check.observed}"] + [f"    {e}" for e in one.check.examples]
        )
        for one in broken
    )


def _section(title: str, outcomes: Sequence[Outcome]) -> list[str]:
    return [f"<h2>{title}</h2>", *map(_article, outcomes)] if outcomes else []


def _article(one: Outcome) -> str:
    check = one.check
    why = f"<p class=soft>{escape(str(one.meta['why']))}</p>" if "why" in one.meta else ""
    shown = "".join(f"<li>{escape(example)}</li>" for example in check.examples)
    return (
        f"<article class='{one.state} {check.severity}'>"
        f"<span class=tag>{check.severity} · {MARKS[one.state]}</span>"
        f"<h3>{escape(check.rule)}</h3><p>{escape(check.observed)}</p>{why}"
        + (f"<ul>{shown}</ul>" if shown else "")
        + "</article>"
    )


def _rows_table(frame: pd.DataFrame) -> str:
    """Rows per split, and per label where there are labels, with a bar for the share."""
    columns = ["split", "label"] if "label" in frame else ["split"]
    places = [tuple(map(str, row)) for row in frame[columns].to_numpy()]
    of_split = Counter(place[0] for place in places)
    lines = []
    for place, count in sorted(Counter(places).items())[:SHOWN_ROWS]:
        whole = len(frame) if len(columns) == 1 else of_split[place[0]]
        names = "".join(f"<td>{escape(part)}</td>" for part in place)
        share = count / whole
        lines.append(
            f"<tr>{names}<td class=number>{count:,}</td><td class=number>{share:.1%}</td>"
            f"<td><div class=track><i style='width:{share * 100:.1f}%'></i></div></td></tr>"
        )
    heads = "".join(f"<th>{name}</th>" for name in columns)
    heads += "<th class=number>rows</th><th class=number>share</th><th></th>"
    return f"<table><tr>{heads}</tr>{''.join(lines)}</table>"
