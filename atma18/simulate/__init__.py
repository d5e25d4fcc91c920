"""Simulated drives in the competition's layout, from a world simple enough to check by hand.

What happens next depends on what the CAN signals say (speed, acceleration, present curvature), on what only the frames
show (the bend ahead, the lead car, the traffic light, the place in the lane), and on what nobody can know. Speeds,
signals, scene sizes and noise follow the published statistics of the competition's data.
"""

from atma18.simulate.rendering import render
from atma18.simulate.scenes import draw_scene, scene_sizes
from atma18.simulate.writing import FEATURE_COLUMNS, Plan, source_sha256, table, write_drives, write_folder

__all__ = [
    "DEMO",
    "FEATURE_COLUMNS",
    "Plan",
    "draw_scene",
    "render",
    "scene_sizes",
    "source_sha256",
    "table",
    "write_drives",
    "write_folder",
]

DEMO = Plan(train_scenes=150, test_scenes=40, seed=0)
"""The drives that stand in where nobody has any."""
