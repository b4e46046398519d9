"""Weighted character n-grams of texts as sparse rows, computed by sorting instead of counting."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_matrix

LONGEST = 3
MIN_TEXTS = 2
BITS = 21
"""A code point, plus one, fits in 21 bits, three of them in one int64."""


class Counted(NamedTuple):
    """Every pair of text and n-gram that occurs, sorted by text, then by n-gram."""

    text: np.ndarray
    gram: np.ndarray
    count: np.ndarray
    texts: int


@dataclass(frozen=True)
class Weights:
    """N-grams that occur in enough training texts, sorted, and their inverse frequencies."""

    grams: np.ndarray
    inverse: np.ndarray

    @classmethod
    def fit(cls, counted: Counted) -> "Weights":
        """The weights of all n-grams that stand in at least two of these texts."""
        grams, having = np.unique(counted.gram, return_counts=True)
        kept = having >= min(MIN_TEXTS, counted.texts)
        inverse = np.log((1 + counted.texts) / (1 + having[kept])) + 1
        return cls(grams[kept], inverse)

    def rows(self, counted: Counted) -> csr_matrix:
        """TF-IDF of texts, (texts, grams) float32, rows of length one or empty.

        Sublinear counts and smoothed frequencies, as scikit-learn's TfidfVectorizer has them.
        """
        place = np.searchsorted(self.grams, counted.gram).clip(max=len(self.grams) - 1)
        known = self.grams[place] == counted.gram
        text, place = counted.text[known], place[known]
        value = (1 + np.log(counted.count[known])) * self.inverse[place]
        length = np.sqrt(np.bincount(text, value**2, minlength=counted.texts))
        starts = np.searchsorted(text, np.arange(counted.texts + 1))
        weighted = (value / length[text]).astype(np.float32)
        return csr_matrix((weighted, place, starts), shape=(counted.texts, len(self.grams)))


def count(texts: Sequence[str]) -> Counted:
    """Character n-grams of one to three characters, none across two texts."""
    points = np.frombuffer("".join(texts).encode("utf-32-le"), dtype="<u4").astype(np.int64) + 1
    text = np.repeat(np.arange(len(texts)), [len(one) for one in texts])
    codes, owners = [], []
    for size in range(1, LONGEST + 1):
        last = len(points) - size + 1
        if last <= 0:
            break
        code = np.zeros(last, dtype=np.int64)
        for step in range(size):
            code = code << BITS | points[step : last + step]
        inside = text[:last] == text[size - 1 :]
        codes.append(code[inside])
        owners.append(text[:last][inside])
    code, owner = np.concatenate(codes), np.concatenate(owners)
    grams, gram = np.unique(code, return_inverse=True)
    pairs, counts = np.unique(owner * len(grams) + gram, return_counts=True)
    return Counted(pairs // len(grams), grams[pairs % len(grams)], counts, len(texts))
