"""The cells of a grid must show the points of the road that geometry puts there."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.ndimage import map_coordinates

from atma18.geometry.camera import COMPETITION_CAMERA, Camera
from atma18.geometry.kinematics import WHEELBASE_M, MotionModel
from atma18.geometry.path_grid import Paths, first_row_m, offsets_m, path_grids

QUARTER_M = 10 * np.pi
"""A quarter of a circle of radius 20 m."""
CAMERA_JSON = {
    "intrinsics_px": [[100, 0, 50], [0, 200, 20], [0, 0, 1]],
    "image_size_px": [100, 60],
    "position_m": [1.0, 0.0, 1.4],
    "height_above_road_m": 1.5,
}


def paths(curvature_per_m=0.0, length_m=20.0, turn_rad=0.0, bend_per_m=0.0, count=1):
    return Paths(*(np.full(count, float(value)) for value in (curvature_per_m, length_m, turn_rad, bend_per_m)))


def ramp(height=64, width=128):
    """A frame whose red is the column and whose green is twice the row, which interpolation leaves exact."""
    frame = np.zeros((1, height, width, 3), np.uint8)
    frame[..., 0] = np.arange(width)
    frame[..., 1] = 2 * np.arange(height)[:, None]
    return torch.from_numpy(frame)


@pytest.fixture
def own_camera(tmp_path):
    (tmp_path / "camera.json").write_text(json.dumps(CAMERA_JSON))
    return Camera.read(tmp_path / "camera.json")


# Where the cells are


def test_rows_of_a_straight_road_go_from_the_lower_edge_to_a_quarter_beyond_three_seconds():
    distances_m = paths(length_m=40).distances_m(COMPETITION_CAMERA, 5)

    near_m = 224.82352941 * 1.22 / (0.95 * 64 - 11.76)  # where the row at 95 % of the height looks
    assert near_m == pytest.approx(5.593, abs=1e-3)
    np.testing.assert_allclose(distances_m, [np.linspace(near_m, 50.0, 5)])


def test_a_standing_car_has_a_path_of_twice_the_first_row():
    distances_m = paths(length_m=0).distances_m(COMPETITION_CAMERA, 3)

    np.testing.assert_allclose(distances_m / first_row_m(COMPETITION_CAMERA), [[1.0, 1.5, 2.0]])


def test_the_first_row_counts_from_the_cars_origin_and_not_from_the_lens(own_camera):
    assert first_row_m(own_camera) == pytest.approx(1.0 + 200 * 1.5 / (0.95 * 60 - 20))


def test_a_camera_that_sees_no_road_is_refused(own_camera):
    sky = replace(own_camera, intrinsics_px=np.array([[100, 0, 50], [0, 200, 58.0], [0, 0, 1]]))

    with pytest.raises(ValueError, match=r"expected a camera that sees the road, found its horizon at 58\.0 px of 60"):
        first_row_m(sky)


def test_columns_go_from_six_metres_left_to_six_metres_right():
    np.testing.assert_allclose(offsets_m(5), [6, 3, 0, -3, -6])


@pytest.mark.parametrize(
    ("curvature_per_m", "distance_m", "offset_m", "xy_m"),
    [
        pytest.param(0.0, 12.0, 3.0, (12, 3), id="straight, left of the path"),
        pytest.param(1 / 20, QUARTER_M, 0.0, (20, 20), id="a quarter turn to the left"),
        pytest.param(1 / 20, QUARTER_M, 2.0, (18, 20), id="inside the bend is nearer to its centre"),
        pytest.param(-1 / 20, QUARTER_M, 0.0, (20, -20), id="a quarter turn to the right"),
        pytest.param(-1 / 20, QUARTER_M, 2.0, (22, -20), id="outside of the bend to the right"),
        pytest.param(1 / 20, 2 * QUARTER_M, -1.0, (0, 41), id="half a turn, on the right side"),
    ],
)
def test_points_lie_on_the_circle_and_beside_it(curvature_per_m, distance_m, offset_m, xy_m):
    points_m = paths(curvature_per_m).points_m(np.array([[distance_m]]), np.array([offset_m]))

    assert points_m.shape == (1, 1, 1, 2)
    np.testing.assert_allclose(points_m[0, 0, 0], xy_m, atol=1e-9)


# Bent paths


@pytest.mark.parametrize(
    ("turn_rad", "bend_per_m", "aside_m"),
    [
        pytest.param(0.1, 0.0, 1.0, id="a turn by a tenth leaves by a tenth of the distance"),
        pytest.param(0.0, 0.02, 1.0, id="a bend leaves by half the curvature times the distance squared"),
        pytest.param(0.1, -0.02, 0.0, id="both"),
    ],
)
def test_turn_and_bend_move_the_points_at_ten_metres_aside(turn_rad, bend_per_m, aside_m):
    bent = paths().bent(np.array([turn_rad]), np.array([bend_per_m]))

    np.testing.assert_allclose(bent.aside_m(np.array([[10.0]])), [[aside_m]], atol=1e-12)
    np.testing.assert_allclose(bent.points_m(np.array([[10.0]]), np.zeros(1))[0, 0, 0], (10, aside_m), atol=1e-12)


def test_waypoints_on_a_straight_path_move_aside_with_it():
    waypoints_m = np.zeros((1, 6, 3))
    waypoints_m[0, :, 0] = [5, 10, 15, 20, 25, 30]

    moved_m = paths(turn_rad=0.1, bend_per_m=0.02).moved(waypoints_m.reshape(1, 18)).reshape(6, 3)

    np.testing.assert_allclose(moved_m[:, 0], waypoints_m[0, :, 0])
    np.testing.assert_allclose(moved_m[:, 1], [0.75, 2.0, 3.75, 6.0, 8.75, 12.0])  # 0.1 d + 0.01 d²
    assert (moved_m[:, 2] == 0).all()


def test_a_waypoint_after_a_quarter_turn_moves_along_the_radius():
    angle_rad = np.linspace(0, np.pi / 2, 7)[1:]
    circle_m = 20 * np.stack([np.sin(angle_rad), 1 - np.cos(angle_rad), 0 * angle_rad], axis=1)
    chord_m = 2 * 20 * np.sin(angle_rad[0] / 2)
    length_m = 6 * chord_m
    turned = paths(curvature_per_m=np.pi / 2 / length_m, turn_rad=2 / length_m)

    moved_m = turned.moved(circle_m.reshape(1, 18)).reshape(6, 3)

    np.testing.assert_allclose(moved_m[-1], (18, 20, 0), atol=1e-9)  # 2 m to the left, where the car heads for y


# What the cells show


def test_cells_of_a_straight_road_show_the_pixels_of_the_published_formula():
    grid, seen = path_grids(ramp(), paths(length_m=24.0), (2, 13), COMPETITION_CAMERA)

    far_m = 30.0
    v_px = 11.76 + 224.82352941 * 1.22 / far_m
    u_px = 63.62426614 - 226.16438356 * np.arange(6, -7, -1) / far_m
    assert grid.shape == (1, 2, 13, 3) and grid.dtype == torch.uint8
    assert seen[0, 1].all()
    np.testing.assert_array_equal(grid[0, 1, :, 0], u_px.round())
    np.testing.assert_array_equal(grid[0, 1, :, 1], np.full(13, round(2 * v_px)))
    assert grid[0, 0, 6].tolist() == [64, round(2 * 0.95 * 64), 0]


def test_cells_outside_the_frame_are_black_and_said_to_be():
    _, seen = path_grids(ramp(), paths(length_m=24.0), (2, 13), COMPETITION_CAMERA)
    white = torch.full((1, 64, 128, 3), 255, dtype=torch.uint8)
    grid, _ = path_grids(white, paths(length_m=24.0), (2, 13), COMPETITION_CAMERA)

    # At 5.59 m the frame shows 1.57 m to the left, to column 0, and 1.57 m to the right, to column 127.
    assert seen[0, 0].tolist() == [-1.5 < offset < 1.5 for offset in range(6, -7, -1)]
    np.testing.assert_array_equal(grid[0, 0, :, 0], np.where(seen[0, 0], 255, 0))


def test_what_lies_behind_the_lens_is_not_seen():
    white = torch.full((1, 64, 128, 3), 255, dtype=torch.uint8)

    grid, seen = path_grids(white, paths(curvature_per_m=1 / 2, length_m=2 * np.pi), (9, 3), COMPETITION_CAMERA)

    assert not seen[:, 4:].any()  # the circle of 2 m is behind the car from 6.3 m to 12.6 m
    assert (grid[~seen] == 0).all()


def test_a_camera_file_with_z_up_shows_the_road_at_its_height(own_camera):
    grid, seen = path_grids(ramp(60, 100), paths(length_m=(1.0 + 25.0) / 1.25), (2, 3), own_camera)

    assert seen[0, 1].tolist() == [True, True, True]
    assert grid[0, 1, :, 0].tolist() == [26, 50, 74]  # 50 -+ 100 * 6 / 25
    assert grid[0, 1, :, 1].tolist() == [64, 64, 64]  # 2 (20 + 200 * 1.5 / 25)


def test_frames_may_be_smaller_than_the_cameras_image(own_camera):
    whole, _ = path_grids(ramp(60, 100), paths(length_m=26 / 1.25), (2, 3), own_camera)
    half, _ = path_grids(ramp(30, 50), paths(length_m=26 / 1.25), (2, 3), own_camera)

    assert whole[0, 1, :, :2].tolist() == [[26, 64], [50, 64], [74, 64]]
    assert half[0, 1, :, :2].tolist() == [[13, 32], [25, 32], [37, 32]]


def test_colours_are_those_of_another_bilinear_interpolation():
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (4, 64, 128, 3), dtype=np.uint8)
    some = Paths(rng.normal(0, 0.02, 4), rng.uniform(0, 60, 4), rng.normal(0, 0.03, 4), rng.normal(0, 0.005, 4))

    grids, seen = path_grids(torch.from_numpy(frames), some, (24, 41), COMPETITION_CAMERA)

    points_m = some.points_m(some.distances_m(COMPETITION_CAMERA, 24), offsets_m(41))
    pixels = COMPETITION_CAMERA.project(np.concatenate([points_m, 0 * points_m[..., :1]], axis=-1))
    for frame, at, grid, inside in zip(frames, pixels, grids.numpy(), seen.numpy(), strict=True):
        expected = [map_coordinates(frame[..., c].astype(float), [at[..., 1], at[..., 0]], order=1) for c in range(3)]
        assert inside.any() and not inside.all()
        assert np.abs(grid[inside] - np.stack(expected, axis=-1)[inside]).max() < 0.51


def test_a_mirrored_frame_along_the_mirrored_path_is_the_mirrored_grid(own_camera):
    rng = np.random.default_rng(0)
    frame = torch.from_numpy(rng.integers(0, 256, (1, 60, 100, 3), dtype=np.uint8))
    centred = replace(own_camera, intrinsics_px=np.array([[100, 0, 49.5], [0, 200, 20], [0, 0, 1]]))

    left, _ = path_grids(frame, paths(0.03, turn_rad=0.02, bend_per_m=0.01), (8, 9), centred)
    right, _ = path_grids(frame.flip(2), paths(-0.03, turn_rad=-0.02, bend_per_m=-0.01), (8, 9), centred)

    assert (left.flip(2).int() - right.int()).abs().max() <= 1


def test_a_frame_without_a_path_is_refused():
    with pytest.raises(ValueError, match="expected a path for each of 1 frames, found 2"):
        path_grids(ramp(), paths(count=2), (2, 3), COMPETITION_CAMERA)


# The path of a motion model


def signals(**columns):
    return pd.DataFrame({name: np.atleast_1d(np.asarray(values, float)) for name, values in columns.items()})


def test_a_wheel_that_is_held_gives_the_circle_of_a_bicycle():
    held = MotionModel(wheel_fade_s=1e9, understeer_s2pm2=0.01, drag_per_s=0.0, delay_s=0.0)

    curvature_per_m, length_m = held.arcs(signals(vEgo=[10.0, 10.0, 0.0], steeringAngleDeg=[15.0, -15.0, 15.0]))

    wheels = np.tan(np.deg2rad(1.0)) / WHEELBASE_M
    np.testing.assert_allclose(curvature_per_m, [wheels / 2, -wheels / 2, wheels], rtol=1e-6)
    np.testing.assert_allclose(length_m, [30, 30, 0], rtol=1e-3)


def test_a_wheel_that_fades_gives_the_circle_that_goes_as_far_aside():
    fading = MotionModel(wheel_fade_s=2.0, gain=0.0, delay_s=0.0)
    given = signals(vEgo=[12.0], steeringAngleDeg=[10.0])

    [curvature_per_m], _ = fading.arcs(given)

    assert curvature_per_m * 36.0**2 / 2 == pytest.approx(fading.waypoints(given)[0, -1, 1], rel=0.01)


def test_a_car_in_reverse_has_no_path():
    _, length_m = MotionModel().arcs(signals(vEgo=[-1.0], steeringAngleDeg=[100.0]))

    assert length_m.tolist() == [0]
