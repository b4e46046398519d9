"""Templates once, and one pair of servers for the tests that only look at them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines import servers, templates


@pytest.fixture(scope="session")
def built() -> None:
    """The environment's templates, made if `make setup` did not."""
    templates.build(templates.folder())


@pytest.fixture(scope="session")
def standing(built: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Up]:
    """Both servers, up on ports that were free; the last test of test_up_and_down.py ends them."""
    folder = tmp_path_factory.mktemp("standing")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATHANOR_HOME", str(folder))
        try:
            yield servers.up(folder)
        finally:
            servers.down(folder)


@pytest.fixture
def standing_home(standing: servers.Up) -> Path:
    """The home of the standing servers."""
    return standing.secret.parent.parent
