"""`athanor keys` and `athanor verify`: who signs here, whom this project trusts, what is proven."""

from typing import Any

from components import project, signing
from components.records import Record
from components.registry.verifying import Verification
from components.signing import PublicKey


class Made(Record):
    """A public key that was put among those of the project."""

    key: str
    owner: str
    file: str
    """In the project; to be committed."""


def keys() -> tuple[PublicKey, ...]:
    """Every key that is trusted here; the one that signs comes first."""
    return tuple(sorted(signing.trusted().values(), key=lambda key: (not key.signs, key.id)))


def init() -> Made:
    """Make this home's key if it has none, and put its public half into the project."""
    key, path = signing.publish()
    return Made(key=key.id, owner=key.owner, file=str(path.relative_to(project.root())))


def keys_document(found: tuple[PublicKey, ...]) -> dict[str, Any]:
    """The document of `athanor keys --json`."""
    return {
        "keys": [
            {"id": key.id, "owner": key.owner, "place": key.place, "signs": key.signs}
            for key in found
        ]
    }


def keys_text(found: tuple[PublicKey, ...]) -> str:
    """One line a key."""
    if not found:
        return "no key yet: the first registration makes one\n  -> athanor keys init"
    lines = [f"{'key':<18} {'place':<8} {'signs here':<11} owner"]
    lines += [
        f"{key.id:<18} {key.place:<8} {'yes' if key.signs else 'no':<11} {key.owner}"
        for key in found
    ]
    if any(key.signs and key.place == "home" for key in found):
        lines.append("Other clones do not know this home's key yet\n  -> athanor keys init")
    return "\n".join(lines)


def init_text(made: Made) -> str:
    """What was made, and what to do with it."""
    return (
        f"this home signs with key {made.key} ({made.owner})\n"
        f"  -> git add {made.file}, and commit it: other clones then trust what is signed here"
    )


def verified_text(found: Verification) -> str:
    """One line a file, then who vouches for all of them."""
    lines = [f"ok  {one.place:<9} {one.name:<24} {one.sha256[:12]}" for one in found.files]
    return "\n".join(
        [
            *lines,
            f"{found.name} v{found.version}: {len(found.files)} files are what key {found.key} "
            f"signed ({found.owner}); bundle {found.bundle[:12]}",
        ]
    )
