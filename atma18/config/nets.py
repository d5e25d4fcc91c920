"""The configuration of nn1 and nn2, and of their two training stages."""

from collections.abc import Mapping
from dataclasses import KW_ONLY, replace
from typing import Annotated, Any, Literal, Self

from pydantic import Field

from atma18.config.checking import checked
from atma18.config.fields import Fixed, fields_of
from atma18.config.shared_fields import (
    CNN,
    FRAME_SIZE_PX,
    GRID_SIZE,
    IMAGE_FRAMES,
    INFERENCE_BATCH,
    LITE0,
    Autocast,
    Backbone,
    BySpeed,
    Causal,
    InferenceBatch,
    Pixels,
    Precision,
    Seed,
    Target,
    View,
    check_by_speed,
)

Modalities = Literal["all", "frames"]
SequenceHead = Literal["lstm", "attention"]
ATTENTION_HEADS = 4
_Side = Annotated[int, Field(ge=1, le=2**11)]
OF_ENCODER = (
    "backbone",
    "pixels",
    "view",
    "size_px",
    "causal",
    "target",
    "by_speed",
    "context",
    "bounded",
    "modalities",
    "fold_repeats",
)
"""The fields in which two nets agree of which one goes on with the encoder of the other."""
_MOST_LAYERS, _MOST_REPEATS, _MOST_BENT_PATHS = 100, 100, 100
"""Far beyond what any preset has: a file of weights could not contradict a bundle that asks for more in time."""


@checked
class StageConfig:
    """One of the two training stages of a net: the backbone frozen, then all weights."""

    batch_size: int = Field(ge=1)
    """Samples (nn1) or scenes (nn2) of a training step."""
    learning_rate: float = Field(gt=0)
    """Highest learning rate of the cosine schedule."""
    weight_decay: float = Field(ge=0)
    """Weight decay of AdamW."""
    num_epochs: int = Field(ge=1)
    """Epochs of each stage."""
    _: KW_ONLY
    patience: Fixed[int | None] = Field(default=None, ge=1)
    """Epochs without a better held-out MAE before the stage ends; none lets it run in full."""


@checked
class NetConfig:
    """FrameNet (nn1) or SceneNet (nn2) and how it is trained."""

    first: StageConfig
    """The stage with the backbone frozen."""
    second: StageConfig
    """The stage that trains all weights."""
    _: KW_ONLY
    backbone: Backbone = LITE0
    pixels: Pixels = "normalised"
    view: View = "frame"
    bent_paths: int = Field(default=0, ge=0, le=_MOST_BENT_PATHS)
    """Further grids of each training sample, along paths that are bent and turned at random (view path)."""
    stage: Literal["first", "second", "both", "whole", "head"] = "both"
    """Which stages are trained: the first (backbone frozen), the second (all weights, from `init`), both, the second
    from the start (whole), for a backbone that is not pretrained, or what nn2 has beside the backbone of the nn1 that
    `init` names (head)."""
    target: Target = "residual"
    """What a net learns: metres as published, or the standardised difference to constant velocity (residual) or to a
    motion model fitted in the fold (motion)."""
    by_speed: BySpeed = False
    context: bool = False
    """Whether a net reads the statistics of the scene's signals, and those of the neighbouring samples."""
    mirror: bool = False
    """Whether a net is trained on mirrored samples half of the time, and its answers for both sides are averaged."""
    bounded: bool = False
    """Whether inputs are held within the range of the training rows, and predictions within that of their differences
    to the baseline, so that a sample unlike all others is not answered absurdly."""
    modalities: Modalities = "all"
    """What a net reads: frames and signals, or the frames alone, which leaves the signals to the baseline."""
    sequence_head: SequenceHead = "lstm"
    """What reads the samples of a scene in nn2: a bidirectional LSTM as published, or self-attention."""
    num_layers: int = Field(default=2, ge=1, le=_MOST_LAYERS)
    """Hidden layers of the MLP (nn1), layers of the sequence head (nn2)."""
    hidden: Fixed[int] = Field(default=128, ge=1)
    """Width of each hidden layer."""
    size_px: Fixed[tuple[_Side, _Side] | None] = None
    """Height and width of images, pixels; none is that of a frame, or of the grid that is made for `cnn`."""
    augment_probability: Fixed[float] = Field(default=0.5, ge=0, le=1)
    """Chance that a sample's three frames are changed: one random brightness and contrast for all of them."""
    augment_strength: Fixed[float] = Field(default=0.2, ge=0, le=1)
    """Largest relative change of contrast, and of brightness as a share of full scale."""
    augment: bool = False
    """Whether frames that are changed are blurred, disturbed, shifted or partly covered too (strong augmentation)."""
    ema_decay: float = Field(default=0.0, ge=0, lt=1)
    """Decay per step of the exponential moving average of the weights, which is kept; 0 keeps the last weights."""
    fold_repeats: int = Field(default=1, ge=1, le=_MOST_REPEATS)
    """Nets for each fold: further ones are trained on other fold splits with other seeds, and are averaged with it."""
    cached_views: int = Field(default=4, ge=1)
    """Augmented views of each sample that the frozen backbone of the first stage encodes once; epochs take turns."""
    feature_noise: float = Field(default=0.5, ge=0)
    """Noise added to cached features each time, in standard deviations of each channel."""
    causal: Causal = False
    precision: Precision = "auto"
    autocast: Autocast = False
    inference_batch: InferenceBatch = INFERENCE_BATCH
    seed: Seed = 0

    def __post_init__(self) -> None:
        check_by_speed(self.by_speed, self.target)
        if self.bent_paths and (self.view, self.target) != ("path", "motion"):
            raise ValueError(
                f"expected view path and target motion with bent_paths, found {self.view} and {self.target}"
            )
        if self.sequence_head == "attention" and self.hidden % ATTENTION_HEADS:
            raise ValueError(
                f"expected hidden of a multiple of {ATTENTION_HEADS} with sequence_head attention, found {self.hidden}"
            )

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """The number of frames in an image, its height and its width; other backbones than `cnn` need finer grids."""
        frames, grid = IMAGE_FRAMES[self.view], self.view == "path" and self.backbone == CNN
        return (frames, *(self.size_px or (GRID_SIZE if grid else FRAME_SIZE_PX)))

    @property
    def reads_context(self) -> bool:
        """Whether a prediction depends on the signals of other samples of the scene."""
        return self.context and self.modalities == "all"

    def shares_encoder(self, other: "NetConfig") -> bool:
        """Return whether a net with this configuration can go on with the encoder of another one."""
        return all(getattr(self, name) == getattr(other, name) for name in OF_ENCODER)

    def with_given(self, given: Mapping[str, Any]) -> Self:
        """Return the configuration with the given values; those of `StageConfig` hold for both stages."""
        staged = {name: value for name, value in given.items() if name in fields_of(StageConfig)}
        own = {name: value for name, value in given.items() if name not in staged}
        return replace(self, first=replace(self.first, **staged), second=replace(self.second, **staged), **own)
