"""Prepare: from validated data folders to arrays, fitted on training rows."""

from typing import TYPE_CHECKING

from components.artifacts import Fitting, Prepared, ValidatedData

if TYPE_CHECKING:
    from components.preparation import Earlier, Preparation


def prepare(
    sources: tuple[ValidatedData, ...],
    preparation: "Preparation",
    *,
    fitted: Fitting | None = None,
) -> Prepared:
    """Arrays of every split with the tokenizer or scale that was fitted; the labelled source first.

    `fitted` is what was fitted for weights that go on: rows are read with it, nothing is fitted.

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
    made = preparation.prepare(folders, target, _earlier(fitted))
    files = {path.name: objects.put(path) for path in sorted(target.iterdir())}
    shutil.rmtree(target)
    current().metrics({f"rows/{split}": rows for split, rows in made.rows.items()})
    return Prepared(sources=sources, spec=made.spec, files=files, rows=made.rows)


def _earlier(fitted: Fitting | None) -> "Earlier | None":
    """The same with its files in a folder."""
    from components import objects
    from components.preparation import Earlier
    from components.workspace import current

    if fitted is None:
        return None
    folder = current().folder / "fitted"
    for name, sha in fitted.files.items():
        objects.link(sha, folder / name)
    return Earlier(fitted.spec, folder)
