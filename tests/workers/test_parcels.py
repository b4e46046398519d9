"""What travels between a run and a worker."""

from pathlib import Path

import pytest

from components.errors import DataRejected, IntegrityError
from components.steps.select import SelectConfig
from pipelines.child import StepBroken
from pipelines.resources import Resources
from pipelines.workers import parcels
from pipelines.workers.parcels import Outcome


def test_records_come_out_as_they_went_in() -> None:
    sent = {"config": SelectConfig(max_drop=0.25), "wanted": (Resources(gpus=2), None, 3, "x")}
    assert parcels.unpacked(parcels.packed(sent)) == sent


def test_the_shipped_options_keep_their_own_fields() -> None:
    from pipelines.config import load_run
    from tests.pipelines.small_project import ROOT

    config = load_run(ROOT / "configs/reviews_zh.yaml")
    assert parcels.unpacked(parcels.packed(config)) == config


@pytest.mark.parametrize(
    "hostile",
    [
        {"class": "os:system", "value": {}},
        {"class": "subprocess:Popen", "value": {}},
        {"class": "pipelines.child:warm", "value": {}},
        {"class": "components.errors:UsageError", "value": {}},
        {"class": "components.nowhere:Thing", "value": {}},
        {"nothing": 1},
        "text",
    ],
)
def test_a_parcel_builds_no_more_than_our_records(hostile: object) -> None:
    with pytest.raises(IntegrityError):
        parcels.unpacked(hostile)


def test_what_is_no_record_cannot_be_sent() -> None:
    with pytest.raises(TypeError, match="set cannot be sent"):
        parcels.packed({"a": {1, 2}})


def test_an_outcome_counts_for_its_own_try_alone(tmp_path: Path) -> None:
    path = tmp_path / "outcome.json"
    parcels.write(path, Outcome(flow_run_id="one", state="done", value=parcels.packed(3)))
    assert parcels.read(path, "two") is None
    found = parcels.read(path, "one")
    assert found is not None
    assert parcels.opened(found) == 3
    path.write_bytes(path.read_bytes().replace(b"one", b"two"))
    assert parcels.read(path, "two") is None, "its sha256 is another now"


def test_errors_arrive_as_they_were_raised() -> None:
    error = parcels.told(DataRejected("3 rows repeat", "athanor data verify"))
    with pytest.raises(DataRejected, match="3 rows repeat") as caught:
        parcels.opened(Outcome(flow_run_id="x", state="error", value=error))
    assert caught.value.remedy == "athanor data verify"
    with pytest.raises(StepBroken, match="Traceback"):
        parcels.opened(Outcome(flow_run_id="x", state="broken", value="Traceback ..."))
