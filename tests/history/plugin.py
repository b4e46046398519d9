"""What the installed distribution tells MLflow, from this source, installed or not."""

import os
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def environment(folder: Path) -> dict[str, str]:
    """Environment in which a fresh process finds our packages and our entry points."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = []
    for group, entries in settings["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in entries.items())]
    metadata = folder / "athanor-0.1.0.dist-info"
    metadata.mkdir(parents=True, exist_ok=True)
    (metadata / "entry_points.txt").write_text("\n".join(lines) + "\n")
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: athanor\nVersion: 0.1.0\n")
    path = (str(folder), str(ROOT), os.environ.get("PYTHONPATH", ""))
    return {"PYTHONPATH": os.pathsep.join(filter(None, path))}
