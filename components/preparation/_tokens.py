"""Texts as character ids, fast: normalised by the tokenizer itself, looked up by numpy."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.normalizers import NFKC, Lowercase
from tokenizers.normalizers import Sequence as InTurn

from components.files import write_bytes
from components.spec import MASK, PAD, UNKNOWN

RESERVED = {"[PAD]": PAD, "[UNK]": UNKNOWN, "[MASK]": MASK}
"""Names of the reserved ids. No text can spell one: the tokenizer knows single characters only."""

CODE_POINTS = 0x110000


class Ragged(NamedTuple):
    """Rows of different length: row i is `values[offsets[i]:offsets[i + 1]]`."""

    values: np.ndarray
    offsets: np.ndarray


def normalised(texts: Sequence[str]) -> list[str]:
    """Texts in the form that the tokenizer sees: NFKC, lower case."""
    normalizer = InTurn([NFKC(), Lowercase()])
    return [normalizer.normalize_str(text) for text in texts]


def code_points(texts: Sequence[str]) -> Ragged:
    """Unicode code points of texts, uint32."""
    values = np.frombuffer("".join(texts).encode("utf-32-le"), dtype="<u4")
    lengths = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))
    return Ragged(values, np.concatenate([[0], np.cumsum(lengths)]))


def alphabet(values: np.ndarray, min_count: int) -> list[str]:
    """Characters that occur at least so often, the most frequent first, then by code point."""
    counts = np.bincount(values, minlength=1)
    found = np.flatnonzero(counts >= min_count)
    return [chr(point) for point in found[np.argsort(-counts[found], kind="stable")]]


def tokenizer(characters: Sequence[str], max_length: int) -> Tokenizer:
    """One token per character, those outside the alphabet unknown; cuts at the longest length.

    A byte-pair model without a merge looks characters up twice as fast as a word model behind a
    splitting pattern.
    """
    ids = {**RESERVED, **{letter: len(RESERVED) + i for i, letter in enumerate(characters)}}
    made = Tokenizer(BPE(ids, [], unk_token="[UNK]", fuse_unk=False))
    made.normalizer = InTurn([NFKC(), Lowercase()])
    made.enable_truncation(max_length)
    return made


def ids(points: Ragged, characters: Sequence[str]) -> Ragged:
    """Token ids (int32) of code points: what the tokenizer gives, without cutting."""
    table = np.full(CODE_POINTS, UNKNOWN, dtype=np.int32)
    table[[ord(letter) for letter in characters]] = np.arange(len(characters)) + len(RESERVED)
    return Ragged(table[points.values], points.offsets)


def first(rows: Ragged, max_length: int) -> Ragged:
    """The beginning of each row, up to the longest length."""
    lengths = np.diff(rows.offsets)
    inside = np.arange(len(rows.values)) - np.repeat(rows.offsets[:-1], lengths) < max_length
    offsets = np.concatenate([[0], np.cumsum(np.minimum(lengths, max_length))])
    return Ragged(rows.values[inside], offsets)


def pieces(rows: Ragged, max_length: int) -> Ragged:
    """Each row cut into the fewest pieces that fit, of nearly equal length; nothing is lost."""
    lengths = np.diff(rows.offsets)
    count = -(-lengths // max_length)
    row = np.repeat(np.arange(len(lengths)), count)
    inner = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
    starts = rows.offsets[row] + inner * lengths[row] // count[row]
    return Ragged(rows.values, np.concatenate([starts, rows.offsets[-1:]]))


def spread(rows: Ragged, wanted: int | None) -> Ragged:
    """At most so many rows, taken at even distances over all of them; None takes all."""
    total = len(rows.offsets) - 1
    if wanted is None or wanted >= total:
        return rows
    kept = np.arange(wanted) * total // wanted
    lengths = np.diff(rows.offsets)
    mask = np.zeros(total, dtype=bool)
    mask[kept] = True
    values = rows.values[np.repeat(mask, lengths)]
    return Ragged(values, np.concatenate([[0], np.cumsum(lengths[kept])]))


def letters(path: Path) -> list[str]:
    """The alphabet of a `tokenizer.json` that `write` wrote, in the order of its ids."""
    ids = Tokenizer.from_file(str(path)).get_vocab()
    return sorted(ids.keys() - RESERVED.keys(), key=lambda letter: ids[letter])


def write(path: Path, characters: Sequence[str], max_length: int) -> None:
    """The file `tokenizer.json`, which Hugging Face tokenizers read without our code."""
    write_bytes(path, tokenizer(characters, max_length).to_str().encode())
