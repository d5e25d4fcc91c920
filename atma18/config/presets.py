"""Every number of every preset, in one place.

A configuration holds what can change a prediction and nothing else: its digest is part of a step's fingerprint.
"""

from dataclasses import dataclass, field, replace

from atma18.config.blend import BlendConfig
from atma18.config.embed import EmbedConfig
from atma18.config.gbdt import GbdtConfig
from atma18.config.nets import NetConfig, StageConfig
from atma18.config.shared_fields import CNN, GPU_INFERENCE_BATCH, INFERENCE_BATCH

_HEAD_EPOCHS = 20
_PUBLISHED_INPUTS = ("nn1", "nn2", "gbdt")


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
    inputs: tuple[str, ...] = ("motion", "nn1", "nn2", "gbdt")
    """The steps that blend reads."""


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


def _path_nets(epochs: int) -> tuple[NetConfig, NetConfig]:
    """Return nets that read the road along the path, and are trained from the start; nn2 learns from whole scenes.

    In `main`, nn2 has the encoder of nn1, and its head is trained alone.
    """
    frame = StageConfig(batch_size=64, learning_rate=3e-3, weight_decay=0.1, num_epochs=epochs)
    scene = replace(frame, batch_size=16)
    head = replace(scene, num_epochs=_HEAD_EPOCHS)
    net = NetConfig(
        first=frame,
        second=frame,
        stage="whole",
        backbone=CNN,
        view="path",
        bent_paths=5,
        target="motion",
        mirror=True,
        bounded=True,
        num_layers=1,
        hidden=64,
        augment_strength=0.1,
    )
    return net, replace(net, first=head, second=scene)


def _path_embed(random_features: int) -> EmbedConfig:
    """Return an embedding of the road along the path, with a probe that begins as the motion model."""
    return EmbedConfig(
        view="path",
        svd_components=20,
        random_features=random_features,
        target="motion",
        by_speed=True,
        ridge_alphas=(1e2, 3e2, 1e3, 3e3, 1e4, 3e4, 1e5),
    )


def _quick() -> Preset:
    nn1, nn2 = _path_nets(epochs=40)
    gbdt = GbdtConfig(
        learning_rate=0.08,
        rounds=200,
        max_depth=4,
        early_stopping_rounds=30,
        target="stacked",
        motion=True,
        bounded=True,
    )
    return Preset(nn1=nn1, nn2=nn2, gbdt=gbdt, embed=_path_embed(random_features=0), folds=3)


def _seed() -> Preset:
    nn1, nn2 = _published_nets((20, 30), (224, 224), GPU_INFERENCE_BATCH)
    gbdt, blend = GbdtConfig(learning_rate=0.003, rounds=10_000), BlendConfig(method="nelder-mead")
    embed = EmbedConfig(inference_batch=GPU_INFERENCE_BATCH)
    return Preset(
        nn1=nn1, nn2=nn2, gbdt=gbdt, embed=embed, blend=blend, inputs=_PUBLISHED_INPUTS, folds=5, for_gpu=True
    )


def _seed_small() -> Preset:
    nn1, nn2 = _published_nets((6, 6), (64, 128), INFERENCE_BATCH)
    gbdt, blend = GbdtConfig(learning_rate=0.03, rounds=10_000), BlendConfig(method="nelder-mead")
    return Preset(nn1=nn1, nn2=nn2, gbdt=gbdt, blend=blend, inputs=_PUBLISHED_INPUTS, folds=3)


def _best() -> Preset:
    nn1, nn2 = _path_nets(epochs=60)
    return Preset(
        nn1=nn1,
        nn2=nn2,
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
            bounded=True,
            light_geometry=True,
        ),
        embed=_path_embed(random_features=1000),
        inputs=("motion", "gbdt"),
        folds=3,
    )


PRESETS = {"quick": _quick(), "seed": _seed(), "seed-small": _seed_small(), "best": _best()}
"""`quick`: minutes on two CPU cores. `seed`: the published recipe. `seed-small`: the same, affordable on a CPU. `best`:
the least error, in no more time than `seed-small`."""
