"""Weights from untrusted files: they are read as tensors and plain values, and no code of a file is executed.

A checkpoint of torch is a pickle, and a pickle names functions to call. `torch.load(weights_only=True)` calls only
those of a short list. Classes of well-known training frameworks, whose objects are stored beside the weights, are
replaced by `_Inert`. A file with any other name is refused before it is read.
"""

import re
import zipfile
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from pickle import UnpicklingError  # noqa: TID251 - the exception alone
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from atma18.storage import digests

SAFETENSORS = ".safetensors"
WEIGHT_FILES = (SAFETENSORS, ".pth", ".pt", ".bin")
_INERT = ("mmengine.", "mmdet.", "mmcv.", "numpy.", "argparse.Namespace", "builtins.getattr", "getattr")
"""Names in the checkpoints of OpenMMLab's trainers: logs, configurations and numbers beside the weights."""
_INSIDE = ("state_dict", "model", "model_state_dict")
"""The keys under which trainers store the weights."""
_SHOWN = 3
_HASH_IN_NAME = re.compile(r"-([0-9a-f]{8,64})\.\w+")
"""The form of file names of torch.hub and OpenMMLab, with the first digits of the file's SHA-256."""
_BLOB = re.compile(r"[0-9a-f]{64}")
"""The form of names of large files in the cache of the Hugging Face hub: their SHA-256."""


class _Inert(dict):  # type: ignore[type-arg]
    """Replaces an object whose class is not loaded: it accepts any arguments and does nothing."""

    __hash__ = object.__hash__  # type: ignore[assignment]

    def __init__(self, *args: object) -> None:
        super().__init__()

    def __setstate__(self, state: object) -> None:
        """Ignore the state."""


def read(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a checkpoint by name, on the CPU.

    Args:
        path: a safetensors file, or a file of `torch.save` with a state dict or a dictionary around one.

    Raises:
        ValueError: If the file is damaged, does not match its name, names code, or holds no weights.
    """
    check(path)
    loaded: Any = load_file(path) if path.suffix == SAFETENSORS else _unpickled(path)
    while isinstance(loaded, Mapping) and (inside := next((k for k in _INSIDE if _is_mapping(loaded, k)), None)):
        loaded = loaded[inside]
    named = loaded.items() if isinstance(loaded, Mapping) else ()
    tensors = {str(name).removeprefix("module."): value for name, value in named if isinstance(value, Tensor)}
    if not tensors:
        raise ValueError(f"{path}: expected a dictionary of weights, found {type(loaded).__name__} without any")
    return tensors


def check(path: Path) -> None:
    """Refuse a file that is damaged, does not match its name, or has a pickle that names code; execute nothing.

    Raises:
        ValueError: If one of these holds.
    """
    if not path.is_file():
        raise ValueError(f"expected weights in {path}, found no file")
    if path.suffix not in WEIGHT_FILES:
        raise ValueError(f"{path}: expected a file that ends in {', '.join(WEIGHT_FILES)}")
    stat = path.stat()
    _check_content(path, (stat.st_size, stat.st_mtime_ns, stat.st_ino))


@lru_cache(maxsize=64)
def _check_content(path: Path, state: tuple[int, ...]) -> None:
    """Check a file in this state; the result is cached, because a check reads up to a gigabyte."""
    _check_hash(path)
    if path.suffix == SAFETENSORS:
        try:
            with safe_open(path, framework="pt"):  # compares the header with the size
                pass
        except (SafetensorError, OSError) as error:
            raise ValueError(f"{path}: expected a whole safetensors file, found a damaged one: {error}") from error
    else:
        _refuse_code(path, _named_code(path))


def fill(body: nn.Module, tensors: Mapping[str, Tensor], source: str, is_head: Callable[[str], bool]) -> None:
    """Load all weights of a body.

    Args:
        body: the net that gets the weights.
        tensors: weights by the names of the body.
        source: the name of the file in messages.
        is_head: whether a name belongs to the removed head, and is ignored.

    Raises:
        ValueError: If a weight is missing, superfluous, of another shape, or not finite; no weight is loaded then.
    """
    expected = body.state_dict()
    counted = [name for name in expected if not name.endswith("num_batches_tracked")]  # older files lack them
    complaints = {
        "missing": [name for name in counted if name not in tensors],
        "that no such backbone has": [name for name in tensors if name not in expected and not is_head(name)],
        "of another shape": [n for n in counted if n in tensors and tensors[n].shape != expected[n].shape],
        "not finite": [n for n in counted if n in tensors and not bool(tensors[n].isfinite().all())],
    }
    refuse(source, len(counted), complaints)
    body.load_state_dict({name: tensors[name] for name in expected if name in tensors}, strict=False)


def refuse(source: str, expected: int, complaints: Mapping[str, list[str]]) -> None:
    """Refuse weights with problems; `complaints` holds the names of the weights by problem.

    Raises:
        ValueError: If there is a problem; the message has the number and the first names of the weights.
    """
    described = [f"{len(names)} {what} ({_first(names)})" for what, names in complaints.items() if names]
    if described:
        raise ValueError(f"{source}: expected {expected} weights, found {'; '.join(described)}: is it for another net?")


def _first(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")


def _is_mapping(loaded: Mapping[str, Any], key: str) -> bool:
    return isinstance(loaded.get(key), Mapping)


def promised_hash(path: Path) -> str | None:
    """Return the digits of the SHA-256 in a file's name, or None."""
    if _BLOB.fullmatch(path.resolve().name):
        return path.resolve().name
    promised = _HASH_IN_NAME.search(path.name)
    return promised.group(1) if promised else None


def _check_hash(path: Path) -> None:
    expected = promised_hash(path)
    if expected is not None and not (found := digests.file_sha256(path)).startswith(expected):
        raise ValueError(
            f"{path}: expected a file with the SHA-256 {expected}… that its name promises, found {found}: "
            "it is damaged or another; download it again"
        )


def _named_code(path: Path) -> list[str]:
    """Return the names in a pickle that `torch.load` does not know as harmless."""
    if not zipfile.is_zipfile(path):
        return []  # an old format or no checkpoint: `torch.load` refuses it
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged is None:
            return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    except UnpicklingError as error:
        raise ValueError(
            f"{path}: expected a checkpoint as torch.save writes it, found a pickle with {error}"
        ) from error
    except (zipfile.BadZipFile, RuntimeError, EOFError, OSError, ValueError) as error:
        raise ValueError(f"{path}: expected a whole checkpoint, found a damaged one: {error}") from error
    raise ValueError(f"{path}: expected a whole checkpoint, found {damaged} damaged")


def _refuse_code(path: Path, named: list[str]) -> None:
    refused = [name for name in named if not name.startswith(_INERT)]
    if refused:
        raise ValueError(
            f"{path}: expected weights, found a pickle that would call {', '.join(refused)}; nothing was executed. "
            "Ask its author for a safetensors file, or for torch.save(model.state_dict(), ...)"
        )


def _unpickled(path: Path) -> Any:  # noqa: ANN401 - whatever the file holds
    # One class per name, because the unpickler distinguishes them by identity.
    inert: list[Any] = [(type("Inert", (_Inert,), {}), name) for name in _named_code(path)]
    try:
        with torch.serialization.safe_globals(inert):
            return torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        reason = str(error).split("GLOBAL ", 1)[-1].split(" was not", 1)[0].splitlines()[0]
        raise ValueError(
            f"{path}: expected weights, found a pickle that was refused, and nothing of it executed: {reason}"
        ) from error
    except (RuntimeError, EOFError, OSError, KeyError, IndexError, ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: expected a checkpoint of torch, found a damaged file: {error}") from error
