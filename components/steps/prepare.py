"""Prepare: from validated data folders to arrays, fitted on training rows."""

from typing import TYPE_CHECKING

from components.artifacts import Prepared, ValidatedData

if TYPE_CHECKING:
    from components.preparation import Preparation


def prepare(sources: tuple[ValidatedData, ...], preparation: "Preparation") -> Prepared:
    """Arrays of every split with the tokenizer or scale that was fitted; the labelled source first.

    Raises:
        ConfigError: the preparation cannot read such data.
        DataRejected: a file is malformed, or rows that are held out are also among the others.
        IntegrityError: a data folder is not the one that was validated.
    """
    import shutil

    from components import objects
    from components.validation import source
    from components.workspace import current

    folders = {one.raw.name: source.folder(one.raw) for one in sources}
    target = current().folder / "prepared"
    shutil.rmtree(target, ignore_errors=True)
    fitted = preparation.prepare(folders, target)
    files = {path.name: objects.put(path) for path in sorted(target.iterdir())}
    shutil.rmtree(target)
    current().metrics({f"rows/{split}": rows for split, rows in fitted.rows.items()})
    return Prepared(sources=sources, spec=fitted.spec, files=files, rows=fitted.rows)
