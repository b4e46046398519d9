"""The Markdown pages of the project: their blocks, links and tables."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "mlflow").glob("*.md")]
)
_FENCE = re.compile(r"^( *)```([\w-]*)\n(.*?)^\1```$", re.M | re.S)


class Block(NamedTuple):
    """A fenced block: its language and its text."""

    language: str
    text: str


def name(page: Path) -> str:
    """A page's path in the project, for messages."""
    return str(page.relative_to(ROOT))


def blocks(text: str) -> Iterator[Block]:
    """Every fenced block of a page."""
    for found in _FENCE.finditer(text):
        yield Block(found[2], found[3])


def prose(text: str) -> str:
    """A page without its fenced blocks."""
    return _FENCE.sub("", text)


def commands(text: str) -> Iterator[str]:
    """Every command line of a page's `sh` blocks and of its blocks by indent, comments cut off."""
    shells = [block.text for block in blocks(text) if block.language == "sh"]
    indented = re.findall(r"(?:^    .*\n?)+", prose(text), re.M)
    for block in (*shells, *indented):
        for line in block.replace("\\\n", " ").splitlines():
            command = re.sub(r"\s+#.*$", "", line).strip()
            if command:
                yield command.removeprefix("$ ")


def section(text: str, title: str) -> str:
    """What stands under a heading, up to the next heading of its level or above."""
    lines = text.splitlines()
    [start] = [at for at, line in enumerate(lines) if re.fullmatch(rf"#+ {re.escape(title)}", line)]
    level = len(lines[start]) - len(lines[start].lstrip("#"))
    rest = lines[start + 1 :]
    inside = False
    for at, line in enumerate(rest):
        inside ^= line.startswith("```")
        if not inside and re.match(rf"#{{1,{level}}} ", line):
            return "\n".join(rest[:at]) + "\n"
    return "\n".join(rest) + "\n"


def table(text: str) -> list[list[str]]:
    """Cells of every table row below its rule, all tables of a text together."""
    rows, body = [], False
    for line in text.splitlines():
        if not line.startswith("|"):
            body = False
        elif re.fullmatch(r"[|\-: ]+", line):
            body = True
        elif body:
            rows.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip()[1:-1])])
    return rows
