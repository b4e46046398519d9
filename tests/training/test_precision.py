"""`auto` is decided by what the processor says of itself."""

import subprocess
import sys

import pytest

from components.training import precision

INTEL = "processor\t: 0\nflags\t\t: fpu avx512f avx512_bf16 amx_tile\n"
OLD = "processor\t: 0\nflags\t\t: fpu avx2 avx512f\n"
ARM = "Features\t: fp asimd bf16 i8mm\n"


def test_flags_are_read_on_both_kinds_of_processor() -> None:
    assert "avx512_bf16" in precision.flags(INTEL)
    assert "bf16" in precision.flags(ARM)
    assert not precision.FAST_BF16 & precision.flags(OLD)
    assert precision.flags("") == frozenset()


@pytest.mark.parametrize("named", ["fp32", "bf16", "fp16"])
def test_a_named_precision_stays(named: str) -> None:
    assert precision.resolve(named) == named


def test_auto_gives_the_same_answer_twice() -> None:
    assert precision.resolve("auto") == precision.resolve("auto")


def test_it_is_decided_without_torch() -> None:
    code = (
        "import sys; from components.training.precision import resolve; resolve('auto');"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
