"""Texts that nearly say the same: what a comparison of whole texts does not find.

Two texts are alike when four fifths of the triples of characters that either has are in both. A
test row that differs in one word from a training row shows memory as well as a copy does.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

LIKE = 0.8
"""Least share of common triples."""
TRIPLE = 3
BLOCK_ROWS = 256
"""New rows compared at once: a bound on memory."""


def nearest(new: Sequence[str], known: Sequence[str]) -> list[int | None]:
    """For each new text the known one that it is most alike, by position; None where none is.

    Texts shorter than a triple are like none: only their equal is.
    """
    if not new or not known:
        return [None] * len(new)
    found: list[int | None] = []
    of_known = _triples(known)
    sizes = np.asarray(of_known.sum(axis=1)).ravel()
    turned = of_known.T.tocsr()
    for first in range(0, len(new), BLOCK_ROWS):
        block = _triples(new[first : first + BLOCK_ROWS])
        common = (block @ turned).tocsr()
        mine = np.asarray(block.sum(axis=1)).ravel()
        found += [_best(common, at, mine[at], sizes) for at in range(block.shape[0])]
    return found


def _best(common: "csr_matrix", at: int, mine: float, sizes: np.ndarray) -> int | None:
    begin, end = common.indptr[at], common.indptr[at + 1]
    places, counts = common.indices[begin:end], common.data[begin:end]
    if not len(places):
        return None
    alike = counts / (mine + sizes[places] - counts)
    best = int(np.lexsort((places, -alike))[0])
    return int(places[best]) if alike[best] >= LIKE else None


def _triples(texts: Sequence[str]) -> "csr_matrix":
    """A row a text, a column a triple of characters, 1 where it occurs."""
    from sklearn.feature_extraction.text import HashingVectorizer

    plain: dict[str, Any] = {"lowercase": False, "norm": None, "alternate_sign": False}
    vectorizer = HashingVectorizer(
        analyzer="char",
        ngram_range=(TRIPLE, TRIPLE),
        n_features=1 << 22,
        binary=True,
        dtype=np.float32,
        **plain,
    )
    made: Any = vectorizer.transform(texts)
    return made.tocsr()
