"""Rendering of frames: the ground pixel by pixel, then the objects on it from far to near."""

from collections.abc import Iterator, Sequence
from math import isnan

import numpy as np

from atma18.schema import FRAME_HEIGHT_PX, FRAME_SHAPE, FRAME_WIDTH_PX, Float32Array, FloatArray, UInt8Array
from atma18.simulate.driving import REAR_M, STEP_S, Drive
from atma18.simulate.junctions import STOP_LINE_M, Junction
from atma18.simulate.kinds import RoadKind
from atma18.simulate.lamps import heads
from atma18.simulate.scenes import Scene
from atma18.simulate.view import CAMERA_HEIGHT_M, FOCAL_Y_PX, HORIZON_PX, View

SECONDS_AGO = (0.0, 0.5, 1.0)
DASH_M, DASH_PERIOD_M, PAINT_M, STOP_PAINT_M = 3.0, 9.0, 0.16, 0.6
HAZE_M = 180.0
STREET_M = 60.0
"""Visible length of other streets."""
SETBACK_M, BUILDING_M, PLOT_M, BUILT_UP_M = 4.0, 7.0, 12.0, 150.0
LEAD_PARTS_M = np.array([(0, 1.8, 0.15, 1.5), (0, 1.4, 1.0, 1.4), (-0.65, 0.42, 0.6, 0.95), (0.65, 0.42, 0.6, 0.95)])
"""Offset to the left, width, lower and upper edge of the body, the window and the two rear lights."""
BRAKE_LIGHTS_MPS2 = -0.4
SIGN_HEIGHT_M, SIGN_M = 2.2, 0.7

SKY_RGB, HAZE_RGB, ASPHALT_RGB, PAINT_RGB = (150, 185, 225), (190, 196, 200), (84, 84, 88), (235, 235, 228)
BODY_RGB, WINDOW_RGB, TAIL_RGB, BRAKE_RGB = (38, 40, 50), (86, 98, 112), (120, 18, 18), (255, 40, 40)
SIGN_RGB = (200, 30, 30)

Colour = tuple[float, ...] | Float32Array
Paintings = Iterator[tuple[Colour, Sequence[float] | FloatArray]]


def render(scene: Scene) -> UInt8Array:
    """Render the (T, 3, 64, 128, 3) frames of a scene; the same scene gives the same pixels."""
    rng = np.random.default_rng(scene.noise)
    frames = np.empty((len(scene.samples), *FRAME_SHAPE), dtype=np.uint8)
    for shots, sample in zip(frames, scene.samples, strict=True):
        for shot, seconds_ago in zip(shots, SECONDS_AGO, strict=True):
            noise = rng.integers(-2, 2, (FRAME_HEIGHT_PX, FRAME_WIDTH_PX, 1), endpoint=True)
            shot[:] = np.clip(render_frame(scene, sample.step - round(seconds_ago / STEP_S)) + noise, 0, 255)
    return frames


def render_frame(scene: Scene, step: int) -> Float32Array:
    """Render one (64, 128, 3) frame without sensor noise: RGB from 0 to 255."""
    view = View.of(scene, step)
    image = np.concatenate([_sky(view), _ground(scene, view)])
    for colour, box in _roadside(scene, view):
        _fill(image, box, colour)
    image *= _light_on(view, scene.daylight)[..., None]
    for colour, box in _lamps(scene, view, step):
        _fill(image, box, colour)
    return np.asarray(np.clip(image, 0, 255), dtype=np.float32)


def _sky(view: View) -> Float32Array:
    rows = np.flatnonzero(np.isnan(view.forward_m))
    low = np.clip(1 - (HORIZON_PX - rows) / 12, 0, 1).astype(np.float32)
    column = _mix(np.asarray(SKY_RGB, dtype=np.float32), HAZE_RGB, low)
    return np.repeat(column[:, None], FRAME_WIDTH_PX, axis=1)


def _ground(scene: Scene, view: View) -> Float32Array:
    """Return the rows that show ground: verge, other streets, the road and its lines, with haze over all."""
    route = scene.drive.route
    points_m, along_m, left_m = view.ground
    forward_m = points_m[..., 0]
    pixel_m, pixel_length_m = _breadth(left_m), forward_m**2 / (FOCAL_Y_PX * CAMERA_HEIGHT_M)

    grain = 1 / (1 + (pixel_length_m / 3) ** 2)
    verge = np.multiply.outer(1 + 0.35 * grain * _texture(scene, along_m, left_m, 1.5), route.kind.verge_rgb)
    asphalt = np.multiply.outer(1 + 0.15 * grain * _texture(scene, along_m, left_m, 0.75), ASPHALT_RGB)
    inside_m = np.minimum(left_m - route.kind.right_edge_m, route.kind.left_edge_m - left_m)
    paint = _lines(route.kind, along_m, left_m, pixel_m, pixel_length_m)
    for junction in _near(route.junctions, view):
        for arm in junction.arms:
            inside_m = np.maximum(inside_m, _inside_street(view.local(np.array(arm)), points_m, route.kind))
        paint = _across(junction, route.kind, paint, along_m, left_m, pixel_length_m)
    ground = _mix(verge, asphalt, np.clip(inside_m / pixel_m + 0.5, 0, 1))
    return _mix(_mix(ground, PAINT_RGB, paint), HAZE_RGB, 1 - np.exp(-forward_m / HAZE_M))


def _breadth(left_m: Float32Array) -> Float32Array:
    """Return the width in metres across the road of each pixel; it is large where the road runs across the view."""
    across_m = np.gradient(left_m, axis=1)
    down_m = np.gradient(left_m, axis=0) if len(left_m) > 1 else np.zeros_like(left_m)
    return np.asarray(np.hypot(across_m, down_m).clip(1e-3), dtype=np.float32)


def _near(junctions: tuple[Junction, ...], view: View) -> list[Junction]:
    return [junction for junction in junctions if -40 < junction.along_m - view.along_m < 110]


def _inside_street(arm: FloatArray, points_m: Float32Array, kind: RoadKind) -> Float32Array:
    """Return the distance of points from the edge of another street in m, positive inside; `arm` is its start pose."""
    half_m = kind.width_m / 2
    offset_m = points_m - arm[:2].astype(np.float32)
    cosine, sine = np.float32(np.cos(arm[2])), np.float32(np.sin(arm[2]))
    ahead_m = cosine * offset_m[..., 0] + sine * offset_m[..., 1]
    beside_m = cosine * offset_m[..., 1] - sine * offset_m[..., 0]
    return np.asarray(np.minimum(np.minimum(ahead_m, STREET_M - ahead_m), half_m - np.abs(beside_m)))


def _lines(
    kind: RoadKind, along_m: Float32Array, left_m: Float32Array, pixel_m: Float32Array, pixel_length_m: Float32Array
) -> Float32Array:
    # A pixel as long as a dash and its gap shows their mean.
    blur = np.minimum(pixel_length_m / DASH_PERIOD_M, 1)
    dash = (1 - blur) * (along_m % DASH_PERIOD_M < DASH_M) + blur * (DASH_M / DASH_PERIOD_M)
    paint = np.zeros_like(left_m)
    for line in range(kind.lanes + 1):
        distance_m = np.abs(left_m - (line - 0.5) * kind.lane_m)
        covered = np.clip((PAINT_M + pixel_m) / 2 - distance_m, 0, np.minimum(PAINT_M, pixel_m)) / pixel_m
        paint = np.maximum(paint, covered if line in (0, kind.lanes) else covered * dash)
    return paint


def _across(
    junction: Junction,
    kind: RoadKind,
    paint: Float32Array,
    along_m: Float32Array,
    left_m: Float32Array,
    pixel_length_m: Float32Array,
) -> Float32Array:
    """Interrupt the lines in a junction, and draw the stop line before it."""
    inside = (along_m > junction.along_m) & (along_m < junction.along_m + kind.width_m)
    before_m = np.abs(along_m - (junction.along_m - STOP_LINE_M + STOP_PAINT_M / 2))
    covered = np.clip((STOP_PAINT_M + pixel_length_m) / 2 - before_m, 0, np.minimum(STOP_PAINT_M, pixel_length_m))
    stop_line = np.where(np.abs(left_m) < kind.lane_m / 2, covered / pixel_length_m, 0)
    return np.maximum(np.where(inside, 0, paint), stop_line)


def _texture(scene: Scene, along_m: Float32Array, left_m: Float32Array, cell_m: float) -> Float32Array:
    rows, columns = (np.floor(metres / cell_m).astype(np.int32) & 255 for metres in (along_m, left_m))
    return np.asarray(scene.texture[rows, columns])


def _roadside(scene: Scene, view: View) -> Paintings:
    """Yield the houses or trees on both sides, from far to near, then the signs between them."""
    kind, junctions = scene.drive.route.kind, _near(scene.drive.route.junctions, view)
    plots = np.arange((view.along_m + BUILT_UP_M) // PLOT_M, view.along_m // PLOT_M, -1)
    along_m = (plots + 0.5) * PLOT_M
    free = np.ones(len(plots), dtype=bool)
    for junction in junctions:
        free &= (along_m < junction.along_m - 8) | (along_m > junction.along_m + 22)
    haze = 1 - np.exp(-(along_m - view.along_m) / HAZE_M)
    sides = []
    for side, edge_m in enumerate((kind.right_edge_m - SETBACK_M, kind.left_edge_m + SETBACK_M)):
        shade = scene.texture[plots.astype(int) & 255, side]
        boxes = view.boxes(view.line.poses(along_m, edge_m), BUILDING_M, 0, kind.building_m * (0.65 + 0.35 * shade))
        walls = _mix(np.multiply.outer(0.8 + 0.25 * shade, kind.building_rgb), HAZE_RGB, haze)
        sides.append((boxes, walls))
    for plot in np.flatnonzero(free):
        yield from ((walls[plot], boxes[plot]) for boxes, walls in sides)
    yield from _signs(scene, view)


def _signs(scene: Scene, view: View) -> Paintings:
    route = scene.drive.route
    places = view.line.poses(np.array([along_m for along_m, _ in route.limits[1:]]), route.kind.right_edge_m - 0.7)
    for colour, size_m in ((SIGN_RGB, SIGN_M), (PAINT_RGB, SIGN_M / 2)):
        for box in view.boxes(places, size_m, SIGN_HEIGHT_M - size_m / 2, SIGN_HEIGHT_M + size_m / 2):
            yield colour, box


def _light_on(view: View, daylight: float) -> Float32Array:
    """Return the (64, 128) brightness: daylight, and in the dark the headlights on the ground ahead."""
    light = np.full((FRAME_HEIGHT_PX, FRAME_WIDTH_PX), daylight, dtype=np.float32)
    points_m = view.ground[0]
    beam = np.exp(-points_m[..., 0] / 25 - (points_m[..., 1] / 5) ** 2)
    light[-len(points_m) :] += max(0.0, 0.8 - daylight) * beam
    return light


def _lamps(scene: Scene, view: View, step: int) -> Paintings:
    """Yield the objects with a brightness of their own: traffic lights, and the car in front with its rear lights."""
    for head in heads(scene.drive.route, view, step):
        yield from head.paintings()
    yield from _lead(scene.drive, view, step, scene.daylight)


def _lead(driven: Drive, view: View, step: int, daylight: float) -> Paintings:
    if not driven.has_lead:
        return
    lit = driven.lead_demand_mps2[step] < BRAKE_LIGHTS_MPS2 or driven.lead_speed_mps[step] == 0
    lamp = BRAKE_RGB if lit else _scaled(TAIL_RGB, max(daylight, 0.6))
    colours = (_scaled(BODY_RGB, daylight), _scaled(WINDOW_RGB, daylight), lamp, lamp)
    left_m, width_m, low_m, high_m = LEAD_PARTS_M.T
    rear = view.line.poses(np.full(len(left_m), driven.lead_along_m[step] - REAR_M), left_m)
    yield from zip(colours, view.boxes(rear, width_m, low_m, high_m), strict=True)


def _mix(below: Float32Array, above: Float32Array | Colour, share: Float32Array) -> Float32Array:
    return np.asarray(below + share[..., None] * (np.asarray(above, dtype=np.float32) - below))


def _scaled(colour: Colour, brightness: float) -> Colour:
    return tuple(brightness * channel for channel in colour)


def _fill(image: Float32Array, box: Sequence[float] | FloatArray, colour: Colour) -> None:
    """Fill a box in place; a partly covered pixel is mixed with the colour. A box of NaN draws nothing."""
    left, top, right, bottom = (float(edge) for edge in box)
    if isnan(left) or right < -0.5 or left > FRAME_WIDTH_PX - 0.5 or bottom < -0.5 or top > FRAME_HEIGHT_PX - 0.5:
        return
    (rows, down), (columns, across) = _covered(top, bottom, FRAME_HEIGHT_PX), _covered(left, right, FRAME_WIDTH_PX)
    part = image[rows, columns]
    part += np.multiply.outer(down, across)[..., None] * (np.asarray(colour, dtype=np.float32) - part)


def _covered(first: float, last: float, count: int) -> tuple[slice, Float32Array]:
    """Return the pixels that an interval touches, and the covered share of each."""
    start, stop = (min(max(round(edge), 0), count - 1) for edge in (first, last))
    covered = np.ones(stop + 1 - start, dtype=np.float32)
    covered[0] -= max(first - (start - 0.5), 0)
    covered[-1] -= max(stop + 0.5 - last, 0)
    return slice(start, stop + 1), covered
