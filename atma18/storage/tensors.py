"""Read weights from safetensors files; check names, shapes and finite numbers before a model loads them."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from atma18.schema import first_few, one_line


def read(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a file.

    Raises:
        ValueError: If it is no safetensors file, or a number is not finite.
    """
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError, RuntimeError) as error:
        raise ValueError(
            f"{path}: expected a safetensors file, found something else ({one_line(str(error))})"
        ) from error
    if odd := [name for name, tensor in tensors.items() if not bool(torch.isfinite(tensor).all())]:
        raise ValueError(f"{path}: expected finite numbers, found others in {first_few(odd)}: make this model again")
    return tensors


def check_fit(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Compare names and shapes with those of a model's state.

    Raises:
        ValueError: If a tensor is missing, unexpected or of another shape.
    """
    shapes = [{name: tuple(tensor.shape) for name, tensor in tensors.items()} for tensors in (found, expected)]
    odd = [
        f"{name} {shapes[0].get(name, 'missing')}"
        for name in sorted(shapes[0].keys() | shapes[1].keys())
        if shapes[0].get(name) != shapes[1].get(name)
    ]
    if odd:
        raise ValueError(f"expected the weights of this model, found {first_few(odd)}")
