"""`athanor predict`: a registered model answers texts, a file of texts, or a picture."""

import csv
import json
from pathlib import Path
from typing import Any

from components.errors import DataRejected, UsageError
from components.records import Record


class Answer(Record):
    """One row's answer."""

    row: str
    label: str
    probability: float


class Signed(Record):
    """Who vouches for the version that answered."""

    key: str | None
    """Id of a trusted key; None where none signed it."""
    owner: str | None
    unsigned_allowed: bool
    """Whether it answered unsigned, because that was asked for."""


class Answers(Record):
    """All answers of one call."""

    name: str
    version: int
    variant: str
    signature: Signed
    answers: tuple[Answer, ...]
    latency_ms: float
    """Mean per row, reading of the input included."""


def as_json(answers: Answers) -> dict[str, Any]:
    """The document of `athanor predict --json`."""
    return answers.model_dump(mode="json")


def as_text(answers: Answers) -> str:
    """One line a row."""
    lines = [f"{a.label:<12} {a.probability:.4f}   {a.row[:60]}" for a in answers.answers]
    lines.append(
        f"{answers.name} v{answers.version} ({answers.variant}), {answers.latency_ms:.2f} ms a row"
    )
    if answers.signature.unsigned_allowed:
        lines.append("no trusted key signed this version: --allow-unsigned let it answer")
    return "\n".join(lines)


def predict(
    reference: str, texts: tuple[str, ...], file: str | None, allow_unsigned: bool = False
) -> Answers:
    """What a model says of the texts or of the file's rows.

    Raises:
        UsageError: no such model, nothing to label, or a file of another kind.
        IntegrityError: no trusted key signed the model, or a file of it is not what was registered.
        DataRejected: a row cannot be read.
    """
    if bool(texts) == bool(file):
        raise UsageError(
            "predict wants texts or --file, exactly one of them",
            "athanor predict NAME 'some text', or athanor predict NAME --file rows.csv",
        )
    from components import registry
    from components.inference.predictor import Predictor
    from components.registry import fetching

    where = registry.resolve(reference)
    bundle = fetching.fetch(where.name, where.version, allow_unsigned=allow_unsigned)
    predictor = Predictor(bundle.folder)
    items, shown = _items(texts, file, predictor.reader.takes)
    found = predictor.predict(items)
    best = found.probability.max(axis=1)
    rows = tuple(
        Answer(row=row, label=label, probability=round(float(p), 6))
        for row, label, p in zip(shown, found.labels, best, strict=True)
    )
    return Answers(
        name=where.name,
        version=where.version,
        variant=bundle.selected,
        signature=Signed.model_validate(bundle.signed),
        answers=rows,
        latency_ms=round(1000 * (found.read_s + found.run_s) / len(rows), 3),
    )


def _items(texts: tuple[str, ...], file: str | None, takes: str) -> tuple[list[Any], list[str]]:
    """What to ask, and how each row is shown."""
    if file is None:
        if takes != "texts":
            raise UsageError(f"this model reads {takes}, not texts", "--file picture.png")
        return list(texts), list(texts)
    path = Path(file)
    if not path.is_file():
        raise UsageError(f"there is no file {file}", "name a .csv, .jsonl or a picture")
    if takes == "texts":
        rows = _texts(path)
        if not rows:
            raise DataRejected(f"{file} holds no row", "give it at least one text")
        return list(rows), rows
    if path.suffix.lower() in (".csv", ".jsonl", ".txt"):
        raise UsageError(f"this model reads {takes}; {file} holds text", "--file picture.png")
    return [path], [path.name]


def _texts(path: Path) -> list[str]:
    """The column `text` of a CSV or JSON lines file.

    Raises:
        DataRejected: a row lacks it; the line is named.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            if path.suffix.lower() == ".jsonl":
                lines = [(n, line) for n, line in enumerate(file, 1) if line.strip()]
                return [_field(_object(line, path, n), path, n) for n, line in lines]
            if path.suffix.lower() == ".csv":
                return [_field(row, path, n) for n, row in enumerate(csv.DictReader(file), 2)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataRejected(f"{path} cannot be read ({error})", "save it as UTF-8") from None
    raise UsageError(f"{path.name}: predict reads .csv and .jsonl", "rename or convert the file")


def _object(text: str, path: Path, line: int) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataRejected(f"{path}:{line} is not JSON ({error})", "one object a line") from None


def _field(row: Any, path: Path, line: int) -> str:
    text = row.get("text") if isinstance(row, dict) else None
    if not isinstance(text, str):
        raise DataRejected(f"{path}:{line} has no text under `text`", "name the column text")
    return text
