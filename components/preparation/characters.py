"""Texts as single characters, in the form NFKC and lower case."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from pydantic import PositiveInt

from components.errors import ConfigError, DataRejected
from components.preparation import Earlier, Fitted, Preparation
from components.spec import DataSpec, Input

SHOWN = 3
SHOWN_CHARACTERS = 40


class Characters(Preparation):
    """A character tokenizer, the ids of the labelled rows, and rows for pretraining.

    The first source is labelled, the others are not. The alphabet is that of the training rows
    of all of them; the same rows, cut into pieces, are those for pretraining.
    """

    source: ClassVar[str] = "Hugging Face tokenizers, byte-pair model without merges"

    min_count: PositiveInt = 2
    """A character that is seldomer among the training rows is unknown."""
    max_length: PositiveInt = 128
    """Longest row in characters; the rest of a labelled text is cut off."""
    pretrain_rows: PositiveInt | None = None
    """Most rows for pretraining, taken at even distances; None: all."""

    def prepare(
        self, sources: dict[str, Path], target: Path, earlier: Earlier | None = None
    ) -> Fitted:
        """Write the tokenizer, `inputs.json`, three labelled splits and `pretrain`.

        Raises:
            ConfigError: a source is of the wrong modality, or `earlier` is of other settings.
            DataRejected: an unlabelled source holds a validation or test text, or one of these
                has a label that no training row has.
        """
        from components.datasets.corpus import Corpus
        from components.datasets.text import Text
        from components.preparation import _arrays, _tokens

        labelled, *unlabelled = sources.values()
        _arrays.demand_modality("characters", labelled, "text")
        for folder in unlabelled:
            _arrays.demand_modality("characters", folder, "corpus")
        rows = {split: Text().read(labelled, split) for split in _arrays.SPLITS}
        texts = {split: _tokens.normalised(rows[split]["text"]) for split in rows}
        lines = [line for folder in unlabelled for line in Corpus().read(folder, "train")["text"]]
        corpus = _tokens.normalised(lines)
        demand_unseen(texts["val"] + texts["test"], corpus)

        fitted_on = _tokens.code_points(texts["train"] + corpus)
        if earlier is None:
            letters = _tokens.alphabet(fitted_on.values, self.min_count)
            spec = self._spec(len(letters), rows["train"]["label"])
        else:
            letters, spec = self._again(earlier)
            _arrays.demand_known(labelled.name, rows["train"]["label"], spec.labels)
        counts: dict[str, int] = {}
        for split, part in rows.items():
            ids = _tokens.ids(_tokens.code_points(texts[split]), letters)
            cut = _tokens.first(ids, self.max_length)
            label = _arrays.positions(f"{labelled.name}/{split}", part["label"], spec.labels)
            arrays = {"ids": cut.values, "offsets": cut.offsets}
            _arrays.write_labelled(target, split, arrays, label)
            _arrays.write_rows(target, split, part.columns)
            counts[split] = len(part)
        pieces = _tokens.pieces(_tokens.ids(fitted_on, letters), self.max_length)
        kept = _tokens.spread(pieces, self.pretrain_rows)
        arrays = {"ids": kept.values, "offsets": kept.offsets}
        _arrays.write_arrays(target, "pretrain", arrays)
        _tokens.write(target / "tokenizer.json", letters, self.max_length)
        reader = {"reader": "text", "tokenizer": "tokenizer.json", "max_length": self.max_length}
        _arrays.write_inputs(target, spec, reader)
        return Fitted(spec=spec, rows={**counts, "pretrain": len(kept.offsets) - 1})

    def _again(self, earlier: Earlier) -> tuple[list[str], DataSpec]:
        """Alphabet and spec as they were fitted before.

        Raises:
            ConfigError: they are of other settings, or do not fit each other.
        """
        from components.preparation import _tokens

        letters = _tokens.letters(earlier.folder / "tokenizer.json")
        wanted = self._spec(len(letters), earlier.spec.labels)
        if wanted != earlier.spec:
            raise ConfigError(
                f"the model that is to go on reads {earlier.spec.max_length} of "
                f"{earlier.spec.vocabulary_size} characters, this preparation gives "
                f"{wanted.max_length} of {wanted.vocabulary_size}",
                "start afresh: athanor run CONFIG",
            )
        return letters, earlier.spec

    def _spec(self, letters: int, labels: Sequence[str]) -> DataSpec:
        from components.preparation._tokens import RESERVED

        return DataSpec(
            modality="text",
            inputs=(Input(name="ids", dtype="int64", shape=("batch", "length")),),
            labels=tuple(sorted(set(labels))),
            vocabulary_size=len(RESERVED) + letters,
            max_length=self.max_length,
        )


def demand_unseen(held_out: Sequence[str], unlabelled: Sequence[str]) -> None:
    """Refuse unlabelled text that holds what validation or test will ask for.

    Raises:
        DataRejected: a validation or test text, normalised, is also an unlabelled one.
    """
    leaked = sorted(set(held_out).intersection(unlabelled))
    if leaked:
        shown = ", ".join(repr(text[:SHOWN_CHARACTERS]) for text in leaked[:SHOWN])
        raise DataRejected(
            f"{len(leaked)} validation or test texts are also in the unlabelled data: {shown}",
            "remove them from the unlabelled data set, or pretraining sees the test",
        )
