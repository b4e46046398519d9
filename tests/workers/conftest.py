"""One house for the tests of a module."""

from collections.abc import Iterator

import pytest

from tests.pipelines.conftest import tiny
from tests.servers.conftest import built
from tests.workers.house import House, opened

__all__ = ["built", "tiny"]


@pytest.fixture(scope="module")
def house(built: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Servers and a worker with two slots and two devices."""
    with opened(tmp_path_factory.mktemp("workers")) as found:
        yield found
