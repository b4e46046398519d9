import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components.errors import DataRejected, IntegrityError
from components.inference import readers
from components.inference.readers import ImageInputs, ImageReader, TextInputs, TextReader, described
from components.spec import UNKNOWN, Input
from tests.compression import tiny


@pytest.fixture
def texts(tmp_path: Path) -> TextReader:
    tiny.tokenizer().save(str(tmp_path / "tokenizer.json"))
    inputs = TextInputs(
        reader="text",
        tokenizer="tokenizer.json",
        max_length=6,
        inputs=(Input(name="ids", dtype="int64", shape=("batch", "length")),),
        labels=("a", "b"),
    )
    return TextReader(inputs, tmp_path)


@pytest.fixture
def images() -> ImageReader:
    entry = Input(name="pixels", dtype="float32", shape=("batch", 1, 8, 8))
    inputs = ImageInputs(reader="image", height=8, width=8, inputs=(entry,), labels=("a", "b"))
    return ImageReader(inputs)


def encoded(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def test_texts_become_ids_cut_at_the_longest_and_padded_to_the_batch(texts: TextReader) -> None:
    rows = texts.read(["abc", "abcdefghij"])
    assert [row.tolist() for row in rows] == [[3, 4, 5], [3, 4, 5, 6, 7, 8]]
    batch = texts.batch(rows)
    assert batch["ids"].tolist() == [[3, 4, 5, 0, 0, 0], [3, 4, 5, 6, 7, 8]]
    assert batch["ids"].dtype == np.int64


def test_a_text_without_tokens_is_one_unknown_token(texts: TextReader) -> None:
    assert texts.read([""])[0].tolist() == [UNKNOWN]


def test_what_is_no_text_is_refused_by_its_place(texts: TextReader) -> None:
    with pytest.raises(DataRejected, match="item 1 is a int, not a text"):
        texts.read(["a", 3])  # type: ignore[list-item]


def test_the_padding_of_the_tokenizers_file_has_no_say(tmp_path: Path, texts: TextReader) -> None:
    tokenizer = tiny.tokenizer()
    tokenizer.enable_padding(length=20)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    inputs = TextInputs(
        reader="text", tokenizer="tokenizer.json", max_length=6, inputs=(_ids(),), labels=("a",)
    )
    assert TextReader(inputs, tmp_path).read(["ab"])[0].tolist() == [3, 4]


def _ids() -> Input:
    return Input(name="ids", dtype="int64", shape=("batch", "length"))


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF"])
def test_grey_values_come_through_every_lossless_format(images: ImageReader, kind: str) -> None:
    values = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4
    [row] = images.read([encoded(Image.fromarray(values), kind)])
    np.testing.assert_array_equal(row, values[None].astype(np.float32))
    assert row.dtype == np.float32


def test_a_file_bytes_and_an_array_are_the_same_picture(
    images: ImageReader, tmp_path: Path
) -> None:
    values = np.arange(64, dtype=np.uint8).reshape(8, 8)
    data = encoded(Image.fromarray(values))
    (tmp_path / "picture.png").write_bytes(data)
    batch = images.batch(images.read([tmp_path / "picture.png", data, values]))
    assert batch["pixels"].shape == (3, 1, 8, 8)
    assert (batch["pixels"] == batch["pixels"][0]).all()


def test_another_size_and_colour_are_brought_to_the_models(images: ImageReader) -> None:
    white = Image.new("RGB", (32, 16), "white")
    [row] = images.read([encoded(white)])
    np.testing.assert_array_equal(row, np.full((1, 8, 8), 255))


def test_a_photograph_lies_the_way_it_was_taken(images: ImageReader) -> None:
    values = np.zeros((8, 8), dtype=np.uint8)
    values[0] = 255
    turned = Image.Exif()
    turned[0x0112] = 3  # upside down
    [row] = images.read([encoded(Image.fromarray(values), exif=turned)])
    assert row[0, 7].min() == 255
    assert row[0, 0].max() == 0


def test_too_many_pixels_are_refused_before_they_are_decoded(
    images: ImageReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "MAX_PIXELS", 99)
    with pytest.raises(DataRejected, match="item 1 has 10 x 10 pixels; 99 are the most"):
        images.read([np.zeros((8, 8)), encoded(Image.new("L", (10, 10)))])


def test_a_decompression_bomb_is_refused_by_its_header(images: ImageReader) -> None:
    bomb = bytearray(encoded(Image.new("L", (8, 8))))
    bomb[16:24] = (60_000).to_bytes(4, "big") * 2  # the size in the PNG header, with its checksum
    import zlib

    bomb[29:33] = zlib.crc32(bytes(bomb[12:29])).to_bytes(4, "big")
    with pytest.raises(DataRejected, match="item 0"):
        images.read([bytes(bomb)])


@pytest.mark.parametrize(
    "data", [b"", b"no picture", b"\x89PNG\r\n\x1a\n", b"%!PS-Adobe-3.0 EPSF-3.0\n"]
)
def test_what_is_no_picture_is_refused(images: ImageReader, data: bytes) -> None:
    with pytest.raises(DataRejected, match="item 0 is not a readable picture"):
        images.read([data])


def test_a_torn_picture_is_refused(images: ImageReader) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64)).astype(np.uint8)
    data = encoded(Image.fromarray(noise))
    with pytest.raises(DataRejected, match="item 0 is not a readable picture"):
        images.read([data[: len(data) // 2]])


def test_an_array_of_another_shape_is_refused(images: ImageReader) -> None:
    for shape in ((8, 9), (3, 8, 8), (64,)):
        with pytest.raises(DataRejected, match="item 0 has shape"):
            images.read([np.zeros(shape)])


@pytest.mark.parametrize(
    "content",
    ["", "{}", '{"reader": "sound"}', json.dumps({"reader": "text", "tokenizer": "t.json"})],
)
def test_a_description_that_describes_nothing_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "inputs.json").write_text(content)
    with pytest.raises(IntegrityError, match="describes no input"):
        described(tmp_path)


def test_a_file_that_is_no_tokenizer_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    inputs = TextInputs(
        reader="text", tokenizer="tokenizer.json", max_length=6, inputs=(_ids(),), labels=("a",)
    )
    with pytest.raises(IntegrityError, match="is not a tokenizer"):
        TextReader(inputs, tmp_path)
