"""From raw input to the arrays of a graph: texts by `tokenizer.json`, pictures by Pillow.

`inputs.json` beside a graph says which reader it needs. A reader works in two moves, so that rows
can be sorted by length in between: `read` gives one array per item, `batch` one array per input.
"""

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from pydantic import Field, PositiveInt, TypeAdapter, ValidationError
from tokenizers import Tokenizer

from components.errors import DataRejected, IntegrityError
from components.records import Record
from components.spec import PAD, UNKNOWN, Input

Picture = Path | bytes | np.ndarray
"""A file, its bytes, or grey values 0..255 as (height, width)."""

MAX_PIXELS = 50_000_000
"""A picture beyond this is refused before it is decoded: a small file can unpack to gigabytes."""

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF")


class TextInputs(Record):
    """`inputs.json` of a model that reads texts."""

    reader: Literal["text"]
    tokenizer: str
    max_length: PositiveInt
    inputs: tuple[Input, ...]
    labels: tuple[str, ...]


class ImageInputs(Record):
    """`inputs.json` of a model that reads grey pictures."""

    reader: Literal["image"]
    height: PositiveInt
    width: PositiveInt
    inputs: tuple[Input, ...]
    labels: tuple[str, ...]


Inputs = Annotated[TextInputs | ImageInputs, Field(discriminator="reader")]


class TextReader:
    """Token ids of texts, cut at the longest length that the model knows."""

    takes: ClassVar[str] = "texts"

    def __init__(self, inputs: TextInputs, folder: Path) -> None:
        """Load the tokenizer that `inputs.json` names.

        Raises:
            IntegrityError: the file is no tokenizer.
        """
        self.name = inputs.inputs[0].name
        path = folder / inputs.tokenizer
        try:
            self._tokenizer = Tokenizer.from_str(path.read_text(encoding="utf-8"))
        except Exception as error:  # bare: so does the library say that a file is bad
            raise IntegrityError(
                f"{path} is not a tokenizer ({error})", "restore the file from its registry"
            ) from error
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(inputs.max_length)

    def read(self, items: Sequence[str]) -> list[np.ndarray]:
        """One int64 array of ids per text; a text without any token is one unknown token.

        Raises:
            DataRejected: an item is not a text.
        """
        for place, item in enumerate(items):
            if not isinstance(item, str):
                raise DataRejected(f"item {place} is a {type(item).__name__}, not a text")
        encodings = self._tokenizer.encode_batch(list(items))
        return [np.array(encoding.ids or [UNKNOWN], dtype=np.int64) for encoding in encodings]

    def batch(self, rows: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """Ids as int64 (rows, longest), padded at the end."""
        ids = np.full((len(rows), max(map(len, rows))), PAD, dtype=np.int64)
        for place, row in enumerate(rows):
            ids[place, : len(row)] = row
        return {self.name: ids}


class ImageReader:
    """Grey values of pictures, scaled to the size that the model reads."""

    takes: ClassVar[str] = "pictures"

    def __init__(self, inputs: ImageInputs) -> None:
        self.name = inputs.inputs[0].name
        self.height = inputs.height
        self.width = inputs.width

    def read(self, items: Sequence[Picture]) -> list[np.ndarray]:
        """One float32 array (1, height, width) in 0..255 per picture.

        Raises:
            DataRejected: an item is no picture, or one with too many pixels.
        """
        return [self._row(item, place) for place, item in enumerate(items)]

    def batch(self, rows: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """Pixels as float32 (rows, 1, height, width)."""
        return {self.name: np.stack(list(rows)).astype(np.float32, copy=False)}

    def _row(self, item: Picture, place: int) -> np.ndarray:
        if isinstance(item, np.ndarray):
            if (
                item.shape[-2:] != (self.height, self.width)
                or item.size != item.shape[-1] * self.height
            ):
                raise DataRejected(
                    f"item {place} has shape {item.shape}, not ({self.height}, {self.width})"
                )
            return item.reshape(1, self.height, self.width).astype(np.float32)
        return self._decoded(item, place)

    def _decoded(self, item: Path | bytes, place: int) -> np.ndarray:
        data = item.read_bytes() if isinstance(item, Path) else item
        try:
            with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
                if picture.width * picture.height > MAX_PIXELS:
                    raise DataRejected(
                        f"item {place} has {picture.width} x {picture.height} pixels; "
                        f"{MAX_PIXELS} are the most",
                        "send a smaller picture",
                    )
                grey = ImageOps.exif_transpose(picture).convert("L")
        except (
            UnidentifiedImageError,
            Image.DecompressionBombError,
            OSError,
            SyntaxError,
        ) as error:
            raise DataRejected(
                f"item {place} is not a readable picture ({error})", f"send {', '.join(FORMATS)}"
            ) from error
        if grey.size != (self.width, self.height):
            grey = grey.resize((self.width, self.height), Image.Resampling.BILINEAR)
        return np.asarray(grey, dtype=np.float32)[None]


Reader = TextReader | ImageReader


def described(folder: Path) -> TextInputs | ImageInputs:
    """What `inputs.json` of the folder says.

    Raises:
        IntegrityError: it is absent, or describes no reader.
    """
    path = folder / "inputs.json"
    try:
        return TypeAdapter(Inputs).validate_python(json.loads(path.read_bytes()))
    except (OSError, ValueError, ValidationError) as error:
        raise IntegrityError(
            f"{path} describes no input ({error})", "restore the folder from its registry"
        ) from error


def reader(inputs: TextInputs | ImageInputs, folder: Path) -> Reader:
    """The reader that `inputs.json` asks for."""
    match inputs:
        case TextInputs():
            return TextReader(inputs, folder)
        case ImageInputs():
            return ImageReader(inputs)
