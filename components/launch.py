"""How the process of a step works: alone or as several ranks, and on which devices."""

import os
from typing import Literal

from pydantic import PositiveInt

from components.records import Record

Strategy = Literal["ddp", "fsdp"]


class Launch(Record):
    """What the process of a step is told; no result's key holds it."""

    processes: PositiveInt = 1
    """Ranks that train together; each computes its share of the portions of every batch."""
    strategy: Strategy = "ddp"
    """Each rank holds the whole model, or its part of it."""
    devices: tuple[str, ...] | None = None
    """Numbers or UUIDs of GPUs that the step sees, and no others; none: it sees no GPU; None:
    whatever the machine shows."""

    def hide_devices(self) -> None:
        """Show this process and its children these devices alone; before anything asks CUDA."""
        if self.devices is not None:
            os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"  # the numbers that nvidia-smi prints
            os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(self.devices)


ALONE = Launch()
"""One process, whatever the machine shows."""
