"""The S3 bucket that keeps a home's artifacts instead of its folder, once one was named.

Its address stands in the home, and never a key: boto3 finds keys where it always does. What asks
the bucket is `asking`.
"""

import os
import re

from pydantic import ValidationError

from components import files, project
from components.errors import IntegrityError, UsageError
from components.records import Record

NOTE = "artifacts.json"
ATTEMPTS = 2
ENDPOINT = "MLFLOW_S3_ENDPOINT_URL"
ENDPOINTS = (ENDPOINT, "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
KEYS = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the profile that AWS_PROFILE names"
AGAIN = "athanor up --artifacts s3://BUCKET/PREFIX"


class Address(Record):
    """Where artifacts lie, and who serves them."""

    name: str
    prefix: str
    """Empty: the whole bucket."""
    endpoint: str
    """Empty: Amazon's."""

    @property
    def uri(self) -> str:
        """As MLflow takes it."""
        return f"s3://{self.name}/{self.prefix}".rstrip("/")

    @property
    def server(self) -> str:
        """The URL at which it is asked."""
        return self.endpoint or "https://s3.amazonaws.com"

    @property
    def shown(self) -> str:
        """For a person."""
        return f"{self.uri} at {self.server}"


def address() -> Address | None:
    """The bucket that the home's artifacts lie in; None: they lie in its own folder.

    Raises:
        IntegrityError: the note of it is damaged.
    """
    if (home := project.standing_home()) is None:
        return None
    try:
        return Address.model_validate_json((home / NOTE).read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise IntegrityError(f"{home / NOTE} is damaged", f"{AGAIN}  writes it anew") from error


def parsed(text: str) -> Address:
    """The address that `s3://BUCKET/PREFIX` and the environment describe.

    Raises:
        UsageError: it is none.
    """
    found = re.fullmatch(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])((?:/[\w=.-]+)*)/?", text)
    if not found or {".", ".."} & set(found[2].split("/")):
        raise UsageError(
            f"--artifacts {text.rpartition('@')[2]!r} is no s3://BUCKET/PREFIX",
            f"name the place alone; the keys are in {KEYS}",
        )
    variable = next((name for name in ENDPOINTS if os.environ.get(name)), ENDPOINT)
    endpoint = os.environ.get(variable, "").rstrip("/")
    if endpoint and not re.fullmatch(r"https?://[^/@?#\s]+", endpoint):
        shown = endpoint.rpartition("@")[2]
        raise UsageError(
            f"{variable}={shown!r} is no address of a server", "write http://HOST:PORT, no keys"
        )
    return Address(name=found[1], prefix=found[2].strip("/"), endpoint=endpoint)


def remember(there: Address) -> None:
    """Keep the address in the home."""
    files.write_bytes(project.home() / NOTE, files.canonical(there.model_dump()), 0o600)


def settings() -> dict[str, str]:
    """Environment of whoever opens the home's bucket; what the user set stays. Empty without one.

    Away from Amazon nobody answers for a machine's own role, and boto3 would wait for it.
    """
    if (there := address()) is None:
        return {}
    limits = {
        "AWS_MAX_ATTEMPTS": str(ATTEMPTS),
        "AWS_RETRY_MODE": "standard",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    kept = {name: os.environ.get(name, value) for name, value in limits.items()}
    return {**kept, ENDPOINT: there.endpoint} if there.endpoint else kept
