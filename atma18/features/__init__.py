"""Features of samples: `table` makes the table that the trees read, `standardise` scales columns."""

from atma18.features.table import SCENE_SIGNALS, STACKING_NOISE_M, feature_table, scene_context, stacking_noise

__all__ = ["SCENE_SIGNALS", "STACKING_NOISE_M", "feature_table", "scene_context", "stacking_noise"]
