"""What made Prefect's server on SQLite stand still, or refuse: each with its control."""

import gc
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from pipelines import embedded, templates

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 2.0
"""Of a connection that waits for the database: so long a collection in the loop stands still."""

RIVALS = """
import asyncio, sys
from prefect.server.database import provide_database_interface
from sqlalchemy import text
from pipelines import embedded

WRITE = "UPDATE alembic_version SET version_num = version_num"
if sys.argv[1] == "early":
    embedded._lock_at_begin()

async def main():
    database, read = provide_database_interface(), asyncio.Event()

    async def reads_then_writes():
        async with database.session_context(begin_transaction=True) as session:
            await session.execute(text("SELECT version_num FROM alembic_version"))
            read.set()
            await asyncio.sleep(0.5)
            await session.execute(text(WRITE))

    async def writes():
        await read.wait()
        async with database.session_context(begin_transaction=True) as session:
            await session.execute(text(WRITE))

    await asyncio.gather(reads_then_writes(), writes())

asyncio.run(main())
"""


@pytest.mark.parametrize(("begin", "refused"), [("late", True), ("early", False)])
def test_who_writes_after_another_is_not_refused(
    built: None, tmp_path: Path, begin: str, refused: bool
) -> None:
    """As Prefect begins its transactions (the control), and as our server has it begin them."""
    templates.install(tmp_path)
    settings = templates.prefect_settings(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", RIVALS, begin],
        cwd=ROOT,
        env={**os.environ, "ATHANOR_HOME": str(tmp_path), **settings},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ("database is locked" in done.stderr) is refused, done.stderr
    assert (done.returncode != 0) is refused


class Circle:
    """Holds the database; a thread waits for it, and one of that thread's cursors is garbage."""

    def __init__(self, path: Path) -> None:
        self.holder = sqlite3.connect(path, isolation_level=None)
        self.holder.execute("PRAGMA journal_mode = WAL")
        self.holder.execute("CREATE TABLE t (a)")
        self.waiter = sqlite3.connect(
            path, isolation_level=None, check_same_thread=False, timeout=PATIENCE_S
        )
        ring: list = [self.waiter.execute("SELECT 1 UNION SELECT 2")]
        ring.append(ring)
        self.holder.execute("BEGIN IMMEDIATE")
        self.thread = threading.Thread(target=self._write)
        self.thread.start()
        time.sleep(0.2)

    def _write(self) -> None:
        with suppress(sqlite3.OperationalError):
            self.waiter.execute("INSERT INTO t VALUES (1)")

    def written(self) -> int:
        """How often the thread came to write, once the database is let go."""
        self.holder.execute("COMMIT")
        self.thread.join()
        return self.holder.execute("SELECT count(*) FROM t").fetchone()[0]


@pytest.fixture
def circle(tmp_path: Path) -> Iterator[Circle]:
    gc.collect()
    gc.disable()
    yield Circle(tmp_path / "x.db")
    gc.enable()


def test_garbage_collected_in_the_loop_stands_still_the_control(circle: Circle) -> None:
    """Whoever holds the database waits for the cursor until the thread's patience is over."""
    gc.collect()
    assert circle.written() == 0


def test_garbage_collected_beside_the_loop_keeps_nobody(
    circle: Circle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "COLLECT_S", 0.01)
    over = threading.Event()
    thread = threading.Thread(target=embedded._collect_garbage, args=(over,))
    thread.start()
    time.sleep(0.3)
    over.set()
    assert circle.written() == 1
    thread.join()
