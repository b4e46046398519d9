"""Checkpoints that survive a kill at any moment and never lie about what they hold.

One checkpoint is a manifest `<step>.json` and the tensor files that it names by sha256. The
manifest is written last, so a checkpoint without one does not exist; no tensor format notices a
flipped bit, so every file is hashed before it is read. The last two are kept: a damaged one
costs the steps since the one before.
"""

import hashlib
import json
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from components import disk, files

LAYOUT = 1
KEPT = 2

log = logging.getLogger(__name__)


@dataclass
class Snapshot:
    """Everything that a training needs to go on as if nothing had happened."""

    step: int
    tensors: dict[str, Tensor]
    facts: dict[str, Any]
    best: dict[str, Tensor] = field(default_factory=dict)
    """The best weights so far; in a file of their own, for they change seldom."""
    best_step: int = 0


class Checkpoints:
    """The checkpoints of one training; `identity` says which: data, recipe, threads, versions."""

    def __init__(self, folder: Path, identity: dict[str, str]) -> None:
        self.folder = folder
        self.identity = identity
        self._digests: dict[str, str] = {}

    def save(self, snapshot: Snapshot) -> None:
        """Put a snapshot on the disk and drop the one before the last.

        Raises:
            ResourceError: the disk is full or broken; the former checkpoint is untouched.
        """
        self._save(snapshot)
        self._drop_old()

    def load(self) -> Snapshot | None:
        """The newest checkpoint whose bytes are whole; None where training starts afresh."""
        for torn in self.folder.glob(".*.part"):  # a kill in the middle of a save left it
            torn.unlink()
        for manifest in self._manifests():
            content = _read(manifest)
            if content is None:
                log.warning("checkpoint %s is damaged, trying the one before", manifest)
                continue
            others = _differences(content["identity"], self.identity)
            if others:
                log.warning("checkpoint %s is of other %s: starting afresh", manifest, others)
                self.clear()
                return None
            snapshot = self._snapshot(content)
            if snapshot is not None:
                return snapshot
            log.warning("checkpoint %s is damaged, trying the one before", manifest)
        return None

    def demand_room(self, size_bytes: int) -> None:
        """Nothing, where snapshots of this size fit: those kept, and one that is being written.

        Raises:
            ResourceError: they do not.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        there = sum(each.stat().st_size for each in self.folder.iterdir())
        purpose = f"a training with checkpoints of {size_bytes / 1e6:.1f} MB"
        disk.demand(self.folder, (KEPT + 1) * size_bytes - there, purpose)

    def clear(self) -> None:
        """Remove every checkpoint."""
        for manifest in self._manifests():
            manifest.unlink()
        for tensors in self.folder.glob("*.safetensors"):
            tensors.unlink()
        self._digests.clear()

    def _save(self, snapshot: Snapshot) -> None:
        names = {"state": f"{snapshot.step:09d}.safetensors"}
        self._write(names["state"], snapshot.tensors)
        if snapshot.best:
            names["best"] = f"best-{snapshot.best_step:09d}.safetensors"
            if names["best"] not in self._digests:
                self._write(names["best"], snapshot.best)
        content = {
            "layout": LAYOUT,
            "identity": self.identity,
            "step": snapshot.step,
            "best_step": snapshot.best_step,
            "facts": snapshot.facts,
            "files": {role: [name, self._digests[name]] for role, name in names.items()},
        }
        sealed = {"content": content, "sha256": _seal(content)}
        files.write_json(self.folder / f"{snapshot.step:09d}.json", sealed)

    def _write(self, name: str, tensors: dict[str, Tensor]) -> None:
        with files.replacing(self.folder / name) as temporary:
            save_file({key: value.contiguous() for key, value in tensors.items()}, temporary)
            digest = files.digest(temporary)
        self._digests[name] = digest

    def _snapshot(self, content: dict[str, Any]) -> Snapshot | None:
        found: dict[str, dict[str, Tensor]] = {}
        for role, (name, digest) in content["files"].items():
            path = self.folder / name
            if not path.is_file() or files.digest(path) != digest:
                return None
            found[role] = load_file(path)
            self._digests[name] = digest
        return Snapshot(
            content["step"],
            found["state"],
            content["facts"],
            found.get("best", {}),
            content["best_step"],
        )

    def _manifests(self) -> list[Path]:
        return sorted(self.folder.glob("[0-9]*.json"), reverse=True)

    def _drop_old(self) -> None:
        for manifest in self._manifests()[KEPT:]:
            manifest.unlink()
        named: set[str] = set()
        for manifest in self._manifests():
            content = _read(manifest)
            if content is not None:
                named |= {name for name, _ in content["files"].values()}
        for tensors in self.folder.glob("*.safetensors"):
            if tensors.name not in named:
                tensors.unlink()
                self._digests.pop(tensors.name, None)


def _read(manifest: Path) -> dict[str, Any] | None:
    try:
        sealed = json.loads(manifest.read_bytes())
        content = sealed["content"]
        whole = content["layout"] == LAYOUT and sealed["sha256"] == _seal(content)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return content if whole else None


def _seal(content: dict[str, Any]) -> str:
    return hashlib.sha256(files.canonical(content)).hexdigest()


def _differences(found: dict[str, str], wanted: dict[str, str]) -> str:
    names = sorted(found.keys() | wanted.keys())
    return ", ".join(name for name in names if found.get(name) != wanted.get(name))
