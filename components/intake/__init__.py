"""New shards of a data set are taken in: examined first, then all at once or not at all.

The shards that wait are those of `incoming/<data set>/`, or named ones. Their rows are sorted into
splits by what they say, the data set that would come of it is held against its expectations, and
only then do new files come into `data/`, with their record.
"""

import json
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from components import files, project
from components.data import check, placing, pointer
from components.data.cards import FILE, read_card
from components.data.placing import Move, Plan
from components.errors import DataRejected, UsageError
from components.files import canonical
from components.intake import arrived, sorting
from components.intake.arrived import Row, Shard
from components.intake.sorting import Known, LeftOut, Sorted
from components.records import Record

if TYPE_CHECKING:
    from components.validation.expectations import Expectations

INCOMING = "incoming"
TAKEN = "taken"
"""Folder of `incoming/` that keeps every shard whose rows are in `data/`, and a note of each."""
PATTERN = "*.jsonl"
SPLITS = ("train", "val", "test")


class ShardTaken(Record):
    """A file that was taken in."""

    file: str
    """Where it lay."""
    sha256: str
    rows: int


class TakenIn(Record):
    """What one data set got."""

    data_set: str
    at: str
    """UTC, ISO 8601."""
    before: str
    """md5 of the data set's sub-tree with `.dir`; equal to `after` where nothing was new."""
    after: str
    tree: str
    """The same of all of `data/`, as `data.dvc` names it now."""
    shards: tuple[ShardTaken, ...]
    added: dict[str, int]
    """Split -> new rows."""
    repeated: int
    """Rows that the data set had already."""
    left_out: tuple[LeftOut, ...]
    note: str
    """The file that says all this, in the project."""


def waiting(name: str) -> tuple[Path, ...]:
    """The shards of a data set that wait in `incoming/`, sorted by name; hidden files do not."""
    folder = project.root() / INCOMING / name
    found = sorted(folder.glob(PATTERN)) if folder.is_dir() else []
    return tuple(path for path in found if not path.name.startswith("."))


def take_in(name: str, paths: Sequence[Path], expectations: "Expectations") -> TakenIn:
    """The data set with the rows of these shards; its record, listing and pointer are written.

    Raises:
        DataRejected: a shard is malformed, or the data set would break its expectations; nothing
            was changed.
        IntegrityError: the data set is not what was recorded.
        UsageError: there is no such data set or file, or its rows are no texts.
    """
    root = project.root()
    placing.settle(root)
    check.verify([name])
    with files.locked(project.home() / "data.lock"), placing.beside(root) as folder:
        card = read_card(root / "data" / name)
        if card.modality != "text":
            raise UsageError(
                f"data/{name} is {card.modality}: only texts are taken in as shards",
                "put its new files into the folder yourself, then: athanor data record",
            )
        shards = [arrived.read(path) for path in paths]
        rows = {shard: list(arrived.rows(shard, card.labels)) for shard in shards}
        known = _known(root / "data" / name)
        found = sorting.sort((row for each in rows.values() for row in each), known)
        new = _new_files(root / "data" / name, found) if found.added else {}
        for path, text in new.items():
            files.write_bytes(folder / placing.FILES / path, text)
        if new:
            _demand_expected(root, name, (folder, found, expectations))
        taken = _taken(root, name, (rows, found, new))
        placing.place(root, folder, _plan(root, shards, (taken, new)))
    return taken


def _known(folder: Path) -> list[Known]:
    """Every row that the data set has."""
    from components.data.reviews import normalised
    from components.datasets.text import Text

    found = []
    for split in SPLITS:
        part = Text().read(folder, split)
        for row_id, text, label in zip(part["id"], part["text"], part["label"], strict=True):
            found.append(Known(split, row_id, normalised(text) or text, label))
    return found


def _new_files(folder: Path, found: Sorted) -> dict[str, bytes]:
    """A shard a split, under the next number that no split has, and the card with its counts."""
    numbers = [int(path.stem) for path in folder.glob("*/*.jsonl") if path.stem.isdigit()]
    number = max(numbers, default=-1) + 1
    card = read_card(folder)
    counts = {split: card.counts.get(split, 0) + len(rows) for split, rows in found.added.items()}
    grown = card.model_copy(update={"counts": {**card.counts, **counts}})
    shards = {
        f"{split}/{number:04d}.jsonl": b"".join(_line(row) for row in rows)
        for split, rows in sorted(found.added.items())
    }
    return {**shards, FILE: grown.to_bytes()}


def _line(row: Row) -> bytes:
    return canonical({"id": row.id, "label": row.label, "text": row.text}) + b"\n"


def _demand_expected(root: Path, name: str, what: tuple[Path, Sorted, "Expectations"]) -> None:
    """Hold the data set that would come of it, and the new rows alone, against the suite.

    Raises:
        DataRejected: a critical expectation is broken; a report of all of them is kept.
    """
    from components.artifacts import RawData
    from components.validation import report, source
    from components.validation.expectations import Expectations
    from components.validation.suite import evaluate

    folder, found, expectations = what
    whole = _whole(root, name, folder)
    frame = source.manifest(whole)
    outcomes = list(evaluate(frame, expectations))
    of_rows = [e for e in expectations.expectations if e.type.startswith("expect_column_value")]
    if of_rows:  # a thousand bad rows are few among a million good ones
        fresh = {row.id for rows in found.added.values() for row in rows}
        alone = Expectations(name=f"{expectations.name}, new rows", expectations=tuple(of_rows))
        outcomes += evaluate(frame[frame["id"].isin(fresh)], alone)
    broken = report.refusing(outcomes)
    if not broken:
        return
    raw = RawData(name=name, tree="not recorded", rows={})
    place = root / INCOMING / f"refused-{name}.html"
    files.write_bytes(place, report.page(raw, outcomes, frame))
    raise DataRejected(
        f"with these rows data/{name} breaks {len(broken)} of {len(outcomes)} rules:\n"
        f"{report.summary(broken)}\nNothing was taken in",
        f"read {place.relative_to(root)}, then correct the shard, or the suite "
        f"{expectations.name!r} where it demands too much",
    )


def _whole(root: Path, name: str, folder: Path) -> Path:
    """The data set as it would be, of links to its files and of the new ones."""
    whole = folder / "whole" / name
    shutil.copytree(root / "data" / name, whole, copy_function=_link)
    for path in sorted((folder / placing.FILES).rglob("*")):
        if path.is_file():
            target = whole / path.relative_to(folder / placing.FILES)
            target.unlink(missing_ok=True)
            _link(str(path), str(target))
    return whole


def _link(source: str, target: str) -> None:
    Path(target).symlink_to(Path(source).resolve())


def _taken(
    root: Path, name: str, what: tuple[dict[Shard, list[Row]], Sorted, dict[str, bytes]]
) -> TakenIn:
    rows, found, new = what
    now = datetime.now(UTC)
    before, after = pointer.recorded(root), placing.tree_with(root, name, new)
    return TakenIn(
        data_set=name,
        at=now.isoformat(timespec="seconds"),
        before=before.part(name).digest,
        after=after.part(name).digest,
        tree=after.digest,
        shards=tuple(
            ShardTaken(file=_shown(root, shard.path), sha256=shard.sha256, rows=len(each))
            for shard, each in rows.items()
        ),
        added={split: len(found.added.get(split, ())) for split in SPLITS},
        repeated=found.repeated,
        left_out=found.left_out,
        note=f"{INCOMING}/{TAKEN}/{name}/{now:%Y%m%d-%H%M%S-%f}.json",
    )


def _plan(root: Path, shards: Sequence[Shard], what: tuple[TakenIn, dict[str, bytes]]) -> Plan:
    """The note, and the shards of `incoming/` beside it; files from elsewhere stay there."""
    taken, new = what
    waited = [shard for shard in shards if (root / INCOMING) in shard.path.resolve().parents]
    note = Path(taken.note)
    moves = [
        Move(
            source=_shown(root, shard.path),
            target=str(note.with_name(f"{note.stem}-{shard.path.name}")),
            sha256=shard.sha256,
        )
        for shard in waited
    ]
    tree = placing.tree_with(root, taken.data_set, new)
    text = json.dumps(taken.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n"
    return Plan(
        data_set=taken.data_set,
        before=pointer.recorded(root).digest,
        listing={p: {"md5": f.md5, "size_bytes": f.size_bytes} for p, f in tree.files.items()},
        paths=tuple(sorted(new)),
        moves=tuple(moves),
        notes={taken.note: text},
    )


def _shown(root: Path, path: Path) -> str:
    whole = path.resolve()
    return str(whole.relative_to(root)) if whole.is_relative_to(root) else str(whole)
