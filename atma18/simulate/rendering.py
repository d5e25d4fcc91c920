"""What the camera sees of a moment: the road cast pixel by pixel, with lamps and the lead car as boxes on top."""

import numpy as np

from atma18.camera import COMPETITION_CAMERA
from atma18.schema import FRAME_HEIGHT_PX, FRAME_SHAPE, FRAME_WIDTH_PX, Float32Array, UInt8Array
from atma18.simulate.road import Arcs, road_coordinates, road_point
from atma18.simulate.scenes import Road, Scene
from atma18.simulate.world import Moment

SECONDS_AGO = (0.0, 0.5, 1.0)
DASH_M, DASH_PERIOD_M, PAINT_M = 3.0, 9.0, 0.16
HAZE_M = 180.0
SETBACK_M, BUILDING_M = 6.0, 12.0
LAMP_BEYOND_STOP_M, LAMP_HEIGHT_M, LAMP_M = 20.0, 2.2, 0.5
LEAD_WIDTH_M, LEAD_HEIGHT_M = 1.8, 1.5

SKY_RGB, HAZE_RGB, ASPHALT_RGB, PAINT_RGB = (150, 185, 225), (190, 196, 200), (84, 84, 88), (235, 235, 228)
BODY_RGB, WINDOW_RGB, TAIL_RGB, BRAKE_RGB, POLE_RGB = (
    (38, 40, 50),
    (86, 98, 112),
    (120, 18, 18),
    (255, 40, 40),
    (60,) * 3,
)
LAMP_RGB = {"red": (255, 40, 30), "green": (60, 255, 130)}

_FOCAL_X_PX, _FOCAL_Y_PX = COMPETITION_CAMERA.intrinsics_px[[0, 1], [0, 1]].tolist()
_CENTRE_PX, _HORIZON_PX = COMPETITION_CAMERA.intrinsics_px[:2, 2].tolist()
_CAMERA_M = COMPETITION_CAMERA.height_above_road_m
_SKY_ROWS = int(_HORIZON_PX) + 1
_GROUND_M = COMPETITION_CAMERA.road_points()[_SKY_ROWS:].astype(np.float32)  # (52, 128, 2)

Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels; pixel i reaches from i - 0.5 to i + 0.5."""
Colour = tuple[float, ...]


def render(scene: Scene) -> UInt8Array:
    """Render the (T, 3, 64, 128, 3) frames of a scene; the same scene gives the same pixels."""
    rng = np.random.default_rng(scene.noise)
    frames = np.empty((len(scene.samples), *FRAME_SHAPE), dtype=np.uint8)
    for shots, sample in zip(frames, scene.samples, strict=True):
        for shot, seconds_ago in zip(shots, SECONDS_AGO, strict=True):
            noise = rng.integers(-2, 2, (FRAME_HEIGHT_PX, FRAME_WIDTH_PX, 1), endpoint=True)
            shot[:] = np.clip(render_frame(scene, sample.moment, seconds_ago) + noise, 0, 255)
    return frames


def render_frame(scene: Scene, moment: Moment, seconds_ago: float) -> Float32Array:
    """Render one (64, 128, 3) frame without sensor noise: RGB from 0 to 255."""
    came_m = moment.came_m(seconds_ago)
    odometer_m = moment.odometer_m - came_m
    image = np.concatenate([_skyline(scene, odometer_m), _ground(scene, moment, came_m, odometer_m)])
    image *= scene.brightness
    for colour, box in lamp_boxes(scene.road, moment, seconds_ago):
        _fill(image, _pole_under(box), POLE_RGB)
        _fill(image, box, LAMP_RGB[colour])
    _draw_lead(image, moment, seconds_ago, scene.brightness)
    return np.asarray(np.clip(image, 0, 255), dtype=np.float32)


def lamp_boxes(road: Road, moment: Moment, seconds_ago: float) -> list[tuple[str, Box]]:
    """Return colour and box of each lamp that is in the image, one on each side of the road."""
    if moment.light is None:
        return []
    came_m = moment.came_m(seconds_ago)
    along_m = moment.light.stop_m + LAMP_BEYOND_STOP_M + came_m
    half_m = LAMP_M / 2
    boxes = []
    for left_m in (road.right_edge_m - 1, road.left_edge_m + 1):
        x_m, y_m = _seen(along_m, left_m, moment, came_m)
        box = _box(x_m, y_m - half_m, y_m + half_m, LAMP_HEIGHT_M - half_m, LAMP_HEIGHT_M + half_m)
        if x_m > 0 and 0 < (box[0] + box[2]) / 2 < FRAME_WIDTH_PX and (box[1] + box[3]) / 2 > 0:
            boxes.append((moment.light.colour, box))
    return boxes


def _seen(along_m: float, left_m: float, moment: Moment, came_m: float) -> tuple[float, float]:
    x_m, y_m = road_point(along_m, left_m, _arcs_from(moment, came_m)).tolist()
    return x_m, y_m - moment.left_of_lane_m


def _arcs_from(moment: Moment, came_m: float) -> Arcs:
    (first_m, curvature_per_m), *rest = moment.arcs
    return (first_m + came_m, curvature_per_m), *rest


def _skyline(scene: Scene, odometer_m: float) -> Float32Array:
    """Return the (12, 128, 3) rows above the horizon: houses or trees along both sides of a straight road."""
    aside_px = np.arange(FRAME_WIDTH_PX) - _CENTRE_PX
    wall_m = np.where(aside_px > 0, SETBACK_M - scene.road.right_edge_m, SETBACK_M + scene.road.left_edge_m)
    forward_m = _FOCAL_X_PX * wall_m / np.maximum(np.abs(aside_px), 0.5)
    house = scene.texture[((forward_m + odometer_m) // BUILDING_M).astype(int) & 255, (aside_px > 0).astype(int)]

    height_m = scene.road.building_m * (0.65 + 0.35 * house)
    top_px = _HORIZON_PX - _FOCAL_Y_PX * (height_m - _CAMERA_M) / forward_m
    covered = np.clip(np.arange(_SKY_ROWS)[:, None] + 0.5 - top_px, 0, 1)
    walls = _mix(np.multiply.outer(0.8 + 0.25 * house, scene.road.building_rgb), HAZE_RGB, _haze(forward_m))
    return _mix(np.array(SKY_RGB), walls, covered)


def _ground(scene: Scene, moment: Moment, came_m: float, odometer_m: float) -> Float32Array:
    """Return the (52, 128, 3) rows below the horizon."""
    lane_m = _GROUND_M + np.array([0, moment.left_of_lane_m], dtype=np.float32)
    along_m, left_m = road_coordinates(lane_m, _arcs_from(moment, came_m))
    along_m = along_m + np.float32(odometer_m)
    forward_m = _GROUND_M[..., 0]
    pixel_m, pixel_length_m = forward_m / _FOCAL_X_PX, forward_m**2 / (_FOCAL_Y_PX * _CAMERA_M)

    grain = 1 / (1 + (pixel_length_m / 3) ** 2)
    verge = np.multiply.outer(1 + 0.35 * grain * _texture(scene, along_m, left_m, 1.5), scene.road.verge_rgb)
    asphalt = np.multiply.outer(1 + 0.15 * grain * _texture(scene, along_m, left_m, 0.75), ASPHALT_RGB)
    to_edge_m = np.minimum(left_m - scene.road.right_edge_m, scene.road.left_edge_m - left_m)
    ground = _mix(verge, asphalt, np.clip(to_edge_m / pixel_m + 0.5, 0, 1))
    ground = _mix(ground, PAINT_RGB, _paint(scene.road, along_m, left_m, pixel_m, pixel_length_m))
    return _mix(ground, HAZE_RGB, _haze(forward_m))


def _paint(
    road: Road, along_m: Float32Array, left_m: Float32Array, pixel_m: Float32Array, pixel_length_m: Float32Array
) -> Float32Array:
    # A pixel that is as long as a dash and its gap shows their mean.
    blur = np.minimum(pixel_length_m / DASH_PERIOD_M, 1)
    dash = (1 - blur) * (along_m % DASH_PERIOD_M < DASH_M) + blur * (DASH_M / DASH_PERIOD_M)
    paint = np.zeros_like(left_m)
    for line in range(road.lanes + 1):
        distance_m = np.abs(left_m - (line - 0.5) * road.lane_m)
        covered = np.clip((PAINT_M + pixel_m) / 2 - distance_m, 0, np.minimum(PAINT_M, pixel_m)) / pixel_m
        paint = np.maximum(paint, covered if line in (0, road.lanes) else covered * dash)
    return paint


def _texture(scene: Scene, along_m: Float32Array, left_m: Float32Array, cell_m: float) -> Float32Array:
    rows, columns = (np.floor(metres / cell_m).astype(np.int32) & 255 for metres in (along_m, left_m))
    return np.asarray(scene.texture[rows, columns])


def _haze(forward_m: Float32Array) -> Float32Array:
    return np.asarray(1 - np.exp(-forward_m / HAZE_M))


def _mix(below: Float32Array, above: Float32Array | Colour, share: Float32Array) -> Float32Array:
    return below + share[..., None] * (np.asarray(above, dtype=np.float32) - below)


def _box(x_m: float, right_m: float, left_m: float, low_m: float, high_m: float) -> Box:
    """Project an upright rectangle that faces the camera; heights are above the road."""
    across_px, down_px = _FOCAL_X_PX / max(x_m, 1.0), _FOCAL_Y_PX / max(x_m, 1.0)
    return (
        _CENTRE_PX - across_px * left_m,
        _HORIZON_PX + down_px * (_CAMERA_M - high_m),
        _CENTRE_PX - across_px * right_m,
        _HORIZON_PX + down_px * (_CAMERA_M - low_m),
    )


def _pole_under(lamp: Box) -> Box:
    left, _, right, bottom = lamp
    middle, half = (left + right) / 2, (right - left) / 8
    ground = bottom + (right - left) * (LAMP_HEIGHT_M / LAMP_M - 0.5)
    return middle - half, bottom, middle + half, ground


def _draw_lead(image: Float32Array, moment: Moment, seconds_ago: float, brightness: float) -> None:
    if moment.lead is None:
        return
    x_m, y_m = _seen(moment.past_gap_m(seconds_ago), 0.0, moment, moment.came_m(seconds_ago))
    if x_m <= 0:
        return
    half_m = LEAD_WIDTH_M / 2
    _fill(image, _box(x_m, y_m - half_m, y_m + half_m, 0.15, LEAD_HEIGHT_M), _scaled(BODY_RGB, brightness))
    _fill(image, _box(x_m, y_m - 0.7, y_m + 0.7, 1.0, 1.4), _scaled(WINDOW_RGB, brightness))
    lit = BRAKE_RGB if moment.lead.brakes else _scaled(TAIL_RGB, brightness)
    for lamp_m in (y_m - 0.65, y_m + 0.65):
        _fill(image, _box(x_m, lamp_m - 0.2, lamp_m + 0.2, 0.6, 0.95), lit)


def _scaled(colour: Colour, brightness: float) -> Colour:
    return tuple(brightness * channel for channel in colour)


def _fill(image: Float32Array, box: Box, colour: Colour) -> None:
    """Fill a box in place; a pixel that it covers in part takes that part of the colour."""
    columns = _covered(box[0], box[2], FRAME_WIDTH_PX)
    rows = _covered(box[1], box[3], FRAME_HEIGHT_PX)
    image += np.multiply.outer(rows, columns)[..., None] * (np.asarray(colour, dtype=np.float32) - image)


def _covered(first: float, last: float, count: int) -> Float32Array:
    pixels = np.arange(count)
    covered = np.minimum(last, pixels + 0.5) - np.maximum(first, pixels - 0.5)
    return np.asarray(np.clip(covered, 0, 1), dtype=np.float32)
