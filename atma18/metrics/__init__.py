"""Metrics and their confidence intervals.

`errors` holds the error measures and the scene bootstrap, `scores` the errors by axis, horizon, scene size and speed,
`evaluation` the scores on withheld test targets, and `verdict` the checks of a candidate for promotion.
"""

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
