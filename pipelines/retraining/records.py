"""What `athanor retrain` says, as records: text, JSON and page are made from these alone."""

from typing import Any, Literal

from components.records import Record
from pipelines.comparison.records import Compared


class SplitRows(Record):
    """Rows of one split, as the champion knew them and now."""

    split: str
    before: int | None
    """None where nobody knows."""
    now: int
    new: int | None
    """Rows that the champion's data did not have."""


class DataChange(Record):
    """One data set beside what the champion was made from."""

    name: str
    before: str | None
    """DVC digest; None where the champion did not have this data set."""
    after: str
    rows: tuple[SplitRows, ...] = ()
    labels: dict[str, dict[str, int]] = {}
    """`before`, `now` and `new` -> rows by label; empty for rows without labels."""
    moved: int | None = None
    """The champion's test rows that are no test rows any more, and still here."""
    drift: tuple[str, ...] = ()
    """In what the new rows differ, a sentence each."""


class Choice(Record):
    """What a person may do now, and the exact command."""

    text: str
    command: str


class Retrained(Record):
    """What became of one retraining."""

    name: str
    outcome: Literal["same data", "promoted", "refused", "unchanged"]
    reason: str
    started_from: int | None
    """The champion before; None where there was none."""
    notes: tuple[str, ...]
    """What was taken over from it and what not, and how data arrived."""
    data: tuple[DataChange, ...]
    run_id: str | None = None
    mlflow_run_id: str | None = None
    version: int | None = None
    """The candidate."""
    champion: int | None = None
    """Who holds the alias now."""
    checks: tuple[dict[str, Any], ...] = ()
    """What the gate demanded: `rule`, `passed`, `observed`."""
    compared: Compared | None = None
    """Candidate (b) beside champion (a), on the new test rows; None for a first version."""
    choices: tuple[Choice, ...] = ()
    page: str | None = None
    """Path of the page among the files of the candidate's run in MLflow."""
    file: str | None = None
    """The same page on this machine."""

    @property
    def exit_code(self) -> int:
        """4 where the gate refused the candidate, else 0."""
        return 4 if self.outcome == "refused" else 0
