"""What every test lives in: a home of its own, few threads, and (by pyproject.toml) no network."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.pipelines.small_project import Said

# Before any test imports torch or numpy: they read these once.
_THREADS = str(max(1, 2 // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))))
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, _THREADS)
for _name, _value in {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "GX_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    # Prefect reads it when a test file imports it: no server comes up where a test has none.
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "MPLBACKEND": "Agg",
}.items():
    os.environ[_name] = _value
# A developer's own servers and stores are never a test's.
for _name in ("ATHANOR_HOME", "PREFECT_API_URL", "MLFLOW_TRACKING_URI", "PREFECT_HOME"):
    os.environ.pop(_name, None)

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    """What a test, or the code that it calls here, sets in the environment goes with it.

    A command is a process of its own and may set what it likes: called in this one, it would
    leave the next test's run with the database of a home that is gone.
    """
    before = dict(os.environ)
    yield
    for name in os.environ.keys() | before.keys():
        if name not in before:
            del os.environ[name]
        elif os.environ.get(name) != before[name]:
            os.environ[name] = before[name]


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home for the test's state; the environment names it."""
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("ATHANOR_HOME", str(folder))
    return folder


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small project with no data in it, which is the working folder of the test."""
    folder = tmp_path / "project"
    for name in ("configs/data", "configs/expectations", "data"):
        (folder / name).mkdir(parents=True)
    (folder / "configs/data/tree.json").write_text("{\n\n}\n")
    empty = "d751713988987e9331980363e24189ce.dir"  # md5 of `[]`: DVC's hash of an empty folder
    (folder / "data.dvc").write_text(
        f"outs:\n- md5: {empty}\n  size: 0\n  nfiles: 0\n  hash: md5\n  path: data\n"
    )
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def real_data() -> Path:
    """The clone's own `data/`; the test is skipped where a data set was never fetched."""
    folder = ROOT / "data"
    if not (folder / "reviews_zh").is_dir():
        pytest.skip("data/ is empty: athanor data pull")
    return folder


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> "Callable[..., Said]":
    """Runs a command in this process: what it answered."""
    from pipelines import cli
    from tests.pipelines.small_project import Said

    def run(*words: str) -> Said:
        capsys.readouterr()
        code = cli.run(words)
        printed = capsys.readouterr()
        return Said(code, printed.out, printed.err)

    return run
