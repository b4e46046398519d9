"""Keys and signatures: who may vouch for a version, and what is refused without one."""

import itertools
import json
import shutil
import stat
import subprocess
from datetime import datetime

import pytest

from components import bundle, history, registry, signing
from components.bundle import provenance
from components.bundle.assembly import assemble
from components.errors import IntegrityError
from components.registry import fetching, moving, registering, served, verifying
from components.steps.register import RegisterConfig, register
from pipelines import cli
from tests.registry.variants import a_prepared, a_variant


@pytest.fixture
def made(tmp_path):
    """A bundle that this home signed."""
    variant = a_variant(tmp_path / "v")
    folder = tmp_path / "bundle"
    folder.mkdir()
    return assemble(folder, "reviews", (variant,), variant.exported, a_prepared(tmp_path))


def elsewhere(factory, monkeypatch, name="other"):
    """From here on another home: another machine."""
    folder = factory.mktemp(name)
    monkeypatch.setenv("ATHANOR_HOME", str(folder))
    return folder


def test_a_key_is_private_and_made_once(home):
    first = signing.make()
    secret = home / "keys" / f"{first.id}.pem"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert stat.S_IMODE(secret.parent.stat().st_mode) == 0o700
    before = secret.read_bytes()
    assert signing.make() == first
    assert secret.read_bytes() == before
    assert signing.trusted() == {first.id: first}


def test_init_publishes_the_key_and_overwrites_nothing(project, home, capsys):
    assert cli.run(["keys", "init", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    public = project / said["file"]
    assert public.name == f"{said['key']}.pub"
    assert public.read_text().startswith("ssh-ed25519 ")
    before = {path.name: path.read_bytes() for path in (home / "keys").iterdir()}
    assert cli.run(["keys", "init"]) == 2
    assert f"git add configs/keys/{public.name}" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in (home / "keys").iterdir()} == before
    assert cli.run(["keys", "--json"]) == 0
    [known] = json.loads(capsys.readouterr().out)["keys"]
    assert known == {"id": said["key"], "owner": said["owner"], "place": "project", "signs": True}


def test_registering_makes_a_key_but_touches_no_file_of_the_project(project, tmp_path, home):
    git = ("git", "-c", "user.name=a", "-c", "user.email=a@example.org")
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "x"]):
        subprocess.run([*git, *words], cwd=project, check=True)
    assert signing.own() is None
    variant = a_variant(tmp_path / "v")
    parts = tmp_path / "parts"
    parts.mkdir()
    register((variant,), variant.exported, RegisterConfig(name="reviews"), data=a_prepared(parts))
    assert signing.own() is not None
    status = ["git", "status", "--porcelain", "--untracked-files=all"]
    changed = subprocess.run(status, cwd=project, check=True, capture_output=True, text=True)
    assert changed.stdout == ""


def test_the_openssh_tools_read_the_public_key(project, home):
    if shutil.which("ssh-keygen") is None:
        pytest.skip("there is no ssh-keygen")
    _, path = signing.publish()
    said = subprocess.run(["ssh-keygen", "-lf", path], capture_output=True, text=True, check=True)
    assert "(ED25519)" in said.stdout


def test_another_clone_verifies_what_it_has_the_public_key_of(
    made, project, monkeypatch, tmp_path_factory
):
    signing.publish()
    elsewhere(tmp_path_factory, monkeypatch)
    opened = bundle.open(made.folder, made.digest)
    assert opened.signed == made.signed
    assert opened.signer.place == "project"


def test_an_unknown_key_is_named(made, project, monkeypatch, tmp_path_factory):
    key = made.signer.id
    elsewhere(tmp_path_factory, monkeypatch)
    with pytest.raises(bundle.Unsigned, match=f"key {key} is not trusted here") as caught:
        bundle.open(made.folder)
    assert caught.value.exit_code == 6
    assert f"configs/keys/{key}.pub" in caught.value.remedy
    signing.make()  # a key of one's own does not help
    with pytest.raises(bundle.Unsigned, match=key):
        bundle.open(made.folder)
    taken = bundle.open(made.folder, allow_unsigned=True)
    assert taken.signed == {"key": None, "owner": None, "unsigned_allowed": True}


def test_a_signature_of_another_bundle_does_not_fit(tmp_path, made):
    variant = a_variant(tmp_path / "w", seed=1, shift=0.3)
    folder = tmp_path / "b2"
    folder.mkdir()
    parts = tmp_path / "parts"
    parts.mkdir()
    other = assemble(folder, "reviews", (variant,), variant.exported, a_prepared(parts))
    shutil.copy(other.folder / "signature.json", made.folder / "signature.json")
    with pytest.raises(IntegrityError, match=r"manifest\.json is damaged: it is not the one"):
        bundle.open(made.folder)


def test_a_signature_that_claims_a_trusted_key_is_checked(
    made, project, monkeypatch, tmp_path_factory
):
    mine, _ = signing.publish()
    elsewhere(tmp_path_factory, monkeypatch)
    bundle.sign(made.folder)
    forged = json.loads((made.folder / "signature.json").read_bytes())
    forged["key"] = mine.id
    from components import files

    files.write_json(made.folder / "signature.json", forged)
    with pytest.raises(IntegrityError, match=f"key {mine.id} of .* did not sign this"):
        bundle.open(made.folder, allow_unsigned=True)


def test_a_remade_bundle_keeps_its_digest_whoever_signs(
    made, tmp_path, monkeypatch, tmp_path_factory
):
    elsewhere(tmp_path_factory, monkeypatch)
    variant = a_variant(tmp_path / "again")
    folder = tmp_path / "b2"
    folder.mkdir()
    parts = tmp_path / "parts"
    parts.mkdir()
    again = assemble(folder, "reviews", (variant,), variant.exported, a_prepared(parts))
    assert again.digest == made.digest
    assert again.signer.id != made.signer.id


def flip(path, at=-3):
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("suffix", [".pem", ".pub"])
def test_a_damaged_key_is_named_and_signs_nothing(made, home, suffix):
    [path] = (home / "keys").glob(f"*{suffix}")
    whole = path.read_bytes()
    for at in range(len(whole) - 1):
        flip(path, at)
        with pytest.raises(IntegrityError, match="keys/") as caught:
            signing.sign(b"x")
        assert made.signer.id in str(caught.value)
        path.write_bytes(whole)
    assert signing.sign(b"x").key == made.signer.id  # the control


def test_a_lost_private_key_leaves_its_versions_trusted(made, home):
    [secret] = (home / "keys").glob("*.pem")
    secret.unlink()
    assert bundle.open(made.folder).signer.id == made.signer.id
    assert signing.sign(b"x").key != made.signer.id


def test_a_damaged_key_of_the_project_is_named(project, home):
    key, path = signing.publish()
    flip(path)
    with pytest.raises(IntegrityError, match=f"configs/keys/{key.id}.pub holds key"):
        signing.trusted()
    path.write_text("ssh-rsa AAAA me@here\n")
    with pytest.raises(IntegrityError, match="is no public key"):
        signing.trusted()


@pytest.fixture
def version(tmp_path):
    """A registered version of this home."""
    variant = a_variant(tmp_path / "v")
    data = a_prepared(tmp_path)
    return register((variant,), variant.exported, RegisterConfig(name="reviews"), data=data)


def logged(home):
    [found] = (home / "mlflow" / "artifacts").rglob("served.json")
    return found.parent


def test_verify_looks_at_every_copy(version, home, capsys):
    assert cli.run(["verify", "reviews/1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["key"] == signing.own().id
    names = {place: {f["name"] for f in found["files"] if f["place"] == place}
             for place in ("registry", "mlflow", "home")}  # fmt: skip
    assert names["registry"] == names["home"]
    assert {"model.onnx", "manifest.json", "provenance.json", "signature.json"} < names["home"]
    assert names["mlflow"] == {
        "MLmodel", "conda.yaml", "python_env.yaml", "requirements.txt", "served_model.py"
    }  # fmt: skip
    moving.force("reviews", 1, "the first")
    for reference in ("reviews", "reviews@champion"):
        assert cli.run(["verify", reference]) == 0
    assert "key" in capsys.readouterr().out


def test_verify_finds_damage_in_each_copy(version, home, capsys):
    assert verifying.verify("reviews/1").version == 1  # the control
    folder, kept = logged(home), home / "bundles" / version.bundle
    places = [*folder.rglob("*"), *kept.iterdir()]
    damaged = 0
    for path in filter(lambda path: path.is_file(), places):
        whole = path.read_bytes()
        flip(path, len(whole) // 2)
        assert cli.run(["verify", "reviews/1"]) == 6, path
        assert path.name in capsys.readouterr().err
        path.write_bytes(whole)
        damaged += 1
    assert damaged > 20
    assert verifying.verify("reviews/1").version == 1
    (folder / "code.py").write_text("")
    with pytest.raises(IntegrityError, match=r"code\.py"):
        verifying.verify("reviews/1")


def test_the_lists_around_a_bundle_need_a_trusted_key(version, home, monkeypatch, tmp_path_factory):
    folder = logged(home)
    elsewhere(tmp_path_factory, monkeypatch)
    served.seal(folder)
    stranger = signing.own().id
    monkeypatch.setenv("ATHANOR_HOME", str(home))
    with pytest.raises(IntegrityError, match=f"key {stranger} is not trusted"):
        verifying.verify("reviews/1")


@pytest.fixture
def strange(version, home):
    """The home's version, after the home lost its keys: nobody vouches for it here."""
    shutil.rmtree(home / "keys")
    return version


def test_an_untrusted_version_answers_only_when_that_is_asked_for(strange, capsys):
    assert cli.run(["predict", "reviews/1", "good"]) == 6
    assert "is not trusted here" in capsys.readouterr().err
    assert cli.run(["predict", "reviews/1", "good", "--allow-unsigned", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["signature"] == {"key": None, "owner": None, "unsigned_allowed": True}
    assert said["answers"][0]["label"] == "good"


def test_an_untrusted_version_is_promoted_only_by_name_and_that_is_kept(strange, capsys):
    words = ["promote", "reviews", "1", "--force", "--reason", "trust me"]
    assert cli.run(words) == 6
    assert registry.alias("reviews") is None
    assert [event.event for event in history.history("reviews")] == ["registered"]
    assert cli.run([*words, "--allow-unsigned"]) == 0
    last = history.history("reviews")[-1]
    assert last.evidence["signature"] == {"key": None, "owner": None, "unsigned_allowed": True}


def test_damage_is_never_allowed(strange, home, capsys):
    flip(home / "bundles" / strange.bundle / "model.onnx", 40)
    assert cli.run(["predict", "reviews/1", "good", "--allow-unsigned"]) == 6
    assert "model.onnx" in capsys.readouterr().err


def test_a_signed_promotion_keeps_the_key(version):
    moving.force("reviews", 1, "the first")
    mine = signing.own()
    kept = {"key": mine.id, "owner": mine.owner, "unsigned_allowed": False}
    assert history.history("reviews")[-1].evidence["signature"] == kept


@pytest.fixture(params=[0, 1], ids=["within a second", "a second later"])
def clock(request, monkeypatch):
    """Seconds between two looks at the clock; within one the two lists differ in nothing."""
    seconds = itertools.count(0, request.param)

    class Clock(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.fromtimestamp(next(seconds), tz)

    monkeypatch.setattr(provenance, "datetime", Clock)
    return request.param


def test_the_same_weights_are_registered_again_where_nobody_trusts_the_first(
    clock, strange, home, tmp_path
):
    """A home that comes later is not stuck with a version that it may not open."""
    before = (home / "bundles" / strange.bundle / "provenance.json").read_bytes()
    variant = a_variant(tmp_path / "again")
    parts = tmp_path / "parts"
    parts.mkdir()
    again = register(
        (variant,), variant.exported, RegisterConfig(name="reviews"), data=a_prepared(parts)
    )
    assert (again.version, again.bundle) == (2, strange.bundle)
    fetched = fetching.fetch("reviews", 2)
    assert fetched.signer == signing.own()
    assert ((fetched.folder / "provenance.json").read_bytes() == before) is (clock == 0)
    found = registering._trusted("reviews", again.run_key)
    assert found.version == 1  # its bytes are the signed ones
    assert len(registry.versions("reviews")) == 2
