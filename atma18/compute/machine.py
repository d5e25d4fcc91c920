"""Device, threads and precision of the machine."""

from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True)
class Compute:
    """Device, threads and precision; all three are part of a step's fingerprint."""

    device: str
    """`cuda` or `cpu`."""
    threads: int
    bfloat16: bool
    """Whether the hardware multiplies bfloat16 natively."""

    @classmethod
    def choose(cls) -> Self:
        """Choose the GPU if there is one, and bfloat16 if the hardware supports it."""
        import torch  # commands that need no model do without it

        if torch.cuda.is_available():
            return cls("cuda", torch.get_num_threads(), torch.cuda.is_bf16_supported(including_emulation=False))
        return cls("cpu", torch.get_num_threads(), _cpu_has_bfloat16())


def _cpu_has_bfloat16() -> bool:
    import torch

    # torch offers these two checks only under private names.
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
