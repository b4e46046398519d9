"""What people read: numbers with their nouns, lines of a receipt."""

from pathlib import Path

from pipelines import receipt
from pipelines.receipt import Step
from pipelines.wording import counted
from tests.docs.reports import a_report


def test_a_number_has_the_noun_that_fits() -> None:
    assert [counted(number, "slot") for number in (0, 1, 2)] == ["no slots", "1 slot", "2 slots"]


def test_no_line_of_a_receipt_parts_a_step_from_its_seconds(tmp_path: Path) -> None:
    steps = tuple(
        Step(name=f"step-{'x' * length}", state="executed", reason="it is new", seconds=length)
        for length in range(40)
    )
    report = a_report(tmp_path, "promoted").model_copy(update={"steps": steps})
    shown = receipt.as_text(report)
    assert "\N{NO-BREAK SPACE}" not in shown
    lines = [line for line in shown.splitlines() if "step-" in line]
    assert len(lines) > 10
    assert all(line.rstrip(",").endswith(" s") and len(line) <= receipt.WIDTH for line in lines)
