"""Secrets that a config names and never holds: `env:NAME` or `file:PATH`."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from components import project
from components.errors import ConfigError

REFERENCE = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*|file:.+")


Secret = str
"""A reference, held to it by `demand`."""


def demand(values: Any, names: Sequence[str]) -> None:
    """Refuse a secret in clear; the error repeats the name, and the value to nobody.

    Raises:
        ValueError: one of the named values is no reference.
    """
    for name in names:
        value = values.get(name) if isinstance(values, dict) else None
        if value is not None and not is_reference(str(value)):
            raise ValueError(
                f"the {name} stands here in clear; write env:NAME or file:PATH instead"
            )


def is_reference(text: str) -> bool:
    """Whether a text names a secret instead of being one."""
    return bool(REFERENCE.fullmatch(text))


def value(secret: str) -> str:
    """The secret itself.

    Raises:
        ConfigError: the variable is not set here, or the file cannot be read.
    """
    where, _, name = secret.partition(":")
    if where == "env":
        if found := os.environ.get(name):
            return found
        raise ConfigError(
            f"the variable {name} is not set where the worker runs", f"export {name}=..."
        )
    path = project.root() / Path(name).expanduser()
    try:
        return path.read_text().strip()
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror}", "write the secret there, mode 0600"
        ) from None
