"""Asking a bucket: in bounded time, and what its refusals mean to the user.

boto3 is imported inside functions alone, so who asks no bucket needs no boto3.
"""

import os
import re
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from components import bucket, disk
from components.bucket import AGAIN, KEYS, Address
from components.errors import (
    AthanorError,
    IntegrityError,
    ResourceError,
    ServiceUnreachable,
    UsageError,
)

CONNECT_S, READ_S = 5, 20
MARK = ".athanor"
"""Object that shows that a home may write to its place, and read from it."""


def apply() -> None:
    """Make whoever uses boto3 in this process, MLflow too, ask the home's bucket, and in time.

    Raises:
        ResourceError: boto3 is not installed.
    """
    if found := bucket.settings():
        os.environ.update(found)
        client(found.get(bucket.ENDPOINT, ""))


def demand() -> None:
    """Nothing, where the bucket that the home names can be asked, or it names none.

    Raises:
        ResourceError: boto3 is not installed.
    """
    if bucket.address() is not None:
        _demand_library()


def examine(there: Address) -> None:
    """Nothing, where the bucket answers and lets us list, write and read.

    Raises:
        As `meaning`; ResourceError: boto3 is not installed.
    """
    asked = client(there.endpoint)
    mark = f"{there.prefix}/{MARK}".lstrip("/")
    try:
        asked.list_objects_v2(Bucket=there.name, Prefix=mark, MaxKeys=1)
        asked.put_object(Bucket=there.name, Key=mark, Body=b"")
        asked.get_object(Bucket=there.name, Key=mark)["Body"].close()
    except errors() as error:
        raise meaning(error, there) or error from None


def download(uri: str, folder: Path, without: str = "") -> None:
    """The object at an address as a file, or every one below it as files in a folder.

    What lies below `without` is left out.

    Raises:
        As `meaning`; IntegrityError: there is none, or one would lie outside of the folder.
    """
    name, _, place = uri.removeprefix("s3://").partition("/")
    asked = client(os.environ.get(bucket.ENDPOINT, ""))
    try:
        pages = asked.get_paginator("list_objects_v2").paginate(Bucket=name, Prefix=place)
        every = [entry["Key"] for page in pages for entry in page.get("Contents", ())]
        keys = [key for key in every if key == place or key.startswith(f"{place}/")]
        for key in keys:
            if without and key.startswith(f"{place}/{without}/"):
                continue
            target = folder / key[len(place) + 1 :]
            if not target.resolve().is_relative_to(folder.resolve()):
                raise IntegrityError(f"{key!r} in {name} is no name of a file", f"remove it: {uri}")
            target.parent.mkdir(parents=True, exist_ok=True)
            with disk.told(target):
                asked.download_file(name, key, str(target))
    except errors() as error:
        raise meaning(error) or error from None
    if not keys:
        raise IntegrityError(f"nothing lies at {uri} any more", "restore it from a copy of yours")


@cache
def client(endpoint: str) -> Any:
    """boto3's client; those that MLflow makes in this process get the same limits.

    Raises:
        ResourceError: boto3 is not installed.
        ServiceUnreachable: AWS_PROFILE names no profile.
    """
    _demand_library()
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError
    from botocore.session import Session

    session = Session()
    session.set_default_client_config(Config(connect_timeout=CONNECT_S, read_timeout=READ_S))
    try:
        boto3.setup_default_session(botocore_session=session)
        return boto3.client("s3", endpoint_url=endpoint or None)
    except BotoCoreError as error:
        raise _told(error, bucket.address()) from None


def errors() -> tuple[type[Exception], ...]:
    """What boto3 raises; nothing where nobody imported it."""
    if "boto3" not in sys.modules:
        return ()
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    return (Boto3Error, BotoCoreError, ClientError)


def meaning(error: BaseException, there: Address | None = None) -> AthanorError | None:
    """What an error says of a bucket, whatever library it came through; None where nothing.

    A ServiceUnreachable: it is away, or lets us not in. A UsageError: there is no such bucket. An
    IntegrityError: an object is gone.
    """
    there = there or bucket.address()
    seen: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in seen:
        if isinstance(link, errors()[1:]):
            return _told(link, there)
        seen.append(link)
        link = link.__cause__ or link.__context__
    return _told(error, there) if isinstance(error, errors()) else None


def _told(error: BaseException, there: Address | None) -> AthanorError:
    """boto3's words as ours."""
    shown = there.shown if there else "the bucket"
    said = re.sub(r': "https?://\S+"', "", " ".join(str(error).split()))[:200]
    answer: dict[str, Any] = getattr(error, "response", None) or {}  # None: it gave no answer
    code = str(answer.get("Error", {}).get("Code", ""))
    status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code == "NoSuchBucket":
        return UsageError(f"there is no bucket for {shown}", f"make it, or name another: {AGAIN}")
    if code == "NoSuchKey" or status == 404:
        return IntegrityError(f"a file is gone from {shown}: {said}", "restore it from a copy")
    if status in (400, 401, 403) or re.search("Credential|Profile", type(error).__name__):
        return ServiceUnreachable(
            f"{shown} does not let us in: {said}",
            f"name keys that may list, get and put there: {KEYS}",
        )
    return ServiceUnreachable(
        f"{shown} does not answer: {said}",
        f"start it, or name where it is in {bucket.ENDPOINT}: {AGAIN}",
    )


def _demand_library() -> None:
    if find_spec("boto3") is None:
        raise ResourceError(
            "boto3 is not installed, and without it no bucket can be asked",
            f"{sys.executable} -m pip install -c constraints.txt boto3",
        )
