"""Checks of a whole data set that a look at one row or one column cannot make.

Each is a plain function from the manifest (a frame with one row per example: `id`, `split`,
`label` where there is one, and what the modality adds) to a number and three examples.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable
from typing import NamedTuple

import pandas as pd

EXAMPLES = 3
SHOWN_CHARACTERS = 60


class Finding(NamedTuple):
    """A number to hold against limits, in words, with examples of what made it."""

    value: float
    text: str
    examples: tuple[str, ...] = ()


def repeated_share(frame: pd.DataFrame, column: str) -> Finding:
    """Share of rows whose content stands already in an earlier row."""
    repeats = frame[column].duplicated()
    counts = frame.loc[frame[column].duplicated(keep=False), column].value_counts(sort=False)
    most = counts.sort_values(ascending=False, kind="stable").index[:EXAMPLES]
    shown = tuple(
        f"{int(counts[content])} times: {cut(_text(frame, column, content))}" for content in most
    )
    return Finding(_share(repeats), _of(repeats), shown)


def leaked_share(
    frame: pd.DataFrame, column: str, source: str = "train", target: str = "test"
) -> Finding:
    """Share of a split's rows whose content stands also in another split."""
    known = frame.loc[frame["split"] == source].drop_duplicates(column).set_index(column)["id"]
    rows = frame.loc[frame["split"] == target]
    leaked = rows[column].isin(known.index)
    first = rows.loc[leaked, ["id", column]].head(EXAMPLES).itertuples(index=False)
    shown = tuple(
        f"{target} {row_id} is {source} {known[content]}: {cut(_text(rows, column, content))}"
        for row_id, content in first
    )
    return Finding(_share(leaked), f"{_of(leaked)} of {target} are in {source}", shown)


def label_conflicts(frame: pd.DataFrame, column: str, label: str = "label") -> Finding:
    """Number of contents that carry more than one label."""
    pairs = frame.drop_duplicates([column, label])
    twice = pairs[column].duplicated(keep=False)
    contents = pairs.loc[twice, column].drop_duplicates()
    shown = tuple(
        f"{' and '.join(sorted(pairs.loc[pairs[column] == content, label]))}: "
        f"{cut(_text(frame, column, content))}"
        for content in contents[:EXAMPLES]
    )
    return Finding(len(contents), f"{len(contents)} contents with several labels", shown)


def smallest_class_share(frame: pd.DataFrame, label: str = "label") -> Finding:
    """Share of the rarest label in the split where it is rarest; 0 where a split lacks one."""
    shares = _shares(frame, label)
    value = min(shares.values())
    split, name = min(shares, key=shares.__getitem__)
    return Finding(value, f"{name} is {value:.1%} of {split}")


def class_share_gap(frame: pd.DataFrame, label: str = "label") -> Finding:
    """Largest difference of a label's share between a split and the training rows."""
    shares = _shares(frame, label)
    gaps = {key: abs(share - shares["train", key[1]]) for key, share in shares.items()}
    split, name = max(gaps, key=gaps.__getitem__)
    here, there = (f"{shares[row, name]:.1%} of {row}" for row in (split, "train"))
    return Finding(gaps[split, name], f"{name} is {here}, {there}")


def empty_share(frame: pd.DataFrame, column: str) -> Finding:
    """Share of rows without any content, such as texts of punctuation alone."""
    empty = frame[column].str.len() == 0
    rows = frame.loc[empty].head(EXAMPLES)
    shown = tuple(
        f"{row['split']} {row['id']}: {cut(str(row['text']))}" for _, row in rows.iterrows()
    )
    return Finding(_share(empty), _of(empty), shown)


CHECKS: dict[str, Callable[..., Finding]] = {
    "class_share_gap": class_share_gap,
    "empty_share": empty_share,
    "label_conflicts": label_conflicts,
    "leaked_share": leaked_share,
    "repeated_share": repeated_share,
    "smallest_class_share": smallest_class_share,
}


def normalised(texts: Iterable[str]) -> list[str]:
    """Texts without case, width, punctuation and space: what is equal then says the same.

    Written apart from the code that splits the data, so that a fault there shows here.
    """
    folded = [unicodedata.normalize("NFKC", text).lower() for text in texts]
    dropped = "".join(
        letter
        for letter in sorted(set("".join(folded)))
        if letter.isspace() or unicodedata.category(letter)[0] in "PZ"
    )
    if not dropped:
        return folded
    runs = re.compile(f"[{re.escape(dropped)}]+")
    return [runs.sub("", text) for text in folded]


def cut(text: str) -> str:
    """The text as an example, in one line and not too long."""
    line = " ".join(text.split())
    return line if len(line) <= SHOWN_CHARACTERS else line[: SHOWN_CHARACTERS - 1] + "…"


def _text(frame: pd.DataFrame, column: str, content: str) -> str:
    """What a person can read of the first row with this content."""
    if "text" not in frame:
        return str(content)[:16]
    return str(frame.loc[frame[column] == content, "text"].iloc[0])


def _share(mask: pd.Series) -> float:
    return float(mask.mean()) if len(mask) else 0.0


def _of(mask: pd.Series) -> str:
    return f"{int(mask.sum())} of {len(mask)} rows ({_share(mask):.1%})"


def _shares(frame: pd.DataFrame, label: str) -> dict[tuple[str, str], float]:
    """Share of each label in each split, by (split, label); 0 where there is none."""
    table = pd.crosstab(frame["split"], frame[label], normalize="index")
    return {
        (str(split), str(name)): float(share)
        for split, row in zip(table.index, table.to_numpy(), strict=True)
        for name, share in zip(table.columns, row, strict=True)
    }
