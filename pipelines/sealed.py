"""Stored results as JSON that carries the sha256 of its own text: Prefect's `jsonlib` for them.

A flipped bit in a stored score would else be a score.
"""

import hashlib
import json
from typing import Any

_SEAL = ', "seal": "'


def dumps(value: Any, **settings: Any) -> str:
    """An object as JSON with its seal as last key."""
    text = json.dumps(value, **settings)
    if not text.endswith("}") or text == "{}":
        raise TypeError("only an object that holds something can be sealed")
    return f'{text[:-1]}{_SEAL}{_digest(text)}"}}'


def loads(text: str, **settings: Any) -> Any:
    """What was sealed, its seal among its keys.

    Raises:
        ValueError: the text is not the one that was written.
    """
    body, found, seal = text.rpartition(_SEAL)
    if not found or seal != f'{_digest(body + "}")}"}}':
        raise ValueError("the seal does not fit")
    return json.loads(text, **settings)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
