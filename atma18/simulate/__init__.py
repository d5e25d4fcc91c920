"""Simulated drives in the competition's layout, which can't be handed out itself.

A driver with moods drives a car for a minute along a road with bends, hills, limits, junctions and lights, behind
somebody or alone, and takes samples of it. What happens next follows in part from the CAN signals, in part from the
other samples of the scene (the driver's pace, the trim of the steering wheel), in part from what only the frames show
(the bend ahead, the car in front and its brake lights, the lights, the slope, the place in the lane), and in part from
nothing that is told. `benchmarks/simulator` puts every statistic beside the published one.

Waypoints are positions of the road under the camera, in the vehicle frame at t: x forward, y left, and z *down*, as the
published projection reads it (it adds z to the camera's height) and as its correlation with the acceleration says: who
speeds up lifts the car's nose, and the road ahead lies lower in its frame.
"""

from atma18.simulate.driving import Drive
from atma18.simulate.lamps import detections
from atma18.simulate.rendering import render
from atma18.simulate.scenes import SCENES_BY_SIZE, SPLITS, Scene, draw_scene, scene_sizes
from atma18.simulate.view import View
from atma18.simulate.writing import (
    FEATURE_COLUMNS,
    Plan,
    Row,
    Task,
    as_table,
    mapper,
    row,
    source_sha256,
    write_drives,
    write_folder,
)

__all__ = [
    "DEMO",
    "FEATURE_COLUMNS",
    "SCENES_BY_SIZE",
    "SPLITS",
    "Drive",
    "Plan",
    "Row",
    "Scene",
    "Task",
    "View",
    "as_table",
    "detections",
    "draw_scene",
    "mapper",
    "render",
    "row",
    "scene_sizes",
    "source_sha256",
    "write_drives",
    "write_folder",
]

DEMO = Plan(train_scenes=150, test_scenes=40, seed=0)
"""The drives that stand in where nobody has any."""
