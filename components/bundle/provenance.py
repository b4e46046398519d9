"""Where and from which source a bundle was made: everything outside its identity."""

import json
import os
import platform
import socket
import subprocess
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from components import files, workspace

LIBRARIES = (
    "athanor",
    "mlflow",
    "numpy",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "optuna",
    "pillow",
    "prefect",
    "pydantic",
    "safetensors",
    "scikit-learn",
    "tokenizers",
    "torch",
    "torch-pruning",
)
FLAGS = frozenset(
    {
        *("avx2", "f16c", "fma", "avx_vnni"),
        *("avx512f", "avx512bw", "avx512vl", "avx512_vnni", "avx512_bf16"),
        *("amx_tile", "amx_int8", "amx_bf16"),
        *("asimd", "asimddp", "bf16", "i8mm", "sve"),
    }
)
"""Processor flags that decide which kernels run."""

SOURCE = ("components", "pipelines", "configs")
"""Folders whose files that git does not know yet belong to the patch; others may hold secrets."""

LINEAGE = "lineage.json"
"""In the step's workspace: keys, configs and inputs of the run's steps, by whoever runs them."""

MAX_PATCH_BYTES = 4 << 20


def facts() -> dict[str, Any]:
    """Commit, lock file, libraries, processor, time and the run's steps, as plain JSON."""
    return {
        "commit": _git("rev-parse", "HEAD").strip(),
        "lock": _lock(),
        "libraries": versions(),
        "python": platform.python_version(),
        "processor": {"machine": platform.machine(), "flags": _flags()},
        "host": socket.gethostname(),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "environment": {
            name: os.environ[name] for name in ("OMP_NUM_THREADS",) if name in os.environ
        },
        "steps": _lineage(),
    }


def patch() -> str:
    """What the working tree adds to the commit, as `git apply` takes it; empty for a clean one."""
    diff = ("diff", "--binary", "--no-ext-diff", "--no-color")
    changes = [_git(*diff, "HEAD")]
    new = _git("ls-files", "--others", "--exclude-standard", "-z", "--", *SOURCE)
    changes += [
        _git(*diff, "--no-index", "--", os.devnull, name)
        for name in sorted(filter(None, new.split("\0")))
    ]
    text = "".join(changes)
    if len(text) > MAX_PATCH_BYTES:
        return f"# {len(text)} bytes of changes: too many to keep; commit them\n"
    return text


def versions() -> dict[str, str]:
    """Installed version of each library that a result can depend on."""
    found: dict[str, str] = {}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _lock() -> str:
    """sha256 of the file that pins every library; empty where there is none."""
    lock = _root() / "constraints.txt"
    return files.digest(lock) if lock.is_file() else ""


def _lineage() -> dict[str, Any]:
    try:
        return json.loads((workspace.current().folder / LINEAGE).read_bytes())
    except FileNotFoundError:
        return {}


def _flags() -> list[str]:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:  # not Linux
        return []
    for line in text.splitlines():
        if line.startswith(("flags", "Features")):
            return sorted(FLAGS.intersection(line.split(":", 1)[1].split()))
    return []


def _root() -> Path:
    return Path(__file__).resolve().parents[2]


def _git(*arguments: str) -> str:
    """What git says of the source; nothing where there is no git, repository or commit."""
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=_root(), capture_output=True, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    # `git diff --no-index` says 1 for "they differ".
    return done.stdout.decode(errors="replace") if done.returncode in (0, 1) else ""
