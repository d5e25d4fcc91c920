"""Nets nn1 and nn2: architecture, fitted model, checkpoints and two-stage training."""

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
