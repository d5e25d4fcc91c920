"""Memory-mapped arrays."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike


def create(path: Path, dtype: DTypeLike, shape: tuple[int, ...]) -> np.memmap[Any, np.dtype[Any]]:
    """Create a memory-mapped, writable `.npy` file of zeros.

    Its disk space is reserved at once. Otherwise a write on a full disk would end the process with a signal.

    Raises:
        OSError: If the disk is full.
    """
    array = np.lib.format.open_memmap(path, mode="w+", dtype=np.dtype(dtype), shape=shape)
    with path.open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size)
    return array
