"""The configuration of embed."""

from dataclasses import KW_ONLY
from typing import Annotated

from pydantic import Field

from atma18.config.checking import checked
from atma18.config.fields import Fixed
from atma18.config.shared_fields import (
    FRAME_SIZE_PX,
    IMAGE_FRAMES,
    INFERENCE_BATCH,
    LITE0,
    Autocast,
    Backbone,
    BySpeed,
    InferenceBatch,
    Pixels,
    Precision,
    Seed,
    Target,
    View,
    check_by_speed,
)

EMBEDDING = "embed"
"""The name under which models, `embed` included, read the embedding."""


@checked
class EmbedConfig:
    """Cell embeddings of a frozen backbone, their SVDs, and a ridge probe on them."""

    _: KW_ONLY
    backbone: Backbone = LITE0
    pixels: Pixels = "normalised"
    view: View = "frame"
    svd_components: int = Field(default=10, ge=1)
    """Components of the SVD kept for each cell of the image at t."""
    ridge_alphas: Fixed[tuple[Annotated[float, Field(gt=0)], ...]] = Field(
        default=(1.0, 10.0, 100.0, 1000.0, 10000.0), min_length=1
    )
    """Penalties of the probe to choose from, on whole scenes inside the training part."""
    random_features: int = Field(default=0, ge=0)
    """Random Fourier features of the embedding that the probe reads beside it; with 0 the probe is linear."""
    target: Target = "absolute"
    """What the probe learns: metres, or the difference to constant velocity (residual) or to a motion model fitted in
    the fold (motion)."""
    by_speed: BySpeed = False
    precision: Precision = "auto"
    autocast: Autocast = False
    inference_batch: InferenceBatch = INFERENCE_BATCH
    seed: Seed = 0

    def __post_init__(self) -> None:
        check_by_speed(self.by_speed, self.target)
        if self.view == "path" and self.target != "motion":
            raise ValueError(f"expected target motion with view path, found {self.target!r}")

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """The number of frames in an image, its height and its width; a grid has the size of a frame."""
        return (IMAGE_FRAMES[self.view], *FRAME_SIZE_PX)
