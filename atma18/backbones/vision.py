"""Models of torchvision up to their last map: untrained, with named weights, or with the weights of a file."""

import sys
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from torch import Tensor, nn

from atma18.backbones import checkpoint
from atma18.backbones.backbone import BackboneSpec
from atma18.backbones.kinds import IMAGENET_MEAN, IMAGENET_STD, Found, Missing, MissingWeightsError
from atma18.config import TORCHVISION
from atma18.schema import FRAME_HEIGHT_PX, FRAME_WIDTH_PX, shown

UNTRAINED = "none"
_SIZE_PX = 224


class Cut(nn.Module):
    """A model that returns one of its maps, by torchvision's feature extraction, as a tensor."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        """Return the (B, C, h, w) map of (B, 3, H, W)."""
        cells: Tensor = self.model(x)["map"]
        return cells


class TorchvisionKind:
    """`torchvision:NAME`, optionally with `@` and the name of weights, `none`, or a file."""

    def find(self, reference: str) -> Found:
        """Find a classification model of torchvision and its weights."""
        model_name, _, given = reference.partition("@")
        layer, channels, stride_px = last_map(model_name)
        spec = BackboneSpec(
            name=f"{TORCHVISION}:{reference}",
            kind=TORCHVISION,
            architecture={"model": model_name, "layer": layer},
            mean_rgb=IMAGENET_MEAN,
            std_rgb=IMAGENET_STD,
            channels=channels,
            stride_px=stride_px,
            size_px=_SIZE_PX,
        )
        if given in ("", UNTRAINED):
            return Found(spec)
        if _is_path(given):
            return found_in(spec, Path(given).expanduser(), "")
        weights = _named(model_name, given)
        transforms = weights.transforms()
        mean, std, [size_px] = tuple(transforms.mean), tuple(transforms.std), set(transforms.crop_size)
        spec = replace(spec, mean_rgb=mean, std_rgb=std, size_px=size_px)
        if not _place(weights).is_file():
            raise MissingWeightsError(str(_missing(reference, weights)))
        return found_in(spec, _place(weights), "")

    def draw(self, architecture: Mapping[str, Any]) -> nn.Module:
        """Build the model up to its last map."""
        from torchvision import models  # takes seconds, and lite0 does not need it
        from torchvision.models.feature_extraction import create_feature_extractor

        model = models.get_model(architecture["model"], weights=None)
        return Cut(create_feature_extractor(model.train(), {architecture["layer"]: "map"}))

    def fetch(self, reference: str) -> None:
        """Download the weights into the cache of torch.hub."""
        model_name, _, given = reference.partition("@")
        last_map(model_name)
        if given in ("", UNTRAINED) or _is_path(given):
            return
        weights = _named(model_name, given)
        place = _place(weights)
        if not place.is_file():
            download(weights.url, place, str(_missing(reference, weights)))


def found_in(spec: BackboneSpec, file: Path, prefix: str) -> Found:
    """Find weights in a file by torchvision's names with a prefix; other names are ignored."""
    checkpoint.check(file)

    def read() -> dict[str, Tensor]:
        tensors = checkpoint.read(file)
        return {f"model.{name.removeprefix(prefix)}": v for name, v in tensors.items() if name.startswith(prefix)}

    heads = _heads(spec.architecture["model"], spec.architecture["layer"])
    return Found(spec, read, (file,), is_head=lambda name: name.removeprefix("model.").split(".")[0] in heads)


def download(url: str, place: Path, otherwise: str) -> None:
    """Download a file with a progress bar, and check the hash in its name; no incomplete file remains.

    Raises:
        MissingWeightsError: If the download fails; `otherwise` is the remedy in the message.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    promised = checkpoint.promised_hash(place)
    try:
        torch.hub.download_url_to_file(url, str(place), promised, progress=sys.stderr.isatty())
    except (URLError, OSError, RuntimeError) as error:
        raise MissingWeightsError(f"{url} could not be downloaded: {error}\n{otherwise}") from error


@lru_cache(maxsize=16)
def last_map(model_name: str) -> tuple[str, int, int]:
    """Find the last (B, C, h, w) map before the pooling of a model's head; return its layer, C and stride.

    Raises:
        ValueError: If torchvision has no such model, or the model does not accept the frames.
    """
    from torchvision import models

    known = models.list_models(module=models)
    if model_name not in known:
        raise ValueError(
            f"expected a classification model of torchvision ({', '.join(known)}), found {shown(model_name)}"
        )
    with torch.random.fork_rng(devices=[]):
        model = models.get_model(model_name, weights=None)
    pools = (nn.AvgPool2d, nn.MaxPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)
    maps: list[tuple[str, int, int]] = []

    def note(path: str, y: object) -> None:
        if isinstance(y, Tensor) and y.ndim == 4 and y.shape[2] * y.shape[3] > 1:
            maps.append((path, y.shape[1], FRAME_HEIGHT_PX // y.shape[2]))

    hooks = [
        module.register_forward_hook(lambda _module, _inputs, y, path=path: note(path, y))
        for path, module in model.named_modules()
        if path and not isinstance(module, pools)
    ]
    try:
        with torch.no_grad():
            model.eval()(torch.zeros(1, 3, FRAME_HEIGHT_PX, FRAME_WIDTH_PX))
    except (AssertionError, RuntimeError, ValueError) as refusal:
        size = f"{FRAME_HEIGHT_PX} x {FRAME_WIDTH_PX} px"
        raise ValueError(f"expected a backbone for {size}, but {model_name} cannot take that: {refusal}") from refusal
    finally:
        for hook in hooks:
            hook.remove()
    return maps[-1]


@lru_cache(maxsize=16)
def _heads(model_name: str, layer: str) -> frozenset[str]:
    """Return the removed parts of a model, by the first component of their weights' names."""
    from torchvision import models

    with torch.random.fork_rng(devices=[]):
        whole = models.get_model(model_name, weights=None).state_dict()
        kept = TorchvisionKind().draw({"model": model_name, "layer": layer}).state_dict()
    first = {name.removeprefix("model.").split(".")[0] for name in kept}
    return frozenset(name.split(".")[0] for name in whole) - first


def _is_path(given: str) -> bool:
    return "/" in given or given.endswith(checkpoint.WEIGHT_FILES)


def _named(model_name: str, given: str) -> Any:  # noqa: ANN401 - a member of torchvision's WeightsEnum
    from torchvision import models

    offered = models.get_model_weights(model_name)
    if given not in offered.__members__:
        names = ", ".join([*offered.__members__, UNTRAINED])
        raise ValueError(
            f"expected weights of torchvision's {model_name} ({names}) or the path of a file, found {shown(given)}"
        )
    return offered[given]


def _place(weights: Any) -> Path:  # noqa: ANN401
    name: str = weights.url.rsplit("/", 1)[1]
    return Path(torch.hub.get_dir()) / "checkpoints" / name


def _missing(reference: str, weights: Any) -> Missing:  # noqa: ANN401
    place = _place(weights)
    return Missing(
        name=f"{TORCHVISION}:{reference}",
        files=(place.name,),
        place=place.parent,
        source=weights.url,
        size=f"{weights.meta['_file_size']:.0f} MB",
        by_path=f"{TORCHVISION}:{reference.partition('@')[0]}@/path/of/{place.name}",
    )
