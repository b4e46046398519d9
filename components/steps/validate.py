"""Validate: a data set against its expectations."""

from typing import TYPE_CHECKING

from components.artifacts import Made, RawData, ValidatedData
from components.workspace import current

if TYPE_CHECKING:
    from components.validation.expectations import Expectations


def validate(raw: RawData, expectations: "Expectations") -> ValidatedData:
    """The data set with the proof that it is what its expectations demand.

    The report is kept in both cases and offered to the run.

    Raises:
        ConfigError: the suite demands something that does not exist.
        DataRejected: a critical expectation is broken, one could not be evaluated, or a file is
            malformed; the message has counts, examples and the path of the report.
        IntegrityError: the files are not the recorded ones.
    """
    from components import objects
    from components.errors import DataRejected
    from components.files import write_bytes
    from components.validation import report, source
    from components.validation.outcomes import expected_rows
    from components.validation.suite import evaluate

    frame = source.manifest(source.folder(raw))
    outcomes = (expected_rows(raw, frame), *evaluate(frame, expectations))
    contents = {
        "report.html": report.page(raw, outcomes, frame),
        "result.json": report.result(raw, outcomes),
    }
    here = current()
    for name, content in contents.items():
        write_bytes(here.folder / name, content)
        here.file(here.folder / name, f"validation/{name}")
    broken = report.refusing(outcomes)
    here.metrics(
        {
            "validation/rules": len(outcomes),
            "validation/failed": sum(one.state == "failed" for one in outcomes),
            "validation/refusing": len(broken),
        }
    )
    if broken:
        raise DataRejected(
            f"data/{raw.name} breaks {len(broken)} of {len(outcomes)} rules:\n"
            f"{report.summary(broken)}\nNo later step has run",
            f"read {here.folder / 'report.html'}, then correct the data, or the suite "
            f"{expectations.name!r} where it demands too much",
        )
    return ValidatedData(
        raw=raw,
        checks=tuple(one.check for one in outcomes),
        made=Made(
            facts={"files": {name: objects.put_bytes(each) for name, each in contents.items()}}
        ),
    )
