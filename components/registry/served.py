"""The files that MLflow writes around a bundle: what `mlflow.pyfunc` reads and runs elsewhere.

`served.json` beside them lists each with its sha256 and is signed. MLflow itself looks at nothing
of it: `athanor verify` does.
"""

import json
from pathlib import Path
from typing import Any

from components import files, signing
from components.bundle import damaged, describe, verify
from components.errors import IntegrityError
from components.signing import Signature

SEAL = "served.json"
BUNDLE = Path("artifacts/bundle")


def seal(folder: Path) -> None:
    """Sign the list of every file of a logged model outside of its bundle."""
    listed = {str(path): describe(folder / path) for path in _beside(folder)}
    made = signing.sign(files.canonical(listed))
    value = {"files": listed, "key": made.key, "signature": made.value}
    files.write_json(folder / SEAL, value)


def check(folder: Path) -> dict[str, dict[str, Any]]:
    """Entries of the files around the bundle, each found as it was signed.

    Raises:
        IntegrityError: one is missing, extra or changed, or no trusted key signed the list.
    """
    place = folder / SEAL
    try:
        text = place.read_bytes()
        value = json.loads(text)
        listed, made = value["files"], Signature(value["key"], value["signature"])
        whole = files.canonical(value) + b"\n" == text
        key = signing.trusted().get(made.key)
    except OSError as error:
        raise damaged(place, error.strerror or "it cannot be read") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise damaged(place, "it is no signed list") from error
    if key is None:
        raise IntegrityError(
            f"{place}: key {made.key} is not trusted here",
            f"put its public key into {signing.FOLDER}/: athanor keys",
        )
    if not whole or not signing.fits(made, files.canonical(listed), key):
        raise damaged(place, f"key {key.id} did not sign this")
    found = {str(path) for path in _beside(folder)} - {SEAL}
    for name in sorted(found - listed.keys()):
        raise damaged(folder / name, f"{SEAL} does not name it")
    for name, facts in sorted(listed.items()):
        verify(folder / name, facts)
    return listed


def _beside(folder: Path) -> list[Path]:
    every = (path.relative_to(folder) for path in folder.rglob("*") if not path.is_dir())
    return sorted(path for path in every if BUNDLE not in path.parents)
