"""Content that carries its own sha256, objects hashed at use, databases looked at as a whole."""

import os
import sqlite3

import pytest
from prefect.results import ResultRecord, ResultRecordMetadata
from prefect.serializers import JSONSerializer

from components import databases, files, objects
from components.errors import IntegrityError
from components.steps.search import Opened
from pipelines import keys
from pipelines.tasks import WholeFiles


def flips(data: bytes):
    """Every single-bit damage of some bytes."""
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        yield bytes(damaged)


def test_every_flipped_bit_of_a_sealed_file_is_found(tmp_path):
    path = tmp_path / "x.json"
    value = {"score": 0.875, "text": "好", "none": None, "list": [1, {"a": True}]}
    files.write_sealed(path, value)
    assert files.read_sealed(path) == value
    whole = path.read_bytes()
    for damaged in flips(whole[:-1]):
        path.write_bytes(damaged + b"\n")
        with pytest.raises(ValueError, match="seal"):
            files.read_sealed(path)
    for text in (b"", b"[]", b"{}", b"1\n", whole[: len(whole) // 2]):
        path.write_bytes(text)
        with pytest.raises(ValueError, match="seal"):
            files.read_sealed(path)


def test_every_flipped_bit_of_a_stored_result_is_found(home):
    """In the record as in what Prefect notes beside it; and Prefect reads the sealed file."""
    record = Opened(study="s", trials=3)
    value = {"__class__": "components.steps.search.Opened", "data": record.model_dump()}
    note = ResultRecordMetadata(storage_key="k", serializer=JSONSerializer())
    text = ResultRecord(metadata=note, result=value).serialize()
    WholeFiles(basepath=str(keys.result_folder())).write_path("k", text)
    path = keys.result_folder() / "k"
    whole = path.read_bytes()
    assert ResultRecord.deserialize(whole).result == record
    assert keys.stored("k") == record
    for damaged in flips(whole[:-1]):
        path.write_bytes(damaged + b"\n")
        assert keys.stored("k") is None


def test_a_mark_vouches_for_a_plan_and_not_for_a_use(home):
    sha = objects.put_bytes(b"weights")
    assert objects.intact(sha)
    path = objects.path(sha)
    status = path.stat()
    path.write_bytes(b"weighty")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert objects.intact(sha)  # nothing shows it
    with pytest.raises(IntegrityError, match=f"object {sha[:12]} is damaged"):
        objects.link(sha, home / "copy")
    assert not objects.intact(sha)  # so that the next run remakes it
    assert objects.put_bytes(b"weights") == sha
    assert objects.path(sha).read_bytes() == b"weights"


def test_putting_an_object_again_mends_one_that_rotted(home, tmp_path):
    source = tmp_path / "weights"
    source.write_bytes(b"weights")
    sha = objects.put(source)
    path = objects.path(sha)
    assert objects.intact(sha)
    status = path.stat()
    path.write_bytes(b"weighty")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert objects.put(source) == sha
    assert objects.path(sha).read_bytes() == b"weights"


def a_database(path):
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE alembic_version (v TEXT)")
    connection.execute("CREATE TABLE names (name TEXT PRIMARY KEY)")
    connection.executemany("INSERT INTO names VALUES (?)", ((f"{n:030}",) for n in range(2000)))
    connection.commit()
    connection.close()
    return path


DAMAGES = {
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: os.truncate(path, path.stat().st_size // 2),
    "text": lambda path: path.write_text("not a database " * 100),
    "page": lambda path: overwritten(path, path.stat().st_size // 2, b"\xff" * 64),
    "other": lambda path: (path.unlink(), sqlite3.connect(path).execute("CREATE TABLE t (a)")),
}


def overwritten(path, at, data):
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


@pytest.mark.parametrize("fully", [True, False])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_database_is_named(tmp_path, damage, fully, monkeypatch):
    whole = a_database(tmp_path / "whole.db")
    databases.demand_whole(whole, "")  # the control
    if not fully:
        monkeypatch.setattr(databases, "FULLY_BYTES", 0)
        if damage == "page":
            pytest.skip("only head and length of a large one are looked at")
    path = a_database(tmp_path / "x.db")
    DAMAGES[damage](path)
    with pytest.raises(IntegrityError, match=r"x\.db is damaged") as caught:
        databases.demand_whole(path, "restore it")
    assert caught.value.remedy == "restore it"


def test_a_busy_database_is_not_called_damaged(tmp_path, monkeypatch):
    path = a_database(tmp_path / "x.db")
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    real = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *a, **k: real(*a, **{**k, "timeout": 0.01}))
    assert databases.demand_whole(path, "") is None
    connection.close()
