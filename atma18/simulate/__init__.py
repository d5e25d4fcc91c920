"""Simulated drives in the layout of the competition's data, which cannot be redistributed.

A scene is one minute of a drive on a road with bends, hills, speed limits, junctions and traffic lights, with or
without a car in front. The future of a sample depends on its CAN signals, on other samples of the scene (the driver's
speed, the trim of the steering wheel), on what only the frames show (the bend ahead, the car in front and its brake
lights, traffic lights, slope, position in the lane), and on random choices of the driver that nothing shows.
`benchmarks/simulator` compares every statistic with the published one.

Waypoints are positions of the road under the camera, in the vehicle frame at t: x forward, y left, z *down*. The
published projection adds z to the camera's height, and z correlates with the acceleration in the same direction: a car
that accelerates lifts its nose, and the road ahead lies lower in its frame.

`kinds` holds the kinds of road; `road`, `junctions` and `route` draw a road; `driving` simulates the drive, `canbus`
its signals, `scenes` the scene and its samples; `view`, `lamps` and `rendering` draw the frames; `writing` writes a
dataset folder.
"""

from atma18.simulate.driving import Drive
from atma18.simulate.lamps import detections
from atma18.simulate.rendering import render
from atma18.simulate.scenes import SCENES_BY_SIZE, SPLITS, Scene, draw_scene, scene_sizes
from atma18.simulate.view import View
from atma18.simulate.writing import Plan, Task, mapper, row, source_sha256, write_drives, write_folder

__all__ = [
    "DEMO",
    "SCENES_BY_SIZE",
    "SPLITS",
    "Drive",
    "Plan",
    "Scene",
    "Task",
    "View",
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
"""The drives of `data=demo`."""
