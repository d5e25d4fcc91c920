"""Traffic lights: their appearance in the frames, and the output of a simulated detector with its errors."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from atma18.schema import FRAME_HEIGHT_PX, FRAME_WIDTH_PX, BoolArray, Detection, FloatArray
from atma18.simulate.driving import START_S, STEP_S
from atma18.simulate.route import Route
from atma18.simulate.scenes import Scene
from atma18.simulate.view import FOCAL_X_PX, View

HEAD_WIDTH_M, HEAD_HEIGHT_M = 1.25, 0.5
FARTHEST_M = 130.0
NARROWEST_PX = HEAD_WIDTH_M * FOCAL_X_PX / FARTHEST_M
HOUSING_RGB, POLE_RGB = (25, 25, 28), (60, 60, 60)
LAMP_RGB = {"red": (255, 40, 30), "yellow": (255, 200, 40), "green": (60, 255, 130)}
ARROW_SIDE = {"left": -1, "straight": 0, "right": 1}
MISREAD, UNREADABLE, OTHER = 0.04, 0.09, 0.004
"""Shares of heads whose colour is detected wrongly, not at all, or as another class."""
SURE_PX = 2.6
"""A head of this width is always detected, a narrower one with a probability proportional to its width."""
BLUR = 0.08
"""Standard deviation of the edges of a box, in widths of the box."""
OUTSIDE_PX = 0.07
"""How far boxes reach beyond the image."""

_SIZE_PX = (FRAME_WIDTH_PX, FRAME_HEIGHT_PX)

Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels; pixel i covers i - 0.5 to i + 0.5."""


@dataclass(frozen=True)
class Head:
    """A traffic light in the image."""

    box: Box
    colour: str
    arrows: tuple[str, ...]

    def paintings(self) -> Iterator[tuple[tuple[float, ...], Box]]:
        """Yield the pole, the housing, the lit lamp and the arrows below it."""
        left, top, right, bottom = self.box
        width, height = right - left, bottom - top
        yield POLE_RGB, ((left + right) / 2 - width / 16, bottom, (left + right) / 2 + width / 16, bottom + 6 * height)
        yield HOUSING_RGB, (left - width / 8, top - height / 4, right + width / 8, bottom + height / 4)
        yield LAMP_RGB[self.colour], self.box
        for arrow in self.arrows:
            middle = (left + right) / 2 + ARROW_SIDE[arrow] * width / 3
            yield LAMP_RGB["green"], (middle - width / 6, bottom, middle + width / 6, bottom + height)


def heads(route: Route, view: View, step: int) -> list[Head]:
    """Return the heads in the image that are near enough to be visible, from far to near."""
    in_view = []
    for light in reversed(route.lights):
        if not -40 < light.stop_m - view.along_m < FARTHEST_M:
            continue
        colour, arrows = light.shows(START_S + step * STEP_S)
        x_m, y_m, heights_m = np.array(light.heads).reshape(-1, 3).T
        world = np.stack([x_m, y_m], axis=-1)
        boxes = view.boxes(world, HEAD_WIDTH_M, heights_m - HEAD_HEIGHT_M / 2, heights_m + HEAD_HEIGHT_M / 2)
        in_view += [Head(tuple(box), colour, arrows) for box in boxes[_legible(boxes)].tolist()]
    return in_view


def _legible(boxes_px: FloatArray) -> BoolArray:
    across_px, down_px = (boxes_px[:, 0] + boxes_px[:, 2]) / 2, (boxes_px[:, 1] + boxes_px[:, 3]) / 2
    inside = (across_px > 0) & (across_px < FRAME_WIDTH_PX) & (down_px > 0) & (down_px < FRAME_HEIGHT_PX)
    return np.asarray(inside & (boxes_px[:, 2] - boxes_px[:, 0] > NARROWEST_PX))


def detections(scene: Scene, step: int) -> list[Detection]:
    """Return the detections of a frame: some heads missed, some misread, boxes with noise, each arrow on its own."""
    rng = np.random.default_rng(np.random.SeedSequence(scene.noise.entropy, spawn_key=(*scene.noise.spawn_key, step)))
    detected: list[Detection] = []
    for head in heads(scene.drive.route, View.of(scene, step), step):
        width_px = head.box[2] - head.box[0]
        if rng.random() > width_px / SURE_PX:
            continue
        edges_px = np.array(head.box) + rng.normal(0, BLUR * width_px, 4)
        left, top, right, bottom = np.clip(edges_px, -OUTSIDE_PX, np.array(_SIZE_PX * 2) + 2 * OUTSIDE_PX).tolist()
        detected += [(name, (left, top, right, bottom)) for name in _read(head, rng)]
    return detected


def _read(head: Head, rng: np.random.Generator) -> list[str]:
    wrong = [name for name in ("red", "yellow", "green") if name != head.colour]
    right = 1 - MISREAD - UNREADABLE - OTHER
    shares = [right, MISREAD / 2, MISREAD / 2, UNREADABLE, OTHER]
    colour = str(rng.choice([head.colour, *wrong, "empty", "other"], p=shares))
    return [colour, *(arrow for arrow in head.arrows if rng.random() < 0.8)]
