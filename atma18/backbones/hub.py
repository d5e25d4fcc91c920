"""Backbones of transformers: from a folder of `save_pretrained`, or from the cache of the Hugging Face hub."""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from atma18.backbones import checkpoint
from atma18.backbones.backbone import BackboneSpec
from atma18.backbones.families import FAMILIES, HubBackbone
from atma18.backbones.kinds import IMAGENET_MEAN, IMAGENET_STD, Found, Missing, MissingWeightsError
from atma18.config import HF
from atma18.schema import shown

_CONFIG, _PREPROCESSOR = "config.json", "preprocessor_config.json"
_WEIGHTS = ("model*.safetensors", "pytorch_model*.bin")
"""Safetensors are preferred where both exist."""
_LABELS = ("id2label", "label2id", "auto_map", "_name_or_path", "transformers_version", "architectures")
"""Keys of a configuration that do not describe the architecture."""
_REPOSITORY = re.compile(r"[\w.-]+(/[\w.-]+)?")
_SIZE_PX = 224
_MEGABYTES = {
    "facebook/convnext-tiny-224": 114,
    "facebook/convnext-large-224-22k-1k": 791,
    "facebook/convnextv2-tiny-22k-224": 115,
    "microsoft/swin-tiny-patch4-window7-224": 113,
    "microsoft/resnet-50": 102,
    "facebook/dinov2-small": 88,
    "facebook/detr-resnet-50": 167,
}
"""Sizes of well-known models, four bytes per parameter; the pages of other models state their size."""


class HubKind:
    """`hf:FOLDER`, or `hf:OWNER/NAME` of the hub, optionally with `@` and a revision."""

    def find(self, reference: str) -> Found:
        """Find a model in its folder, or in the hub's cache."""
        folder, revision = _folder(reference)
        stored = _read_json(folder / _CONFIG)
        config = _configuration(folder, stored)
        family = FAMILIES[config.model_type]
        mean, std, size_px = _preprocessing(folder, config)
        files = _weight_files(folder)
        if not files and revision is None:
            raise ValueError(f"{folder}: expected weights in {' or '.join(_WEIGHTS)} beside {_CONFIG}, found none")
        if not files:
            raise MissingWeightsError(str(_missing(reference, folder)))
        for file in files:
            checkpoint.check(file)
        spec = BackboneSpec(
            name=f"{HF}:{reference}",
            kind=HF,
            architecture={name: value for name, value in stored.items() if name not in _LABELS},
            mean_rgb=mean,
            std_rgb=std,
            channels=family.channels(config),
            stride_px=family.stride_px(config),
            size_px=size_px,
        )
        return Found(spec, lambda: _read(folder, config), files, revision)

    def draw(self, architecture: Mapping[str, Any]) -> nn.Module:
        """Build the model."""
        return HubBackbone(_configuration(None, architecture))

    def fetch(self, reference: str) -> None:
        """Download the configuration and the weights of one revision into the hub's cache."""
        from huggingface_hub import snapshot_download

        if _is_folder(reference):
            return
        repository, _, revision = reference.partition("@")
        wanted = [_CONFIG, _PREPROCESSOR, *_WEIGHTS]
        try:
            folder = Path(snapshot_download(repository, revision=revision or None, allow_patterns=wanted[:3]))
            if not _weight_files(folder):
                snapshot_download(repository, revision=revision or None, allow_patterns=wanted)
        except Exception as error:  # the hub's library raises many types of errors
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            missing = _missing(reference, _cache())
            raise MissingWeightsError(f"{missing.source} could not be downloaded: {reason}\n{missing}") from error


def _configuration(folder: Path | None, stored: Mapping[str, Any]) -> Any:  # noqa: ANN401
    """Return the library's configuration of a supported family."""
    from transformers import CONFIG_MAPPING

    where, family = f"{folder / _CONFIG}: " if folder else "", str(stored.get("model_type"))
    if family not in FAMILIES:
        raise ValueError(f"{where}expected a model_type among {', '.join(FAMILIES)}, found {shown(family)}")
    config = CONFIG_MAPPING[family].from_dict(dict(stored))
    inner = getattr(config, "backbone_config", None)
    if family == "detr" and getattr(inner, "model_type", None) != "resnet":
        raise ValueError(
            f"{where}expected a DETR on a ResNet of transformers, found one that needs the package timm: "
            "say @no_timm behind the name on the hub for the revision without"
        )
    if config.num_channels != 3:
        raise ValueError(f"{where}expected a model of 3 channels, found {config.num_channels}")
    return config


def _read(folder: Path, config: Any) -> dict[str, Tensor]:  # noqa: ANN401
    """Read a folder's weights by the names of `HubBackbone`; the library converts names of older versions."""
    from transformers import AutoModel

    family = FAMILIES[config.model_type]
    try:
        with _quiet():
            model, report = AutoModel.from_pretrained(
                folder,
                config=config,
                dtype=torch.float32,
                local_files_only=True,
                weights_only=True,
                ignore_mismatched_sizes=True,  # so that all of them are reported
                output_loading_info=True,
            )
    except (RuntimeError, OSError, ValueError, KeyError) as error:
        raise ValueError(f"{folder}: expected the weights of {_CONFIG}'s {config.model_type}: {error}") from error
    _require_whole(folder, model, report, family.part)
    part = model.get_submodule(family.part)
    return {f"model.{name}": value for name, value in part.state_dict().items()}


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide the library's progress bars and its warnings about unused heads."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _require_whole(folder: Path, model: nn.Module, report: Mapping[str, Any], part: str) -> None:
    """Refuse missing weights, and weights of another body."""
    own = {name.split(".")[0] for name, _ in model.named_parameters()}
    named = {what: [str(k if isinstance(k, str) else k[0]) for k in keys] for what, keys in report.items() if keys}
    plain = {what: sorted(k.removeprefix(f"{model.base_model_prefix}.") for k in keys) for what, keys in named.items()}
    complaints = {
        "missing": [name for name in plain.get("missing_keys", []) if name.startswith(part)],
        "that no such backbone has": [n for n in plain.get("unexpected_keys", []) if n.split(".")[0] in own],
        "of another shape": [name for name in plain.get("mismatched_keys", []) if name.startswith(part)],
    }
    checkpoint.refuse(str(folder), len(model.state_dict()), complaints)


def _preprocessing(
    folder: Path,
    config: Any,  # noqa: ANN401
) -> tuple[tuple[float, float, float], tuple[float, float, float], int]:
    """Return the mean and standard deviation of RGB in [0, 1], and the size of images; by default those of ImageNet."""
    said = _read_json(folder / _PREPROCESSOR) if (folder / _PREPROCESSOR).is_file() else {}
    size = said.get("crop_size") or said.get("size") or getattr(config, "image_size", None) or _SIZE_PX
    if isinstance(size, Mapping):
        size = size.get("height") or size.get("shortest_edge") or _SIZE_PX
    size_px = int(size[0] if isinstance(size, list | tuple) else size)
    if not said.get("do_normalize", True):
        return (0.0,) * 3, (1.0,) * 3, size_px
    mean_r, mean_g, mean_b = said.get("image_mean", IMAGENET_MEAN)
    std_r, std_g, std_b = said.get("image_std", IMAGENET_STD)
    return (mean_r, mean_g, mean_b), (std_r, std_g, std_b), size_px


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: expected a JSON file as transformers writes it, found {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path}: expected a JSON object, found {type(found).__name__}")
    return found


def _weight_files(folder: Path) -> tuple[Path, ...]:
    for pattern in _WEIGHTS:
        if found := sorted(folder.glob(pattern)):
            return tuple(found)
    return ()


def _is_folder(reference: str) -> bool:
    return reference.startswith((".", "/", "~")) or Path(reference).is_dir()


def _folder(reference: str) -> tuple[Path, str | None]:
    """Return the folder with the files, and their revision on the hub."""
    from huggingface_hub import try_to_load_from_cache

    if _is_folder(reference):
        folder = Path(reference).expanduser()
        if not folder.is_dir():
            raise ValueError(f"expected a folder as transformers' save_pretrained writes it, found none at {folder}")
        return folder, None
    repository, _, revision = reference.partition("@")
    if not _REPOSITORY.fullmatch(repository):
        raise ValueError(f"expected {HF}: and a folder or OWNER/NAME on the hub, found {HF}:{reference}")
    found = try_to_load_from_cache(repository, _CONFIG, revision=revision or None)
    if not isinstance(found, str):
        raise MissingWeightsError(str(_missing(reference, _cache())))
    return Path(found).parent, Path(found).parent.name


def _cache() -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def _missing(reference: str, place: Path) -> Missing:
    repository, _, revision = reference.partition("@")
    size = f"{_MEGABYTES[repository]} MB" if repository in _MEGABYTES else "its size is on that page"
    return Missing(
        name=f"{HF}:{reference}",
        files=(_CONFIG, _PREPROCESSOR, "model.safetensors"),
        place=place,
        source=f"https://huggingface.co/{repository}/tree/{revision or 'main'}",
        size=size,
        by_path=f"{HF}:/path/of/a/folder/with/these",
    )
