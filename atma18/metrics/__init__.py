"""Errors by axis, horizon, scene size and speed, their intervals over scenes, and the verdict on a candidate."""

from atma18.metrics.errors import (
    SIZE_CLASSES,
    SPEED_BANDS,
    absolute_errors_m,
    in_fold_median,
    mae_m,
    scene_bootstrap,
    size_class,
    size_mix,
    speed_band,
)

__all__ = [
    "SIZE_CLASSES",
    "SPEED_BANDS",
    "absolute_errors_m",
    "in_fold_median",
    "mae_m",
    "scene_bootstrap",
    "size_class",
    "size_mix",
    "speed_band",
]
