"""Every number of every preset, in one place.

A configuration holds what can change a prediction and nothing else: its digest is part of a step's fingerprint.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, is_dataclass, replace
from math import inf
from types import NoneType, UnionType
from typing import Any, Literal, Self, TypeVar, get_args, get_origin, get_type_hints

from atma18.config.groups import Groups, check_groups
from atma18.schema import shown

Stage = Literal["first", "second", "both"]
Target = Literal["absolute", "residual", "motion"]
NET_TARGETS: tuple[Target, ...] = ("absolute", "residual", "motion")
BoostedTarget = Literal["absolute", "residual", "motion", "stacked"]
BOOSTED_TARGETS: tuple[BoostedTarget, ...] = (*NET_TARGETS, "stacked")
Objective = Literal["squared", "absolute", "huber"]
OBJECTIVES: tuple[Objective, ...] = ("squared", "absolute", "huber")
Reads = Literal["all", "frames"]
NET_READS: tuple[Reads, ...] = ("all", "frames")
Pixels = Literal["normalised", "unit", "bytes"]
PIXELS: tuple[Pixels, ...] = ("normalised", "unit", "bytes")
Mixer = Literal["lstm", "attention"]
MIXERS: tuple[Mixer, ...] = ("lstm", "attention")
ATTENTION_HEADS = 4
Engine = Literal["xgboost", "catboost", "catboost-multi"]
Engines = Literal["xgboost", "catboost", "catboost-multi", "both"]
ENGINES: tuple[Engines, ...] = ("xgboost", "catboost", "catboost-multi", "both")
TURNS: tuple[Engine, ...] = ("xgboost", "catboost")
Method = Literal["exact", "nelder-mead", "equal"]
BLEND_METHODS: tuple[Method, ...] = ("exact", "nelder-mead", "equal")

Mix = Literal["train", "test"]
MIXES: tuple[Mix, ...] = ("train", "test")

LITE0 = "lite0"

INFERENCE_BATCH, GPU_INFERENCE_BATCH = 16, 64
"""Samples. A CPU keeps what 16 need in its caches, and a scene of six then takes a quarter of the time of 64."""

C = TypeVar("C")


def config_from_json(kind: type[C], values: Mapping[str, Any]) -> C:
    """Build a configuration from what `dataclasses.asdict` and JSON made of it.

    Raises:
        TypeError: If a key is unknown or missing, or a value of another type.
    """
    types = get_type_hints(kind)

    def revive(name: str, value: Any) -> Any:  # noqa: ANN401 - any JSON value
        if is_dataclass(types.get(name)):
            return config_from_json(types[name], value)
        if not _fits(value, types.get(name)):
            raise TypeError(f"expected {name} of type {types[name]}, found {shown(value)}")
        return tuple(revive("", item) for item in value) if isinstance(value, list) else value

    return kind(**{name: revive(name, value) for name, value in values.items()})


def _fits(value: object, kind: Any) -> bool:  # noqa: ANN401 - any type
    """Say whether a JSON value is one of a field's type."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Literal:
        return value in inner
    if origin is UnionType:
        return any(_fits(value, choice) for choice in inner)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            return False
        kinds = inner[:1] * len(value) if inner[1:] == (...,) else inner
        return len(value) == len(kinds) and all(map(_fits, value, kinds))
    if kind is float:
        return type(value) in (int, float)
    return type(value) is kind if kind in (bool, int, str, NoneType) else True


def _require(valid: bool, expected: str, found: object) -> None:
    if not valid:
        raise ValueError(f"expected {expected}, found {shown(found)}")


def _require_per_metre(by_speed: bool, target: str) -> None:
    _require(not by_speed or target != "absolute", "target residual or motion with by_speed", target)


@dataclass(frozen=True)
class EmbedConfig:
    """Cell embeddings of a frozen backbone, their SVDs, and a ridge probe on them."""

    backbone: str = LITE0
    """A name that `backbones.build` knows."""
    pixels: Pixels = "normalised"
    """What the backbone reads of a pixel: RGB normalised as its weights expect it, in [0, 1] as the published nets, or
    from 0 to 255 as the published embedding."""
    svd_components: int = 10
    """Components kept per cell of the frame at t."""
    ridge_alphas: tuple[float, ...] = (1.0, 10.0, 100.0, 1000.0, 10000.0)
    """Candidates for the probe's penalty, chosen on whole scenes inside the training part."""
    waves: int = 0
    """So many random cosines of the features does the probe read beside them: bends that a line cannot follow."""
    target: Target = "absolute"
    """What the probe learns the difference to, as in `NetConfig`."""
    by_speed: bool = False
    """Say the difference per metre driven, as in `NetConfig`."""
    autocast: bool = False
    """Run the backbone in bfloat16."""
    inference_batch: int = INFERENCE_BATCH
    """Every batch is padded to this many samples, so that a row does not depend on its neighbours."""
    seed: int = 0

    def __post_init__(self) -> None:
        _require(self.pixels in PIXELS, f"pixels {', '.join(PIXELS)}", self.pixels)
        _require(self.svd_components >= 1, "svd_components of at least 1", self.svd_components)
        _require(min(self.ridge_alphas, default=0) > 0, "ridge_alphas above 0", self.ridge_alphas)
        _require(self.waves >= 0, "waves of at least 0", self.waves)
        _require(self.target in NET_TARGETS, f"target {', '.join(NET_TARGETS)}", self.target)
        _require_per_metre(self.by_speed, self.target)
        _require(self.inference_batch >= 1, "an inference_batch of at least 1", self.inference_batch)


@dataclass(frozen=True)
class StageConfig:
    """One of the two training stages of a net."""

    batch_size: int
    """Samples (nn1) or scenes (nn2) per step."""
    learning_rate: float
    weight_decay: float
    num_epochs: int
    patience: int | None = None
    """Epochs without a better held-out MAE before the stage ends; None lets it run in full."""

    def __post_init__(self) -> None:
        _require(self.batch_size >= 1, "batch_size of at least 1", self.batch_size)
        _require(self.num_epochs >= 1, "num_epochs of at least 1", self.num_epochs)
        _require(0 < self.learning_rate < inf, "a learning_rate above 0", self.learning_rate)
        _require(0 <= self.weight_decay < inf, "a weight_decay of at least 0", self.weight_decay)
        _require(self.patience is None or self.patience >= 1, "a patience of at least 1, or none", self.patience)


@dataclass(frozen=True)
class NetConfig:
    """FrameNet (nn1) or SceneNet (nn2) and how it is trained."""

    first: StageConfig
    """The backbone frozen."""
    second: StageConfig
    """All weights."""
    backbone: str = LITE0
    pixels: Pixels = "normalised"
    """What the backbone reads of a pixel, as in `EmbedConfig`."""
    stage: Stage = "both"
    target: Target = "residual"
    """`absolute`: metres as published. `residual`: standardised difference to constant velocity, `motion`: to a motion
    model that is fitted to the training rows."""
    by_speed: bool = False
    """Say the difference per metre driven, not per second: what frames show of a road bends a car by the metre."""
    context: bool = False
    """Read what the other samples of the scene say: statistics of the signals, and the neighbours'."""
    mirror: bool = False
    """Train on mirrored samples too, half of the time, and average predictions over both sides of the mirror."""
    reads: Reads = "all"
    """`frames` leaves the signals, and with them the context, to the target's origin."""
    differences: bool = False
    """Show the backbone the frame at t and what changed since each frame before, not the three frames."""
    mixer: Mixer = "lstm"
    """How nn2 looks over the samples of a scene."""
    num_layers: int = 2
    """Hidden layers of the MLP (nn1), layers of the LSTM or of attention (nn2)."""
    hidden: int = 128
    size_px: tuple[int, int] = (64, 128)
    """Height and width to which frames are resized on the device."""
    augment_probability: float = 0.5
    """Chance that a sample's three frames get one random brightness and contrast."""
    augment_strength: float = 0.2
    """Largest relative change of contrast, and of brightness as a share of full scale."""
    distort: bool = False
    """Blur, disturb, shift or partly cover the frames of samples that are changed."""
    average: float = 0.0
    """Decay per step of the moving average of the weights that is kept in their place; 0 keeps the last weights."""
    splits: int = 1
    """Nets for each fold: the further ones belong to other fold splits and seeds, and are averaged with it."""
    views: int = 4
    """So many changed views of each sample does the first stage turn through: what its frozen backbone sees in them is
    computed once. The second stage draws anew every time."""
    view_noise: float = 0.5
    """So many standard deviations of noise, drawn anew each time, are added to what is kept of a view: few views then
    stand for the many that a backbone would see if it looked in every epoch."""
    causal: bool = False
    """Look at earlier samples of the scene only: nn2 by a one-directional LSTM, either net in its context."""
    autocast: bool = False
    """Run the backbone in bfloat16."""
    inference_batch: int = INFERENCE_BATCH
    seed: int = 0

    def __post_init__(self) -> None:
        _require(self.pixels in PIXELS, f"pixels {', '.join(PIXELS)}", self.pixels)
        _require(self.stage in ("first", "second", "both"), "stage first, second or both", self.stage)
        _require(self.target in NET_TARGETS, f"target {', '.join(NET_TARGETS)}", self.target)
        _require(self.num_layers >= 1, "num_layers of at least 1", self.num_layers)
        _require(self.hidden >= 1, "hidden of at least 1", self.hidden)
        _require(min(self.size_px) >= 1, "size_px of at least 1", self.size_px)
        _require(0 <= self.augment_probability <= 1, "an augment_probability from 0 to 1", self.augment_probability)
        _require(0 <= self.augment_strength <= 1, "an augment_strength from 0 to 1", self.augment_strength)
        _require_per_metre(self.by_speed, self.target)
        _require(self.reads in NET_READS, f"reads {' or '.join(NET_READS)}", self.reads)
        _require(self.mixer in MIXERS, f"mixer {' or '.join(MIXERS)}", self.mixer)
        evenly = self.mixer == "lstm" or self.hidden % ATTENTION_HEADS == 0
        _require(evenly, f"hidden of a multiple of {ATTENTION_HEADS} with mixer attention", self.hidden)
        _require(0 <= self.average < 1, "an average from 0 to below 1", self.average)
        _require(self.splits >= 1, "splits of at least 1", self.splits)
        _require(self.views >= 1, "views of at least 1", self.views)
        _require(0 <= self.view_noise < inf, "a view_noise of at least 0", self.view_noise)
        _require(self.inference_batch >= 1, "an inference_batch of at least 1", self.inference_batch)

    @property
    def reads_context(self) -> bool:
        """Whether a prediction depends on the signals of other samples of the scene."""
        return self.context and self.reads == "all"

    def with_given(self, given: Mapping[str, Any]) -> Self:
        """Return the configuration with the given values; those of `StageConfig` hold for both stages."""
        staged = {name: value for name, value in given.items() if name in StageConfig.__dataclass_fields__}
        own = {name: value for name, value in given.items() if name not in staged}
        return replace(self, first=replace(self.first, **staged), second=replace(self.second, **staged), **own)


@dataclass(frozen=True)
class GbdtConfig:
    """Gradient-boosted trees for each fold. Names follow XGBoost."""

    learning_rate: float
    rounds: int
    """Most rounds of boosting."""
    engine: Engines = "xgboost"
    """`catboost-multi` fits all targets with the same trees; with `both`, XGBoost and CatBoost take turns by bag."""
    early_stopping_rounds: int = 100
    """Rounds without a better MAE on held-out scenes of the training part."""
    bags: int = 1
    """Boosters per target, each stopped early on other scenes; their mean is predicted."""
    max_depth: int = 11
    min_child_weight: float = 9.0
    gamma: float = 0.15
    reg_alpha: float = 3.25
    reg_lambda: float = 1.38
    subsample: float = 0.8
    colsample_bytree: float = 0.265
    target: BoostedTarget = "absolute"
    """`residual` boosts the difference to constant velocity, `motion` that to a motion model that is fitted to the
    training rows, `stacked` that to the mean of the nets' predictions."""
    objective: Objective = "squared"
    """The loss of a tree's leaves; what ends boosting is always the mean absolute error."""
    motion: bool = False
    """Read where the fitted motion model says that the car goes."""
    neighbours: bool = False
    """Read what the nets predict for the samples before and after."""
    probe: bool = False
    """Read what embed's probe predicts, as what the nets do."""
    light_geometry: bool = False
    """Read where the largest light of each colour is, and how large."""
    noise_scale: float = 0.5
    """Share of the published noise added to the stacked predictions of training rows."""
    causal: bool = False
    """Leave out every feature that looks at a later sample of the scene."""
    seed: int = 0

    def __post_init__(self) -> None:
        _require(self.engine in ENGINES, f"engine {', '.join(ENGINES)}", self.engine)
        _require(self.target in BOOSTED_TARGETS, f"target {', '.join(BOOSTED_TARGETS)}", self.target)
        _require(self.objective in OBJECTIVES, f"objective {', '.join(OBJECTIVES)}", self.objective)
        multi = self.engine == "catboost-multi"
        _require(self.objective == "squared" or not multi, "objective squared with catboost-multi", self.objective)
        _require(0 < self.learning_rate < inf, "a learning_rate above 0", self.learning_rate)
        _require(self.rounds >= 1, "rounds of at least 1", self.rounds)
        _require(self.bags >= 1, "bags of at least 1", self.bags)
        alone = self.engine == "both" and self.bags < len(TURNS)
        _require(not alone, f"at least {len(TURNS)} bags with engine both", self.bags)
        _require(self.max_depth >= 1, "max_depth of at least 1", self.max_depth)
        _require(0 <= self.noise_scale < inf, "a noise_scale of at least 0", self.noise_scale)

    def engine_of(self, bag: int) -> Engine:
        """Return what grows the trees of a bag."""
        return TURNS[bag % len(TURNS)] if self.engine == "both" else self.engine


@dataclass(frozen=True)
class BlendConfig:
    """Convex weights per scene-size group."""

    groups: Groups = ((1, 2), (3, None))
    method: Method = "exact"
    """`exact` reaches the least MAE and proves it, `nelder-mead` is the published search, `equal` fits nothing."""
    max_iterations: int = 1000
    """Of Nelder–Mead."""
    mix: Mix = "train"
    """`test` lets the samples of a scene size count for as much as they do in the test split."""

    def __post_init__(self) -> None:
        check_groups(self.groups)
        _require(self.method in BLEND_METHODS, f"method {', '.join(BLEND_METHODS)}", self.method)
        _require(self.mix in MIXES, f"mix {' or '.join(MIXES)}", self.mix)


@dataclass(frozen=True)
class Preset:
    """One configuration for each step."""

    nn1: NetConfig
    nn2: NetConfig
    gbdt: GbdtConfig
    folds: int
    for_gpu: bool = False
    """Whether a CPU would need many hours."""
    embed: EmbedConfig = field(default_factory=EmbedConfig)
    blend: BlendConfig = field(default_factory=BlendConfig)


def _published_nets(
    epochs: tuple[int, int], size_px: tuple[int, int], inference_batch: int
) -> tuple[NetConfig, NetConfig]:
    first = StageConfig(batch_size=128, learning_rate=2e-3, weight_decay=1e-6, num_epochs=epochs[0])
    frame = StageConfig(batch_size=128, learning_rate=5e-4, weight_decay=1e-6, num_epochs=epochs[1], patience=6)
    scene = StageConfig(batch_size=16, learning_rate=2e-4, weight_decay=1e-6, num_epochs=epochs[1], patience=6)
    return (
        NetConfig(first=first, second=frame, target="absolute", size_px=size_px, inference_batch=inference_batch),
        NetConfig(first=first, second=scene, target="absolute", size_px=size_px, inference_batch=inference_batch),
    )


def _quick() -> Preset:
    frame = StageConfig(batch_size=32, learning_rate=2e-3, weight_decay=1e-2, num_epochs=4)
    scene = StageConfig(batch_size=8, learning_rate=2e-3, weight_decay=1e-2, num_epochs=4)
    return Preset(
        nn1=NetConfig(first=frame, second=StageConfig(16, 5e-4, 1e-2, num_epochs=5)),
        nn2=NetConfig(first=scene, second=StageConfig(4, 5e-4, 1e-2, num_epochs=5)),
        gbdt=GbdtConfig(learning_rate=0.08, rounds=200, max_depth=4, early_stopping_rounds=30, target="residual"),
        folds=3,
    )


def _seed() -> Preset:
    nn1, nn2 = _published_nets((20, 30), (224, 224), GPU_INFERENCE_BATCH)
    gbdt, blend = GbdtConfig(learning_rate=0.003, rounds=10_000), BlendConfig(method="nelder-mead")
    embed = EmbedConfig(inference_batch=GPU_INFERENCE_BATCH)
    return Preset(nn1=nn1, nn2=nn2, gbdt=gbdt, embed=embed, blend=blend, folds=5, for_gpu=True)


def _seed_small() -> Preset:
    nn1, nn2 = _published_nets((6, 6), (64, 128), INFERENCE_BATCH)
    gbdt, blend = GbdtConfig(learning_rate=0.03, rounds=10_000), BlendConfig(method="nelder-mead")
    return Preset(nn1=nn1, nn2=nn2, gbdt=gbdt, blend=blend, folds=3)


def _best() -> Preset:
    frame = StageConfig(batch_size=32, learning_rate=2e-3, weight_decay=1e-2, num_epochs=12)
    scene = StageConfig(batch_size=8, learning_rate=2e-3, weight_decay=1e-2, num_epochs=12)
    net = NetConfig(first=frame, second=frame, target="motion", context=True, mirror=True)
    return Preset(
        nn1=replace(net, second=StageConfig(32, 5e-4, 1e-2, num_epochs=5)),
        nn2=replace(net, first=scene, second=StageConfig(8, 5e-4, 1e-2, num_epochs=5)),
        gbdt=GbdtConfig(
            learning_rate=0.08,
            rounds=2000,
            engine="both",
            max_depth=5,
            early_stopping_rounds=40,
            bags=4,
            target="stacked",
            objective="huber",
            motion=True,
            probe=True,
            light_geometry=True,
        ),
        embed=EmbedConfig(waves=1000, target="motion", by_speed=True, ridge_alphas=(1e2, 3e2, 1e3, 3e3, 1e4, 3e4, 1e5)),
        folds=3,
    )


PRESETS = {"quick": _quick(), "seed": _seed(), "seed-small": _seed_small(), "best": _best()}
"""`quick`: minutes on two CPU cores. `seed`: the published recipe. `seed-small`: the same, affordable on a CPU. `best`:
the least error, in no more time than `seed-small`."""
