"""What a remake is refused for, all of it at once, with the command that mends it."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from components import bundle, files, signing
from components.bundle import origin, provenance
from components.bundle.origin import Origin
from components.errors import IntegrityError, UsageError
from pipelines import reproducing
from pipelines.reproducing import Wishes, reproduce
from tests.reproduction.makings import a_making, write


def head(folder: Path) -> str:
    words = ["git", "-C", str(folder), "rev-parse", "HEAD"]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone of one commit, which the code believes that it comes from."""
    folder = a_clone(tmp_path / "clone")
    monkeypatch.setattr(provenance, "source", lambda: folder)
    return folder


def a_clone(folder: Path) -> Path:
    (folder / "components").mkdir(parents=True)
    (folder / "components/a.py").write_bytes(b"A = 1\n")
    (folder / "constraints.txt").write_text("numpy==2\n")
    for words in (
        ("init", "-q"), ("add", "-A"),
        ("-c", "user.name=n", "-c", "user.email=e", "commit", "-qm", "first"),
    ):  # fmt: skip
        subprocess.run(["git", "-C", str(folder), *words], check=True)
    return folder


def refused(making: Origin, folder: Path, **wishes: Any) -> UsageError:
    with pytest.raises(UsageError) as caught:
        reproduce(Wishes("", write(making, folder), **wishes))
    assert caught.value.exit_code == 2
    return caught.value


@pytest.fixture
def no_remake(monkeypatch: pytest.MonkeyPatch) -> None:
    """A remake that is begun says so."""

    def begun(*_: Any) -> None:
        raise LookupError("begun")

    monkeypatch.setattr(reproducing, "remake", begun)


@pytest.mark.usefixtures("no_remake")
def test_equal_circumstances_are_not_refused(clone: Path, tmp_path: Path) -> None:
    making = a_making(commit=head(clone))
    with pytest.raises(LookupError, match="begun"):
        reproduce(Wishes("", write(making, tmp_path / "v")))


@pytest.mark.usefixtures("no_remake", "project")
def test_code_that_nobody_vouches_for_is_not_run(
    clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In another home the key that signed it counts when the project has its public half."""
    path = write(a_making(commit=head(clone)), tmp_path / "v")
    key, public = signing.publish()
    monkeypatch.setenv("ATHANOR_HOME", str(tmp_path / "another"))
    with pytest.raises(LookupError, match="begun"):
        reproduce(Wishes("", path))
    public.unlink()
    with pytest.raises(bundle.Unsigned, match=f"key {key.id} is not trusted here") as caught:
        reproduce(Wishes("", path))
    assert caught.value.exit_code == 6
    assert "--allow-unsigned" in caught.value.remedy
    with pytest.raises(LookupError, match="begun"):
        reproduce(Wishes("", path, allow_unsigned=True))
    (path.parent / bundle.SIGNATURE).unlink()
    with pytest.raises(bundle.Unsigned, match=r"has no signature\.json"):
        reproduce(Wishes("", path))
    with pytest.raises(LookupError, match="begun"):
        reproduce(Wishes("", path, allow_unsigned=True))


def test_a_signed_provenance_is_no_other(tmp_path: Path) -> None:
    """Sealed anew by somebody who lacks the key."""
    path = write(a_making(), tmp_path / "v")
    mark = (path.parent / bundle.SIGNATURE).read_bytes()
    write(a_making(commit="1" * 40), tmp_path / "v")
    (path.parent / bundle.SIGNATURE).write_bytes(mark)
    for allowed in (False, True):
        with pytest.raises(IntegrityError, match=r"provenance\.json is damaged: .* signed"):
            origin.read(path, allow_unsigned=allowed)


def other(**parts: Any) -> dict[str, Any]:
    """Facts of another environment."""
    there = provenance.circumstances()
    return {name: there[name] | change for name, change in parts.items()}


def test_everything_that_differs_is_named_at_once(
    clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    there = other(
        libraries={"torch": "1.0", "numpy": "0.1"},
        environment={"OMP_NUM_THREADS": "2"},
        processor={"machine": "sparc", "flags": ["amx_tile"]},
    )
    making = a_making(commit="a" * 40, python="2.7.18", **there)
    error = refused(making._replace(patch=b"# 9 bytes of changes: too many"), tmp_path / "v")
    for line in (
        "Python: 2.7 there, 3.11 here",
        "torch: 1.0 there, ",
        "numpy: 0.1 there, ",
        "OMP_NUM_THREADS: 2 there, 3 here",
        "machine: sparc there, ",
        "processor flags: amx_tile there alone",
        f"commit: {'a' * 40} is not in {clone}",
        "patch: 9 bytes of changes were not kept",
    ):
        assert line in error.message
    assert f"git -C {clone} fetch origin {'a' * 40}" in error.remedy
    assert "make -C" in error.remedy
    assert "unset OMP_NUM_THREADS" in error.remedy
    assert "--tolerance 1" in error.remedy


def test_a_library_that_is_absent_here_is_named(clone: Path, tmp_path: Path) -> None:
    making = a_making(commit=head(clone), **other(libraries={"jax": "9"}))
    assert "jax: 9 there, absent here" in refused(making, tmp_path / "v").message


@pytest.mark.usefixtures("no_remake")
def test_a_tolerance_asks_for_no_equal_circumstances(clone: Path, tmp_path: Path) -> None:
    making = a_making(commit=head(clone), **other(libraries={"torch": "1.0"}))
    assert "torch: 1.0 there" in refused(making, tmp_path / "v").message
    with pytest.raises(LookupError, match="begun"):
        reproduce(Wishes("", write(making, tmp_path / "v"), tolerance=1.0))


@pytest.mark.usefixtures("no_remake")
def test_a_variable_of_the_first_making_need_not_be_set_here(
    clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    making = a_making(commit=head(clone), environment={"OMP_NUM_THREADS": "2"})
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert "OMP_NUM_THREADS: 2 there, 3 here" in refused(making, tmp_path / "v").message
    for name in provenance.ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(LookupError, match="begun"):
        reproduce(Wishes("", write(making, tmp_path / "v")))


@pytest.mark.parametrize("points", [-1.0, float("nan"), float("inf")])
def test_a_tolerance_is_a_number_of_points(clone: Path, tmp_path: Path, points: float) -> None:
    assert "no number of points" in refused(a_making(), tmp_path / "v", tolerance=points).message


@pytest.mark.parametrize("lacks", [{"config": None}, {"steps": {}}, {"steps": {"a": {"key": ""}}}])
def test_a_version_of_an_older_athanor_says_so(tmp_path: Path, lacks: dict[str, Any]) -> None:
    error = refused(a_making(**lacks), tmp_path / "v")
    assert "before versions kept the run" in error.message
    assert "--set name=" in error.remedy


def test_a_version_or_a_file_exactly_one() -> None:
    for wishes in (Wishes(""), Wishes("tiny/1", Path("x"))):
        with pytest.raises(UsageError, match="exactly one"):
            reproduce(wishes)


def test_a_file_that_is_no_bundle_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("")
    for path in (tmp_path / "notes.txt", tmp_path / "absent"):
        with pytest.raises(UsageError, match="is no bundle"):
            origin.read(path)


def test_a_provenance_alone_is_verified_and_needs_its_patch(tmp_path: Path) -> None:
    made = a_making()._replace(patch=b"diff --git a/x b/x\n")
    path = write(made, tmp_path / "v")
    alone = made._replace(manifest=None, signer=signing.own())
    assert origin.read(path) == origin.read(path.parent) == alone
    (path.parent / "source.patch").write_bytes(b"diff --git a/y b/y\n")
    with pytest.raises(IntegrityError, match=r"source\.patch is damaged"):
        origin.read(path)
    (path.parent / "source.patch").unlink()
    with pytest.raises(UsageError, match=r"source\.patch is not beside it"):
        origin.read(path)
    path.write_bytes(path.read_bytes().replace(b"tiny", b"tinY"))
    with pytest.raises(IntegrityError, match="seal does not fit"):
        origin.read(path)


def test_a_patch_brings_back_every_change_byte_for_byte(clone: Path, tmp_path: Path) -> None:
    """Text that is no UTF-8, a binary, a new and an empty file; under an odd set-up of git."""
    for name in ("diff.noprefix", "diff.mnemonicPrefix"):
        subprocess.run(["git", "-C", str(clone), "config", name, "true"], check=True)
    changed = {
        "components/a.py": "# caf\xe9\n".encode("latin-1"),
        "components/new.py": b"B = 2\n",
        "components/empty.py": b"",
        "constraints.txt": b"numpy==2\n\x00binary",
    }
    for name, content in changed.items():
        (clone / name).write_bytes(content)
    making = a_making(commit=head(clone))._replace(patch=provenance.patch())
    again = tmp_path / "again"
    subprocess.run(["git", "clone", "-q", str(clone), str(again)], check=True)
    applied = subprocess.run(["git", "-C", str(again), "apply"], input=making.patch, check=False)
    assert applied.returncode == 0
    assert {name: (again / name).read_bytes() for name in changed} == changed


def test_libraries_without_a_name_in_the_list_are_no_ground(clone: Path) -> None:
    making = a_making(libraries=provenance.versions() | {"athanor": "0.0.1"})
    assert origin.differing(making) == ()


def test_the_bundle_of_the_made_up_provenance_is_sealed(tmp_path: Path) -> None:
    path = write(a_making(), tmp_path)
    said, signer = bundle.read_provenance(path.parent)
    assert (said["bundle"], signer) == ("b" * 64, signing.own())
    assert files.digest(path) != "b" * 64
