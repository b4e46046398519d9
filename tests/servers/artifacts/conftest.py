"""A bucket for the tests of a module, and an environment that names no other one."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from components import bucket
from components.bucket import asking
from tests.servers.artifacts import s3_server
from tests.servers.artifacts.s3_server import BUCKET, KEYS, Server


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with s3_server.running() as running:
        yield running


@pytest.fixture(autouse=True)
def keys(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No developer's keys or profiles; nobody is asked for a machine's role."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in {
        **KEYS,
        "HOME": str(tmp_path),
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"),
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_MAX_ATTEMPTS": "1",
        "AWS_RETRY_MODE": "standard",
        bucket.ENDPOINT: server.url,
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    if BUCKET not in {each["Name"] for each in server.client.list_buckets()["Buckets"]}:
        server.client.create_bucket(Bucket=BUCKET)


@pytest.fixture
def fresh(keys: None) -> Iterator[None]:
    """No client that read its keys before; those of this test are nobody else's."""
    asking.client.cache_clear()
    yield
    asking.client.cache_clear()
