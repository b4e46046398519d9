"""Lines of text shards with their place, and what a manifest says of a text."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from components.datasets import Dataset, splits
from components.errors import DataRejected

if TYPE_CHECKING:
    from pandas import DataFrame

LONGEST_LINE_BYTES = 1 << 20
CJK = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f]")
"""Unified Chinese characters, their extensions and compatibility forms."""
DIGIT = re.compile(r"\d")


def lines(shard: Path) -> Iterator[tuple[str, str]]:
    """Place (`train/0000.jsonl:7`) and text of every line; only LF ends a line.

    Raises:
        DataRejected: the file is empty, or a line is blank, too long or not UTF-8.
    """
    content = shard.read_bytes()
    if not content:
        raise DataRejected(f"{'/'.join(shard.parts[-3:])}: the file is empty")
    for number, line in enumerate(content.removesuffix(b"\n").split(b"\n"), start=1):
        place = f"{'/'.join(shard.parts[-3:])}:{number}"
        if len(line) > LONGEST_LINE_BYTES:
            raise DataRejected(f"{place}: {len(line)} bytes in one line, at most 1 MiB")
        try:
            text = line.decode()
        except UnicodeDecodeError as error:
            raise DataRejected(f"{place}: not UTF-8 at byte {error.start}") from error
        if not text.strip():
            raise DataRejected(f"{place}: the line is blank")
        yield place, text


def manifest(option: Dataset, folder: Path) -> "DataFrame":
    """All splits' columns, `split`, and per text its length and two shares of its characters."""
    import pandas as pd

    parts = []
    for split in splits(folder):
        rows = option.read(folder, split)
        parts.append(pd.DataFrame({**rows.columns, "split": split, **_features(rows["text"])}))
    return pd.concat(parts, ignore_index=True)


def _features(texts: Sequence[str]) -> dict[str, list[float]]:
    return {
        "n_chars": [len(text) for text in texts],
        "cjk_share": [_share(CJK, text) for text in texts],
        "digit_share": [_share(DIGIT, text) for text in texts],
    }


def _share(pattern: re.Pattern[str], text: str) -> float:
    return (len(text) - len(pattern.sub("", text))) / len(text)
