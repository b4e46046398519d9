"""The rooms of the house hold what they should: light imports, no Python beside the server."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("torch", "prefect", "mlflow", "optuna", "great_expectations", "pandas", "sklearn")
LIGHT = [f"components.steps.{path.stem}" for path in (ROOT / "components/steps").glob("[a-z]*.py")]
LIGHT += [f"pipelines.{name}" for name in ("cli", "plan", "config", "train", "receipt")]


def loaded(module: str) -> str:
    script = f"import sys, {module}; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_all_light_modules_together_load_nothing_heavy() -> None:
    assert loaded(", ".join(sorted(LIGHT))) == "[]"


def test_a_heavy_import_would_be_seen() -> None:
    assert loaded("components.study") == "['optuna']"


def test_no_python_lies_beside_the_mlflow_server() -> None:
    assert not list((ROOT / "mlflow").rglob("*.py"))


def test_test_files_have_names_of_their_own_and_no_packages() -> None:
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))
    assert not list((ROOT / "tests").rglob("__init__.py"))


@pytest.mark.parametrize("script", [".ci/run", "mlflow/backup.sh"])
def test_shell_scripts_parse_and_can_be_run(script: str) -> None:
    path = ROOT / script
    assert path.stat().st_mode & 0o111
    subprocess.run(["bash", "-n", str(path)], check=True)


def test_every_pinned_version_is_exact_and_from_an_index() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert all(line.count("==") == 1 and "@" not in line and "+" not in line for line in pins)
    names = [line.partition("==")[0].lower() for line in pins]
    assert len(set(names)) == len(names)
    assert not {"pip", "setuptools", "athanor", "torchvision"} & set(names)
