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
    """Whether it is a GPU that multiplies bfloat16 natively."""

    @classmethod
    def choose(cls) -> Self:
        """Choose the GPU if there is one."""
        import torch  # commands that need no model do without it

        if torch.cuda.is_available():
            return cls("cuda", torch.get_num_threads(), torch.cuda.is_bf16_supported(including_emulation=False))
        return cls("cpu", torch.get_num_threads(), bfloat16=False)
