"""An S3 for tests: moto's server on 127.0.0.1, which can be away for a while."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from moto.server import ThreadedMotoServer

from components.bucket import asking

KEYS = {"AWS_ACCESS_KEY_ID": "tester", "AWS_SECRET_ACCESS_KEY": "nothing-secret"}
BUCKET = "models"
PLACE = f"s3://{BUCKET}/house"


class Server:
    """A server on one port; its files live as long as this process."""

    def __init__(self) -> None:
        self.port = 0
        self.start()

    def start(self) -> None:
        """Listen, again where it did before."""
        self._moto = ThreadedMotoServer("127.0.0.1", self.port, verbose=False)
        self._moto.start()
        _, self.port = self._moto.get_host_and_port()

    def stop(self) -> None:
        """Be away."""
        self._moto.stop()

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    def objects(self) -> list[str]:
        """Key of every object of the bucket."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
        return [entry["Key"] for page in pages for entry in page.get("Contents", ())]

    def damage(self, key: str) -> None:
        """Change the last byte of an object."""
        found = self.client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        changed = found[:-1] + bytes([found[-1] ^ 1])
        self.client.put_object(Bucket=BUCKET, Key=key, Body=changed)

    @property
    def client(self) -> Any:
        """boto3's client of it."""
        return asking.client(self.url)


@contextmanager
def running() -> Iterator[Server]:
    """A server without a bucket, from now to the end of the block."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = Server()
    try:
        yield server
    finally:
        server.stop()
