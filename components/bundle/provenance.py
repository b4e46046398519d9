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
    "great-expectations",
    "matplotlib",
    "ml-dtypes",
    "mlflow",
    "numpy",
    "onnx",
    "onnx-ir",
    "onnxruntime",
    "onnxscript",
    "optuna",
    "pandas",
    "pillow",
    "prefect",
    "pydantic",
    "safetensors",
    "scikit-learn",
    "scipy",
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

ENVIRONMENT = (
    *("OMP_NUM_THREADS", "OMP_THREAD_LIMIT", "OMP_DYNAMIC"),
    *("MKL_NUM_THREADS", "MKL_DYNAMIC", "MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS"),
    *("OPENBLAS_NUM_THREADS", "OPENBLAS_CORETYPE"),
    *("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "NPY_DISABLE_CPU_FEATURES"),
)
"""Variables that set the number of threads or choose kernels; with others, other bits."""

SOURCE = ("components", "pipelines", "configs")
"""Folders whose files that git does not know yet belong to the patch; others may hold secrets."""

LINEAGE = "lineage.json"
"""In the step's workspace: the run's config, and what each step was made of and came to, by
whoever runs them."""

MAX_PATCH_BYTES = 4 << 20


def facts() -> dict[str, Any]:
    """Commit, circumstances, time, the run's config and its steps, as plain JSON."""
    return {
        "commit": _git("rev-parse", "HEAD").decode().strip(),
        "lock": lock(source()),
        **circumstances(),
        "host": socket.gethostname(),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        **_lineage(),
    }


def circumstances() -> dict[str, Any]:
    """What decides over bits beside source, config and data."""
    return {
        "python": platform.python_version(),
        "libraries": versions(),
        "processor": {"machine": platform.machine(), **_processor()},
        "environment": {n: os.environ[n] for n in ENVIRONMENT if n in os.environ},
    }


def patch() -> bytes:
    """What the working tree adds to the commit, as `git apply` takes it; empty for a clean one."""
    # However the user has set up git: these are what `git apply` reads by itself.
    plain = ("--no-ext-diff", "--no-textconv", "--no-color", "--src-prefix=a/", "--dst-prefix=b/")
    diff = ("diff", "--binary", *plain)
    changes = [_git(*diff, "HEAD")]
    new = _git("ls-files", "--others", "--exclude-standard", "-z", "--", *SOURCE)
    changes += [
        _git(*diff, "--no-index", "--", os.devnull, os.fsdecode(name))
        for name in sorted(filter(None, new.split(b"\0")))
    ]
    text = b"".join(changes)
    if len(text) > MAX_PATCH_BYTES:
        return b"# %d bytes of changes: too many to keep; commit them\n" % len(text)
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


def lock(folder: Path) -> str:
    """sha256 of a clone's file that pins every library; empty where there is none."""
    path = folder / "constraints.txt"
    return files.digest(path) if path.is_file() else ""


def source() -> Path:
    """The clone whose code this is; commit and patch speak of it, wherever the project lies."""
    return Path(__file__).resolve().parents[2]


def _lineage() -> dict[str, Any]:
    """`config` and `steps` of the run; both absent where nobody says."""
    try:
        return json.loads((workspace.current().folder / LINEAGE).read_bytes())
    except FileNotFoundError:
        return {}


def _processor() -> dict[str, Any]:
    """`flags`, and where the kernel tells it the `model`, which chooses kernels too."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:  # not Linux
        return {"flags": [], "model": platform.processor()}
    pairs = [line.split(":", 1) for line in text.splitlines() if ":" in line]
    told = {name.strip(): value.strip() for name, value in reversed(pairs)}
    flags = told.get("flags") or told.get("Features") or ""
    return {"flags": sorted(FLAGS.intersection(flags.split())), "model": told.get("model name", "")}


def _git(*arguments: str) -> bytes:
    """What git says of the source; nothing where there is no git, repository or commit."""
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=source(), capture_output=True, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return b""
    # `git diff --no-index` says 1 for "they differ".
    return done.stdout if done.returncode in (0, 1) else b""
