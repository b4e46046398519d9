"""A version's files as one folder that vouches for itself.

`manifest.json` names every file that makes the version what it is, with size and sha256; the
sha256 of the manifest is the bundle's digest. What may differ between two makings of the same
weights (commit, patch, library versions, measured latency, the model card) stands in
`provenance.json` and the files that it lists, outside that digest: a commit that changes only
comments remakes the same bundle. A seal in `provenance.json` covers both lists, so a flipped bit
anywhere is found even where nobody knows the digest. `signature.json`, outside the digest too, says
which key made these two lists: a whole folder cannot be forged.
"""

import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components import objects, signing
from components.artifacts import Exported
from components.errors import IntegrityError
from components.files import canonical, digest, write_json
from components.signing import PublicKey, Signature

FORMAT = 1
MANIFEST = "manifest.json"
PROVENANCE = "provenance.json"
SIGNATURE = "signature.json"
MAX_LIST_BYTES = 8 << 20
"""Largest manifest or provenance that is read at all."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,120}")


@dataclass(frozen=True)
class Bundle:
    """A verified folder."""

    folder: Path
    digest: str
    """sha256 of the manifest."""
    manifest: dict[str, Any]
    provenance: dict[str, Any]
    signer: PublicKey | None
    """The trusted key that signed it; None only where an unsigned folder was allowed."""

    @property
    def signed(self) -> dict[str, Any]:
        """Who vouches for it, as plain JSON: `key`, `owner`, and `unsigned_allowed`."""
        if self.signer is None:
            return {"key": None, "owner": None, "unsigned_allowed": True}
        return {"key": self.signer.id, "owner": self.signer.owner, "unsigned_allowed": False}

    @property
    def selected(self) -> str:
        """Name of the variant in `model.onnx`, such as `int8_dynamic`."""
        return self.manifest["selected"]

    @property
    def exported(self) -> Exported:
        """The record of the graph in `model.onnx`; its files are in the object store only after
        `adopt`."""
        return Exported.model_validate(self.manifest["remake"]["exported"])

    def adopt(self) -> Exported:
        """The record of the graph, its files put into the object store, so that steps can use it.

        Raises:
            IntegrityError: the record names other bytes than the folder holds.
        """
        exported = self.exported
        named = {
            "model.onnx": exported.files["model.onnx"],
            "weights.safetensors": exported.model.files["weights.safetensors"],
            **{name: sha for name, sha in exported.model.files.items() if name in self.names},
        }
        for name, expected in named.items():
            if objects.put(self.folder / name) != expected:
                raise IntegrityError(
                    f"{self.folder / name} is not the file that its record names",
                    "register the model again",
                )
        return exported

    @property
    def names(self) -> frozenset[str]:
        """Every file of the folder but its lists and its signature."""
        return frozenset(self.manifest["files"]) | frozenset(self.provenance["files"])


class Unsigned(IntegrityError):
    """Whole as far as can be seen, but no key that is trusted here vouches for it."""


def open(folder: Path, expected: str = "", *, allow_unsigned: bool = False) -> Bundle:
    """The bundle in a folder: signature, then names and hashes, before anything is parsed.

    `expected` is the digest that a registry or a caller knows. `allow_unsigned` lets a folder
    pass that no trusted key signed; damage never passes.

    Raises:
        Unsigned: no signature, or one of a key that is not trusted here.
        IntegrityError: a file is missing, extra, damaged or not a plain file; it is named.
    """
    text, beside = _list(folder, MANIFEST), _list(folder, PROVENANCE)
    found = hashlib.sha256(text).hexdigest()
    signer = _signer(folder, _digests(found, beside), allow_unsigned)
    if expected and found != expected:
        raise damaged(folder / MANIFEST, f"its digest is {found[:12]}, expected {expected[:12]}")
    provenance = _sealed(folder, beside)
    if provenance["bundle"] != found:
        raise damaged(folder / MANIFEST, f"its digest is not the one that {PROVENANCE} names")
    manifest = _parsed(folder, text)
    listed = {**manifest["files"], **provenance["files"]}
    _only(folder, {MANIFEST, PROVENANCE, *listed})
    for name, facts in sorted(listed.items()):
        verify(folder / name, facts)
    return Bundle(
        folder=folder, digest=found, manifest=manifest, provenance=provenance, signer=signer
    )


def sign(folder: Path) -> None:
    """Let the home's key vouch for the two lists of a folder; the last file that is written."""
    signed = _digests(digest(folder / MANIFEST), (folder / PROVENANCE).read_bytes())
    made = signing.sign(canonical(signed))
    value = {"format": FORMAT, "key": made.key, "signature": made.value, "signed": signed}
    write_json(folder / SIGNATURE, value)


def describe(path: Path) -> dict[str, Any]:
    """A file's entry in a list: `sha256` and `size_bytes`."""
    return {"sha256": digest(path), "size_bytes": path.stat().st_size}


def verify(path: Path, facts: dict[str, Any]) -> None:
    """Nothing, if the file has the size and the bytes of its entry.

    Raises:
        IntegrityError: it has not.
    """
    try:
        size = path.stat().st_size
        if size != facts["size_bytes"]:
            raise damaged(path, f"it has {size} bytes, expected {facts['size_bytes']}")
        if digest(path) != facts["sha256"]:
            raise damaged(path, "its bytes have changed")
    except OSError as error:
        raise damaged(path, error.strerror or "it cannot be read") from error


def sealed(bundle: str, files: dict[str, Any], facts: dict[str, Any]) -> bytes:
    """The bytes of a `provenance.json` for a bundle of this digest."""
    body = {"bundle": bundle, "files": files, "facts": facts}
    return canonical({**body, "seal": hashlib.sha256(canonical(body)).hexdigest()}) + b"\n"


def read_provenance(
    folder: Path, *, allow_unsigned: bool = False
) -> tuple[dict[str, Any], PublicKey | None]:
    """What `provenance.json` of a folder says without the bundle, and the key that signed it.

    Seal and signature are verified; the files that it lists are not.

    Raises:
        Unsigned: no signature, or one of a key that is not trusted here.
        IntegrityError: it is absent, damaged or not sealed.
    """
    text = _list(folder, PROVENANCE)
    said = _sealed(folder, text)
    return said, _signer(folder, _digests(said["bundle"], text), allow_unsigned)


def _signer(folder: Path, now: dict[str, str], allow_unsigned: bool) -> PublicKey | None:
    """The trusted key that vouches for lists of these digests; None where none has to."""
    if not os.path.lexists(folder / SIGNATURE):
        if allow_unsigned:
            return None
        raise Unsigned(
            f"{folder} has no {SIGNATURE}: nobody vouches for it",
            "register it anew (athanor run), or take it as it is: --allow-unsigned",
        )
    text = _list(folder, SIGNATURE)
    try:
        value = json.loads(text)
        key, signed = value["key"], value["signed"]
        made = {"format": FORMAT, "key": key, "signature": value["signature"], "signed": signed}
        whole = canonical(made) + b"\n" == text and signed.keys() == now.keys()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise damaged(folder / SIGNATURE, "it is no signature of ours") from error
    if not whole:
        raise damaged(folder / SIGNATURE, "it is no signature of ours")
    known = signing.trusted().get(str(key))
    if known and not signing.fits(
        Signature(known.id, str(made["signature"])), canonical(signed), known
    ):
        raise damaged(folder / SIGNATURE, f"key {known.id} of {known.owner} did not sign this")
    for name in (MANIFEST, PROVENANCE):
        if signed[name] != now[name]:
            raise damaged(folder / name, f"it is not the one that key {key} signed")
    if known is None and not allow_unsigned:
        raise Unsigned(
            f"{folder / SIGNATURE}: key {key} is not trusted here",
            f"get its public key from whoever signed it ({signing.FOLDER}/{key}.pub, made there "
            "by athanor keys init), or take the version as it is: --allow-unsigned",
        )
    return known


def _digests(bundle: str, provenance: bytes) -> dict[str, str]:
    """What a signature is about: the bundle's digest, and that of the list beside it."""
    return {MANIFEST: bundle, PROVENANCE: hashlib.sha256(provenance).hexdigest()}


def _parsed(folder: Path, text: bytes) -> dict[str, Any]:
    """The manifest, of a format that is known."""
    try:
        manifest = json.loads(text)
        found = manifest["format"]
        _ = manifest["files"].items(), manifest["selected"], manifest["remake"]["exported"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise damaged(folder / MANIFEST, "it is no manifest") from error
    if found != FORMAT:
        raise IntegrityError(
            f"{folder / MANIFEST} has format {found}, this Athanor knows {FORMAT}",
            "update the clone (git pull)",
        )
    return manifest


def _sealed(folder: Path, text: bytes) -> dict[str, Any]:
    try:
        value = json.loads(text)
        whole = sealed(value["bundle"], value["files"], value["facts"]) == text
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise damaged(folder / PROVENANCE, "it is no sealed list") from error
    if not whole:
        raise damaged(folder / PROVENANCE, "its seal does not fit its content")
    return value


def damaged(path: Path, reason: str) -> IntegrityError:
    """The error that names a file of a bundle."""
    return IntegrityError(
        f"{path} is damaged: {reason}",
        f"delete {path.parent} to have it fetched again; if the registry's own copy is damaged, "
        "restore it or roll back",
    )


def _list(folder: Path, name: str) -> bytes:
    path = folder / name
    try:
        if path.is_symlink() or path.stat().st_size > MAX_LIST_BYTES:
            raise damaged(path, f"it is a link or larger than {MAX_LIST_BYTES} bytes")
        return path.read_bytes()
    except OSError as error:
        raise damaged(path, error.strerror or "it cannot be read") from error


def _only(folder: Path, names: set[str]) -> None:
    """Refuse a folder that holds anything else than plain files of these names."""
    for name in names:
        if not _NAME.fullmatch(name):
            raise damaged(folder / MANIFEST, f"it lists {name!r}, which is no file name")
    with os.scandir(folder) as entries:
        found = {entry.name: entry.is_file(follow_symlinks=False) for entry in entries}
    for name in sorted(found.keys() - names - {SIGNATURE}):
        raise damaged(folder / name, "no list of the bundle names it")
    for name in sorted(names):
        if not found.get(name, False):
            raise damaged(folder / name, "it is missing or not a plain file")
