"""Pixels must be those of a pinhole camera, and a broken camera file must be refused with a message on its fault."""

import json

import numpy as np
import pytest

from atma18.geometry.camera import COMPETITION_CAMERA, Camera

CAMERA_JSON = {
    "intrinsics_px": [[100, 0, 50], [0, 200, 20], [0, 0, 1]],
    "image_size_px": [100, 60],
    "position_m": [1.0, 0.5, 1.4],
    "height_above_road_m": 1.5,
}


def read(tmp_path, **changes):
    path = tmp_path / "camera.json"
    path.write_text(json.dumps({**CAMERA_JSON, **changes}))
    return Camera.read(path)


@pytest.mark.parametrize(
    ("waypoint_m", "pixel"),
    [
        pytest.param((10, 0, 0), (63.62426614, 11.76 + 22.482352941 * 1.22), id="ahead"),
        pytest.param((10, 1, 0), (63.62426614 - 22.616438356, 11.76 + 22.482352941 * 1.22), id="left"),
        pytest.param((10, 0, 0.5), (63.62426614, 11.76 + 22.482352941 * 1.72), id="published-z-is-added"),
    ],
)
def test_competition_camera_follows_the_published_formula(waypoint_m, pixel):
    np.testing.assert_allclose(COMPETITION_CAMERA.project(np.array(waypoint_m)), pixel)


@pytest.mark.parametrize(
    ("waypoint_m", "pixel"),
    [
        pytest.param((11, 0.5, 0), (50, 20 + 200 * 1.5 / 10), id="road-ahead-of-the-lens"),
        pytest.param((11, 0.5, 1.5), (50, 20), id="lens-height-is-the-horizon"),
        pytest.param((11, 0.5, 2.5), (50, 0), id="higher-is-further-up"),
        pytest.param((11, 1.5, 0), (40, 50), id="left-of-the-lens"),
        pytest.param((6, -0.5, 0), (70, 80), id="right-and-near"),
    ],
)
def test_camera_file_has_z_up_and_its_own_place_in_the_car(tmp_path, waypoint_m, pixel):
    np.testing.assert_allclose(read(tmp_path).project(np.array(waypoint_m)), pixel)


def test_points_beside_or_behind_the_lens_have_no_pixel(tmp_path):
    waypoints_m = np.array([[[2.0, 0, 0], [1.0, 0, 0]], [[0.5, 0, 0], [-3.0, 0, 0]]])

    pixels = read(tmp_path).project(waypoints_m)

    assert pixels.shape == (2, 2, 2)
    assert np.isfinite(pixels).all(axis=-1).tolist() == [[True, False], [False, False]]
    assert np.isnan(pixels[1]).all()


def test_project_leaves_its_argument_alone():
    waypoints_m = np.full((6, 3), 2.0)

    COMPETITION_CAMERA.project(waypoints_m)

    assert (waypoints_m == 2.0).all()


@pytest.mark.parametrize("own_file", [False, True])
def test_project_undoes_road_points(tmp_path, own_file):
    camera = read(tmp_path) if own_file else COMPETITION_CAMERA
    width_px, height_px = camera.image_size_px
    points_m = camera.road_points()
    first_road_row = 21 if own_file else 12  # the horizons are at 20 and 11.76

    assert points_m.shape == (height_px, width_px, 2)
    assert np.isnan(points_m[:first_road_row]).all()
    pixels = camera.project(np.concatenate([points_m, np.zeros((height_px, width_px, 1))], axis=-1))
    u_px, v_px = np.meshgrid(np.arange(width_px), np.arange(first_road_row, height_px))
    np.testing.assert_allclose(pixels[first_road_row:], np.stack([u_px, v_px], axis=-1), atol=1e-9)


def test_camera_file_says_what_its_camera_says(tmp_path):
    camera = read(tmp_path, comment="ignored")

    assert camera.to_json_dict() == CAMERA_JSON
    assert json.loads(json.dumps(camera.to_json_dict())) == CAMERA_JSON


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"intrinsics_px": [[1, 0], [0, 1]]}, r"intrinsics_px.*\(3, 3\), found \[\[1, 0\]", id="shape"),
        pytest.param({"intrinsics_px": [[1, 0], [0]]}, r"intrinsics_px.*\(3, 3\), found", id="ragged"),
        pytest.param({"intrinsics_px": [[0, 0, 5], [0, 2, 5], [0, 0, 1]]}, "focal lengths above 0", id="no-focus"),
        pytest.param({"intrinsics_px": [[1, 0, 5], [0, 2, 5], [0, 0, 2]]}, "0, 0, 1 as last row", id="last-row"),
        pytest.param({"image_size_px": [100, 0]}, r"above 0, found \(100, 0\)", id="empty-image"),
        pytest.param({"image_size_px": [100.5, 60]}, "whole pixels, found", id="half-pixel"),
        pytest.param({"position_m": [0, float("nan"), 1]}, "position_m: expected finite", id="nan"),
        pytest.param({"height_above_road_m": "1.2"}, "height_above_road_m.*found '1.2'", id="text"),
        pytest.param({"height_above_road_m": None}, "height_above_road_m.*found None", id="null"),
        pytest.param({"height_above_road_m": -1}, "height_above_road_m above 0, found -1", id="below-the-road"),
    ],
)
def test_broken_camera_file_is_refused(tmp_path, changes, message):
    with pytest.raises(ValueError, match=r"camera\.json: .*" + message):
        read(tmp_path, **changes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("{", "Expecting", id="no-json"),
        pytest.param("[1]", "an object with intrinsics_px, .*found list", id="no-object"),
        pytest.param('{"position_m": 1}', "no intrinsics_px, image_size_px, height_above_road_m", id="keys-missing"),
    ],
)
def test_file_that_is_no_camera_is_refused(tmp_path, text, message):
    path = tmp_path / "camera.json"
    path.write_text(text)

    with pytest.raises(ValueError, match=r"camera\.json: .*" + message):
        Camera.read(path)
