"""Fields that several steps have, each described once."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from atma18.config.fields import Fixed

LITE0, CNN, TORCHVISION, HF, RSUD20K = "lite0", "cnn", "torchvision", "hf", "rsud20k"
BACKBONES = (
    f"{LITE0} (EfficientNet-Lite0 with ImageNet weights), {CNN} (small, untrained), {TORCHVISION}:resnet18 and the "
    f"like (untrained, or @WEIGHTS, or @FILE), {HF}:OWNER/NAME or {HF}:FOLDER (transformers), {RSUD20K}:FILE"
)
"""Which backbones there are, in one line."""

Backbone = Annotated[str, Field(description=f"The image backbone: {BACKBONES}.")]
Pixels = Annotated[
    Literal["normalised", "unit", "bytes"],
    Field(
        description="What the backbone reads of a pixel: RGB normalised as its weights expect it, in [0, 1] as the "
        "published nets, or from 0 to 255 as the published embedding."
    ),
]
BySpeed = Annotated[bool, Field(description="Whether the difference is counted per metre driven, not per second.")]
View = Annotated[
    Literal["frame", "path"],
    Field(
        description="What images show: the three frames as published (frame), or the road along the path of a motion "
        "model fitted in the fold, resampled from the frame at t to a grid in metres (path)."
    ),
]
Causal = Annotated[bool, Field(description="Whether only earlier samples of the scene are read, no later ones.")]
Precision = Annotated[
    Literal["auto", "float32", "bfloat16"],
    Field(description="What the backbone computes in; auto is bfloat16 on a GPU that has it, but for `cnn`."),
]
Autocast = Fixed[Annotated[bool, Field(description="Whether the backbone runs in bfloat16; follows from precision.")]]
InferenceBatch = Fixed[
    Annotated[
        int,
        Field(
            ge=1,
            le=2**14,
            description="Samples to which every batch is padded, so that a row does not depend on its neighbours.",
        ),
    ]
]
Seed = Fixed[Annotated[int, Field(description="What everything random is drawn from, but for the folds.")]]

INFERENCE_BATCH, GPU_INFERENCE_BATCH = 16, 64
"""Samples. A CPU keeps what 16 need in its caches, and a scene of six then takes a quarter of the time of 64."""

Target = Literal["absolute", "residual", "motion"]

IMAGE_FRAMES: Mapping[str, int] = {"frame": 3, "path": 1}
"""The number of frames in an image of each view."""
FRAME_SIZE_PX, GRID_SIZE = (64, 128), (24, 41)
"""Height and width of a frame; rows and columns of a grid for `cnn`."""


def check_by_speed(by_speed: bool, target: str) -> None:
    """Refuse a difference per metre where there is no difference.

    Raises:
        ValueError: If that is so.
    """
    if by_speed and target == "absolute":
        raise ValueError(f"expected target residual or motion with by_speed, found {target!r}")
