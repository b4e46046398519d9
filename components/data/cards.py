"""`dataset.json`: what a data set says of itself."""

import json
from pathlib import Path

from pydantic import ConfigDict, Field, ValidationError

from components.errors import DataRejected
from components.records import Record

FILE = "dataset.json"


class Card(Record):
    """Name, origin and shape of one data set; lies in its folder as `dataset.json`."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)

    name: str
    modality: str
    """Name of its reader: a file in `components/datasets`."""
    labels: tuple[str, ...] = ()
    """Names of the classes; empty where rows have no label."""
    counts: dict[str, int] = {}
    """Rows per split, of the shards that the data set was made with."""
    fields: dict[str, str] = Field(default={}, alias="schema")
    """Field or array -> type."""
    split_rule: str = ""
    licence: str = ""
    provenance: str = ""

    def to_bytes(self) -> bytes:
        """The file's bytes: sorted keys, two spaces, LF, nothing that depends on the day."""
        value = self.model_dump(mode="json", by_alias=True)
        return (json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False) + "\n").encode()


def read_card(folder: Path) -> Card:
    """The card in a data folder.

    Raises:
        DataRejected: there is none, or it is malformed.
    """
    place = f"{folder.name}/{FILE}"
    try:
        return Card.model_validate_json((folder / FILE).read_bytes())
    except OSError as error:
        raise DataRejected(
            f"{place} cannot be read: {error.strerror}", f"athanor data pull {folder.name}"
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "the file"
        raise DataRejected(f"{place}: {field}: {first['msg']}") from error
