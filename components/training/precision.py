"""Which number format a training computes in; imports no torch, for plans are made without it."""

import platform
from pathlib import Path
from typing import Literal

Precision = Literal["fp32", "bf16", "fp16"]
PROCESSOR = Path("/proc/cpuinfo")
DRIVER = Path("/proc/driver/nvidia/version")
FAST_BF16 = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
"""Flags of processors that multiply in bf16; others emulate it more slowly than fp32."""


def resolve(precision: Literal["auto", "fp32", "bf16", "fp16"]) -> Precision:
    """The precision that `auto` means on this machine; any other as it is.

    Decided by what the processor says of itself, never by timing: two runs on one machine must
    agree on their key.
    """
    if precision != "auto":
        return precision
    if DRIVER.is_file():
        return "bf16"
    return "bf16" if FAST_BF16 & flags(_processor()) else "fp32"


def flags(text: str) -> frozenset[str]:
    """Feature flags in the text of `/proc/cpuinfo`, x86 (`flags`) or Arm (`Features`)."""
    lines = (line.partition(":") for line in text.splitlines())
    return frozenset(
        flag
        for name, _, value in lines
        if name.strip().lower() in ("flags", "features")
        for flag in value.split()
    )


def _processor() -> str:
    if platform.system() != "Linux":
        return ""
    try:
        return PROCESSOR.read_text()
    except OSError:
        return ""
