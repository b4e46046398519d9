"""Who vouches for a version: the home's own Ed25519 key, and the public keys that count here.

The private key is the home's (`keys/<id>.pem`, mode 0600) and never leaves it; it is made when it
is first needed, so that a fresh clone needs no extra step. Its public half lies beside it. Trusted
are the home's public keys and those in `configs/keys/`, which reach other clones as part of the
project: `athanor keys init` puts the home's own there, and committing it is a person's act.
"""

import getpass
import hashlib
import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from components import files, project
from components.errors import IntegrityError, UsageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )

FOLDER = "configs/keys"
"""Public keys of the project, one `<id>.pub` each: a line as OpenSSH writes it."""

_PURPOSE = b"athanor signature 1\n"
"""Stands before everything that is signed: nothing signed for another purpose passes here."""

MAX_KEY_BYTES = 4096


class PublicKey(NamedTuple):
    """A key that can check signatures."""

    line: str
    """As OpenSSH writes it: algorithm, base64, owner."""
    place: Literal["home", "project"]
    signs: bool = False
    """Whether its private half is in this home."""

    @property
    def id(self) -> str:
        """First 16 hex digits of the sha256 of its line, which so vouches for the owner too."""
        return hashlib.sha256(self.line.encode()).hexdigest()[:16]

    @property
    def owner(self) -> str:
        """user@host that made it."""
        return self.line.split(" ", 2)[2]


class Signature(NamedTuple):
    """What a key says of some bytes."""

    key: str
    value: str
    """128 hex digits."""


def sign(data: bytes) -> Signature:
    """The home's own signature; its key is made where there is none yet.

    Raises:
        IntegrityError: the key cannot be read.
    """
    mine = make()
    return Signature(mine.id, _private(_folder() / f"{mine.id}.pem").sign(_PURPOSE + data).hex())


def fits(signature: Signature, data: bytes, key: PublicKey) -> bool:
    """Whether the key made this signature of these bytes."""
    from cryptography.exceptions import InvalidSignature

    try:
        _loaded(key.line).verify(bytes.fromhex(signature.value), _PURPOSE + data)
    except (InvalidSignature, ValueError):
        return False
    return True


def own() -> PublicKey | None:
    """The key that signs here; None before the first one is made.

    Raises:
        IntegrityError: one of its halves is absent or damaged.
    """
    for path in sorted(_folder().glob("*.pem")):
        key = _read(path.with_suffix(".pub"), "home")
        if _private(path).public_key() != _loaded(key.line):
            raise _unusable(path, f"it is not the private half of {key.id}.pub")
        return key._replace(signs=True)
    return None


def trusted() -> dict[str, PublicKey]:
    """Every key whose signature counts here, by id: those of the project and the home's own.

    Raises:
        IntegrityError: a file holds no key, or another one than its name says.
    """
    known = [_read(path, "home") for path in sorted(_folder().glob("*.pub"))]
    with suppress(UsageError):  # outside of a project the home's own keys count
        theirs = (project.root() / FOLDER).glob("*.pub")
        known += [_read(path, "project") for path in sorted(theirs)]
    mine = own()
    return {key.id: key._replace(signs=mine is not None and mine.id == key.id) for key in known}


def make() -> PublicKey:
    """The home's own key, made now unless there is one: nothing is ever overwritten.

    Raises:
        IntegrityError: there is one, and it is damaged.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    _folder().mkdir(mode=0o700, parents=True, exist_ok=True)
    with files.locked(_folder() / "lock"):
        mine = own()
        if mine is not None:
            return mine
        private = Ed25519PrivateKey.generate()
        public = private.public_key().public_bytes(
            serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
        )
        made = PublicKey(f"{public.decode()} {_who()}", "home", signs=True)
        files.write_bytes(_folder() / f"{made.id}.pub", f"{made.line}\n".encode())
        files.write_bytes(_folder() / f"{made.id}.pem", _text(private), mode=0o600)
        return made


def publish() -> tuple[PublicKey, Path]:
    """The home's own key, its public half put among the project's keys, to be committed.

    Raises:
        UsageError: that was done before; nothing is overwritten.
    """
    mine = make()
    path = project.root() / FOLDER / f"{mine.id}.pub"
    if path.exists():
        raise UsageError(
            f"this home signs with key {mine.id} already, and {FOLDER}/{path.name} is there",
            f"git add {FOLDER}/{path.name}, and commit it",
        )
    files.write_bytes(path, f"{mine.line}\n".encode())
    return mine, path


def _read(path: Path, place: Literal["home", "project"]) -> PublicKey:
    """The key in a file that is called by its id."""
    remedy = "restore it (from git, or from a backup), or delete it if nothing needs it"
    try:
        with path.open("rb") as file:
            line = file.read(MAX_KEY_BYTES).decode().removesuffix("\n")
        _algorithm, _text, owner = line.split(" ", 2)
        if not owner.isprintable():
            raise ValueError("more than one line")
        _loaded(line)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no line of OpenSSH's"
        raise IntegrityError(f"{path} is no public key: {reason}", remedy) from error
    key = PublicKey(line, place)
    if path.stem != key.id:
        raise IntegrityError(f"{path} holds key {key.id}, not the one of its name", remedy)
    return key


def _private(place: Path) -> "Ed25519PrivateKey":
    """The private key in a file of the home."""
    from cryptography.exceptions import InternalError, UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    try:
        text = place.read_bytes()
        key = serialization.load_pem_private_key(text, password=None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm, InternalError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no private key"
        raise _unusable(place, str(reason)) from error
    if not isinstance(key, Ed25519PrivateKey) or _text(key) != text:
        raise _unusable(place, "it is no Ed25519 key as this house writes it")
    return key


def _text(key: "Ed25519PrivateKey") -> bytes:
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
    )

    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _unusable(place: Path, reason: str) -> IntegrityError:
    return IntegrityError(
        f"the signing key {place} cannot be used: {reason}",
        "restore it from a backup; or move it aside: a new one is then made, and "
        f"{place.stem}.pub goes on vouching for what is signed",
    )


def _loaded(line: str) -> "Ed25519PublicKey":
    """The key of an OpenSSH line.

    Raises:
        ValueError: it is none of Ed25519.
    """
    from cryptography.exceptions import InternalError, UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_ssh_public_key

    try:
        key = load_ssh_public_key(line.encode())
    except (UnsupportedAlgorithm, InternalError) as error:
        raise ValueError(str(error)) from error
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError("another algorithm")
    return key


def _folder() -> Path:
    return project.home() / "keys"


def _who() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container whose user id has no name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
