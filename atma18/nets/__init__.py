"""nn1 and nn2: the nets, what predicts with them, and their two-stage training."""

from atma18.nets.architecture import (
    NETS,
    AttentionHead,
    FrameEncoder,
    FrameHead,
    FrameNet,
    Net,
    SceneHead,
    SceneLayout,
    SceneNet,
    scene_lengths,
    sinusoidal_positions,
)

__all__ = [
    "NETS",
    "AttentionHead",
    "FrameEncoder",
    "FrameHead",
    "FrameNet",
    "Net",
    "SceneHead",
    "SceneLayout",
    "SceneNet",
    "scene_lengths",
    "sinusoidal_positions",
]
