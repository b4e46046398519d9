import json
import shutil

import numpy as np
import pytest

from components import bundle, files, objects
from components.bundle.assembly import assemble
from components.errors import IntegrityError
from components.inference.predictor import Predictor
from tests.registry.variants import a_prepared, a_variant


@pytest.fixture
def parts(tmp_path):
    fp32 = a_variant(tmp_path / "fp32")
    chain = ({"kind": "int8_dynamic"},)
    small = a_variant(tmp_path / "int8", name="int8_dynamic", chain=chain, shift=0.5)
    return (fp32, small), small.exported, a_prepared(tmp_path)


@pytest.fixture
def made(tmp_path, parts):
    variants, selected, data = parts
    return assemble(new(tmp_path / "bundle"), "reviews", variants, selected, data)


def new(folder):
    folder.mkdir()
    return folder


def test_a_bundle_holds_the_selected_graph_and_all_that_it_needs(made, parts):
    variants, selected, _ = parts
    assert made.names == {
        "model.onnx", "fp32.onnx", "tokenizer.json", "inputs.json", "weights.safetensors",
        "architecture.json", "served_model.py", "card.md",
    } | (made.names & {"source.patch"})  # fmt: skip
    assert bundle.describe(made.folder / "model.onnx")["sha256"] == selected.files["model.onnx"]
    fp32 = variants[0].exported.files["model.onnx"]
    assert bundle.describe(made.folder / "fp32.onnx")["sha256"] == fp32
    assert made.exported == selected


def test_the_same_records_make_the_same_digest_later(tmp_path, parts, made, monkeypatch):
    variants, selected, data = parts
    slower = variants[1].measured.made.model_copy(update={"facts": {"latency_ms": {}}, "host": "b"})
    later = variants[1].model_copy(
        update={"measured": variants[1].measured.model_copy(update={"made": slower})}
    )
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    again = assemble(new(tmp_path / "again"), "reviews", (variants[0], later), selected, data)
    assert again.digest == made.digest
    assert again.provenance != made.provenance


def test_another_recipe_makes_another_digest(tmp_path, made, parts):
    variant = a_variant(tmp_path / "other", name="int8_dynamic", chain=({"kind": "x"},), seed=1)
    both = (parts[0][0], variant)
    other = assemble(new(tmp_path / "b2"), "reviews", both, variant.exported, parts[2])
    assert other.digest != made.digest


def test_the_manifest_says_nothing_volatile(made):
    text = (made.folder / "manifest.json").read_text()
    facts = made.provenance["facts"]
    for volatile in (facts["host"], facts["at"], str(made.folder.parent)):
        assert volatile not in text
    assert "made" not in json.loads(text)["remake"]["exported"]


def test_the_card_shows_the_measured_numbers(made):
    card = (made.folder / "card.md").read_text()
    assert "| **int8_dynamic** | 0.00 MB | 0.9000 [0.9000, 0.9000] |" in card
    assert "1.00 ms" in card
    assert "| accuracy | 0.9000 | 0.9000 to 0.9000 | 100 |" in card


def test_the_predictor_of_the_house_reads_a_bundle(made):
    answers = Predictor(made.folder).predict(["good fine", "dull bad bad"])
    assert answers.labels == ("good", "bad")


def test_a_graph_that_is_no_variant_is_refused(tmp_path, parts):
    other = a_variant(tmp_path / "x", name="other").exported
    with pytest.raises(Exception, match="'other' is none of the variants"):
        assemble(new(tmp_path / "b3"), "reviews", parts[0], other, parts[2])


def test_adopting_puts_every_file_into_the_object_store(made, home):
    shutil.rmtree(home / "objects")
    exported = made.adopt()
    assert objects.path(exported.files["model.onnx"]).is_file()
    assert objects.path(exported.model.files["weights.safetensors"]).is_file()


def everything(folder):
    return sorted(path.name for path in folder.iterdir())


DAMAGES = {
    "flip": lambda path: path.write_bytes(flipped(path.read_bytes())),
    "truncate": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "empty": lambda path: path.write_bytes(b""),
    "delete": lambda path: path.unlink(),
    "folder": lambda path: (path.unlink(), path.mkdir()),
}


def flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


@pytest.mark.parametrize("damage", DAMAGES)
def test_every_damage_to_every_file_is_found_and_named(tmp_path, made, damage):
    bundle.open(made.folder)  # the control: nothing is wrong yet
    for name in everything(made.folder):
        copy = tmp_path / f"{damage}-{name}"
        shutil.copytree(made.folder, copy)
        DAMAGES[damage](copy / name)
        with pytest.raises(IntegrityError) as caught:
            bundle.open(copy)
        assert name in str(caught.value)
        assert caught.value.exit_code == 6


def test_swapped_files_are_found(tmp_path, made):
    copy = shutil.copytree(made.folder, tmp_path / "copy")
    (copy / "model.onnx").rename(copy / "x")
    (copy / "fp32.onnx").rename(copy / "model.onnx")
    (copy / "x").rename(copy / "fp32.onnx")
    with pytest.raises(IntegrityError, match=r"fp32\.onnx"):
        bundle.open(copy)


def test_an_extra_file_and_a_link_are_refused(tmp_path, made):
    (made.folder / "evil.py").write_text("")
    with pytest.raises(IntegrityError, match=r"evil\.py"):
        bundle.open(made.folder)
    (made.folder / "evil.py").unlink()
    outside = shutil.copyfile(made.folder / "card.md", tmp_path / "outside.md")
    (made.folder / "card.md").unlink()
    (made.folder / "card.md").symlink_to(outside)
    with pytest.raises(IntegrityError, match=r"card\.md"):
        bundle.open(made.folder)


def forge(folder):
    """Another model in the folder, both lists made to fit it."""
    (folder / "model.onnx").write_bytes(b"evil")
    manifest = json.loads((folder / "manifest.json").read_bytes())
    manifest["files"]["model.onnx"] = bundle.describe(folder / "model.onnx")
    relist(folder, manifest)


def relist(folder, manifest):
    """Another manifest, and a provenance that is sealed for it."""
    files.write_json(folder / "manifest.json", manifest)
    old = json.loads((folder / "provenance.json").read_bytes())
    new = bundle.sealed(files.digest(folder / "manifest.json"), old["files"], old["facts"])
    (folder / "provenance.json").write_bytes(new)


def test_a_consistent_forgery_is_not_what_the_key_signed(tmp_path, made):
    copy = shutil.copytree(made.folder, tmp_path / "copy")
    forge(copy)
    with pytest.raises(IntegrityError, match=r"manifest\.json is damaged: it is not the one that"):
        bundle.open(copy)
    with pytest.raises(IntegrityError, match=r"manifest\.json is damaged"):
        bundle.open(copy, allow_unsigned=True)


def test_a_forgery_without_signature_has_another_digest(tmp_path, made):
    """Who takes what nobody signed still finds out, if he knows the digest."""
    copy = shutil.copytree(made.folder, tmp_path / "copy")
    forge(copy)
    (copy / "signature.json").unlink()
    with pytest.raises(bundle.Unsigned, match=r"has no signature\.json"):
        bundle.open(copy)
    assert bundle.open(copy, allow_unsigned=True).digest != made.digest
    with pytest.raises(IntegrityError, match=f"expected {made.digest[:12]}"):
        bundle.open(copy, made.digest, allow_unsigned=True)


@pytest.mark.parametrize("name", ["../model.onnx", "/etc/passwd", "a/b", "", ".hidden"])
def test_a_list_cannot_point_outside(made, name):
    relist(made.folder, {**made.manifest, "files": {**made.manifest["files"], name: {}}})
    bundle.sign(made.folder)
    with pytest.raises(IntegrityError, match="no file name"):
        bundle.open(made.folder)


def test_a_newer_format_is_refused(made):
    relist(made.folder, {**made.manifest, "format": 2})
    bundle.sign(made.folder)
    with pytest.raises(IntegrityError, match="has format 2, this Athanor knows 1"):
        bundle.open(made.folder)


@pytest.mark.parametrize("manifest", [[], {}, {"format": 1, "files": []}])
def test_what_is_no_manifest_is_named(made, manifest):
    relist(made.folder, manifest)
    (made.folder / "signature.json").unlink()
    with pytest.raises(IntegrityError, match=r"manifest\.json is damaged: it is no manifest"):
        bundle.open(made.folder, allow_unsigned=True)


def test_the_weights_of_a_bundle_can_be_read(made):
    from safetensors.numpy import load_file

    tensors = load_file(made.folder / "weights.safetensors")
    np.testing.assert_array_equal(tensors["backbone.table"], np.ones((2, 2)))
