"""A figure shows the given numbers, names their units and has the same scales for every run."""

from io import BytesIO

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from atma18 import plots
from atma18.geometry.camera import COMPETITION_CAMERA, Camera
from atma18.metrics.scores import Part, Score, scores, training_parts
from atma18.schema import TARGETS, WAYPOINT_TIMES_S

LEFT_TURN_M = np.stack([4 * np.arange(1, 7), 0.2 * np.arange(1, 7) ** 2, np.zeros(6)], axis=-1).reshape(1, 18)
FRAME = np.random.default_rng(0).integers(0, 255, (1, 64, 128, 3)).astype(np.uint8)
THREE = np.stack([FRAME, FRAME + 1, FRAME + 2], axis=1)
BOX_PX = np.array([[60.0, 4.0, 63.0, 5.5]])


def some_targets(n=30):
    truth_m = np.random.default_rng(0).normal(size=(n, 18))
    return truth_m + np.tile([0.3, -0.2, 0.1], 6) * np.repeat(np.arange(1, 7), 3), truth_m


def some_scores():
    """Two sizes and a band of speed, whose errors are 0.1, 0.2, 0.3 m give or take 0.05."""
    parts = [("size", "1"), ("size", "6+"), ("speed", "0-1"), ("axis", "x")]
    return [
        Score(Part(by, name, np.ones(7), np.arange(18)), 0.1 * i, 0.1 * i - 0.05, 0.1 * i + 0.05)
        for i, (by, name) in enumerate(parts, start=1)
    ]


GRID = (
    FRAME,
    np.arange(2 * 3 * 3, dtype=np.uint8).reshape(1, 2, 3, 3),
    np.arange(12.0).reshape(1, 2, 3, 2),
    np.array([[6.0, 30.0]]),
)
"""A frame, a grid of two rows and three columns, its pixels, and the distances of its rows."""
GAIN = pd.Series({"nn1/x_5": 0.5, "can/vEgo": 0.3, "nn1/y_5": 0.2})
SOME_GAIN_M = np.array([[-0.01, 0.02, 0.05]])

FIGURES = {
    "mae_by_horizon": lambda: plots.mae_by_horizon(*some_targets()),
    "oof_against_target": lambda: plots.oof_against_target(*some_targets()),
    "trajectories": lambda: plots.trajectories(FRAME, LEFT_TURN_M, LEFT_TURN_M, COMPETITION_CAMERA, ["a_20"]),
    "contact_sheet": lambda: plots.contact_sheet(THREE, LEFT_TURN_M, [BOX_PX], COMPETITION_CAMERA, ["a_20"]),
    "path_grids": lambda: plots.path_grids(*GRID, ["a_20"]),
    "learning_curves": lambda: plots.learning_curves([np.array([2.0, 1.0])], [np.array([2.5, 1.5])]),
    "blend_weights": lambda: plots.blend_weights(
        np.array([[0.25, 0.75]]), ["nn1", "gbdt"], ["1–2"], SOME_GAIN_M, "gbdt"
    ),
    "mae_by_part": lambda: plots.mae_by_part(some_scores()),
    "residuals": lambda: plots.residuals(*some_targets()),
    "scene_by_scene": lambda: plots.scene_by_scene(np.ones(4), np.ones(4), np.array([*"aabb"]), ("blend", "gbdt")),
    "feature_importance": lambda: plots.feature_importance(GAIN),
    "error_correlation": lambda: plots.error_correlation(np.stack(some_targets()), ["nn1", "nn2"]),
    "explained_variance": lambda: plots.explained_variance(np.full((8, 3), 0.2), 4),
    "similarity_by_speed": lambda: plots.similarity_by_speed(np.full((5, 2), 0.9), np.arange(5) * 8.0),
}
UNITS = ("(m)", "(s)", "(px)", "(share of 1)", "(samples)", "(m/s)")
COUNTED = ("epoch", "component", "feature", "input")


@pytest.mark.parametrize("draw", list(FIGURES.values()), ids=list(FIGURES))
def test_every_panel_names_what_its_axes_show_and_can_be_saved(draw, drawn):
    figure = draw()

    assert isinstance(figure, Figure)
    for axes in figure.axes:
        assert axes.get_title() or axes.get_label() == "<colorbar>"
        for label in (axes.get_xlabel(), axes.get_ylabel()) if axes.axison else ():  # a frame speaks for itself
            assert label in COUNTED or label.endswith(UNITS) or axes.get_label() == "<colorbar>", label
    figure.savefig(BytesIO(), format="png")


def test_errors_by_horizon_are_those_of_each_axis():
    [axes] = plots.mae_by_horizon(*some_targets()).axes

    assert [line.get_label() for line in axes.lines] == [
        "x, forward: mean 1.050 m",  # 0.3 * 3.5
        "y, left: mean 0.700 m",
        "z, vertical: mean 0.350 m",
    ]
    for line, step_m in zip(axes.lines, (0.3, 0.2, 0.1), strict=True):
        np.testing.assert_array_equal(line.get_xdata(), WAYPOINT_TIMES_S)
        np.testing.assert_allclose(line.get_ydata(), step_m * np.arange(1, 7))
    assert axes.get_title() == "MAE 0.7000 m over 30 samples"


@pytest.mark.parametrize("error_m", [0.0, 0.02, 1.0, 4.0])
def test_error_scale_is_the_same_for_good_and_poor_runs(error_m):
    truth_m = np.zeros((2, 18))

    [axes] = plots.mae_by_horizon(truth_m + error_m, truth_m).axes

    np.testing.assert_allclose(axes.get_ylim(), plots.MAE_RANGE_M)


def test_error_scale_widens_rather_than_hide_a_value():
    [axes] = plots.mae_by_horizon(np.full((2, 18), 50.0), np.zeros((2, 18))).axes

    np.testing.assert_allclose(axes.get_ylim(), (0.01, 50.0))


def test_last_waypoints_are_drawn_against_the_truth():
    predicted_m, truth_m = some_targets()

    panels = plots.oof_against_target(predicted_m, truth_m).axes

    assert len(panels) == 3
    for axis, panel in zip("xyz", panels, strict=True):
        column = TARGETS.index(f"{axis}_5")
        [points] = panel.collections
        np.testing.assert_array_equal(points.get_offsets(), np.stack([truth_m, predicted_m], -1)[:, column])
        assert panel.get_xlabel() == f"{axis} at 3.0 s, truth (m)"
        assert panel.get_xlim() == panel.get_ylim()
    assert [panel.get_title().split(": ")[1] for panel in panels] == ["MAE 1.800 m", "MAE 1.200 m", "MAE 0.600 m"]


def test_scatter_keeps_its_scale_unless_a_point_lies_outside():
    near, far = np.zeros((2, 18)), np.full((2, 18), 100.0)

    assert [p.get_xlim() for p in plots.oof_against_target(near, near).axes] == list(plots.TARGET_RANGES_M)
    assert [p.get_xlim() for p in plots.oof_against_target(far, near).axes] == [(-10, 100), (-20, 100), (-2, 100)]


def test_a_trajectory_is_drawn_in_its_frame_and_from_above():
    predicted_m = LEFT_TURN_M + np.tile([0, 0.9, 0], 6)

    figure = plots.trajectories(FRAME, predicted_m, LEFT_TURN_M, COMPETITION_CAMERA, ["a_20, turns left"])

    frame, above = figure.axes
    [image] = frame.images
    np.testing.assert_array_equal(image.get_array(), FRAME[0])
    assert [line.get_label() for line in frame.lines] == ["truth", "predicted"]
    for line, waypoints_m in zip(frame.lines, (LEFT_TURN_M, predicted_m), strict=True):
        np.testing.assert_allclose(line.get_xydata(), COMPETITION_CAMERA.project(waypoints_m.reshape(6, 3)))
    for line, waypoints_m in zip(above.lines[1:], (LEFT_TURN_M, predicted_m), strict=True):
        np.testing.assert_array_equal(line.get_xydata(), waypoints_m.reshape(6, 3)[:, :2])
    assert (frame.get_title(), above.get_title()) == ("a_20, turns left", "MAE 0.300 m")
    assert frame.get_xlim() == (-0.5, 127.5)
    assert frame.get_ylim() == (63.5, -0.5)
    assert above.get_ylim()[0] < above.get_ylim()[1]  # left is up when the car heads right


def test_a_grid_is_drawn_with_its_edges_in_the_frame_and_the_nearest_row_below():
    figure = plots.path_grids(*GRID, ["a_20, turns left"])

    frame, grid = figure.axes
    np.testing.assert_array_equal(frame.images[0].get_array(), FRAME[0])
    cells_px = GRID[2][0]
    edges = [cells_px[:, 0], cells_px[:, 1], cells_px[:, 2], cells_px[0], cells_px[1]]
    for line, edge_px in zip(frame.lines, edges, strict=True):
        np.testing.assert_array_equal(line.get_xydata(), edge_px)
    np.testing.assert_array_equal(grid.images[0].get_array(), GRID[1][0])
    assert grid.get_ylim()[0] < grid.get_ylim()[1]
    assert [label.get_text() for label in grid.get_yticklabels()] == ["6", "30", "30"]


def test_pixels_of_a_larger_image_are_scaled_to_the_frame():
    published = COMPETITION_CAMERA
    twice = Camera(
        intrinsics_px=np.diag([2.0, 2.0, 1.0]) @ published.intrinsics_px,
        image_size_px=(256, 128),
        position_m=published.position_m,
        height_above_road_m=published.height_above_road_m,
        z_up=published.z_up,
    )

    drawn = [plots.trajectories(FRAME, LEFT_TURN_M, LEFT_TURN_M, camera, ["a_20"]) for camera in (published, twice)]

    np.testing.assert_allclose(*(figure.axes[0].lines[0].get_xydata() for figure in drawn))


@pytest.mark.parametrize(
    ("truth_m", "expected_m"),
    [
        pytest.param(np.zeros((1, 18)), (-1, 9), id="parked"),
        pytest.param(LEFT_TURN_M, (-4, 36), id="24 m ahead, 7.2 m to the left"),
        pytest.param(np.full((1, 18), 90.0), (-45, 405), id="farther than any"),
    ],
)
def test_the_truth_alone_decides_the_scale_from_above(truth_m, expected_m):
    for error_m in (0.0, 30.0):
        figure = plots.trajectories(FRAME, truth_m + error_m, truth_m, COMPETITION_CAMERA, ["a_20"])
        np.testing.assert_allclose(figure.axes[1].get_xlim(), expected_m)


def test_every_sample_gets_its_row_and_the_two_lines_are_explained_once():
    figure = plots.trajectories(
        *(np.repeat(array, 3, axis=0) for array in (FRAME, LEFT_TURN_M, LEFT_TURN_M)),
        COMPETITION_CAMERA,
        ["a_20", "a_120", "b_20"],
    )

    assert [axes.get_title() for axes in figure.axes[::2]] == ["a_20", "a_120", "b_20"]
    assert [text.get_text() for legend in figure.legends for text in legend.get_texts()] == ["truth", "predicted"]


@pytest.mark.parametrize("titles", [[], ["a_20", "a_120"]])
def test_a_wrong_number_of_titles_is_refused(titles):
    with pytest.raises(ValueError, match=rf"lengths \[.*{len(titles)}"):
        plots.trajectories(FRAME, LEFT_TURN_M, LEFT_TURN_M, COMPETITION_CAMERA, titles)


def test_learning_curves_may_differ_in_length_and_lack_held_out_scenes():
    train = [np.array([2.0, 1.0, 0.5]), np.array([1.5])]
    held_out = [np.array([2.5, 1.5, 1.0]), None]

    figure = plots.learning_curves(train, held_out)

    [axes] = figure.axes
    drawn = {line.get_label(): line.get_xydata().tolist() for line in axes.lines}
    assert drawn == {
        "fold 0, training": [[1, 2.0], [2, 1.0], [3, 0.5]],
        "fold 0, held-out scenes": [[1, 2.5], [2, 1.5], [3, 1.0]],
        "fold 1, training": [[1, 1.5]],
    }
    np.testing.assert_allclose(axes.get_ylim(), plots.LEARNING_RANGE_M)


def test_folds_without_their_held_out_entry_are_refused():
    with pytest.raises(ValueError, match="shorter"):
        plots.learning_curves([np.ones(2), np.ones(2)], [np.ones(2)])


def test_blend_bars_are_as_long_as_their_weights_and_meet():
    weights = np.array([[0.25, 0.25, 0.5], [0.0, 0.75, 0.25]])

    gains_m = np.array([[-0.1, 0.1, 0.3], [0.0, 0.2, 0.25]])

    figure = plots.blend_weights(weights, ["nn1", "nn2", "gbdt"], ["1–2", "3 or more"], gains_m, "gbdt")

    axes, gains = figure.axes
    widths = np.array([[bar.get_width() for bar in bars] for bars in axes.containers]).T
    starts = np.array([[bar.get_x() for bar in bars] for bars in axes.containers]).T
    np.testing.assert_array_equal(widths, weights)
    np.testing.assert_array_equal(starts, [[0, 0.25, 0.5], [0, 0, 0.75]])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["1–2", "3 or more"]
    assert "nn2\n75%" in [text.get_text() for text in axes.texts]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["nn1", "nn2", "gbdt"]
    assert gains.get_title() == "Gain over gbdt, 95 % over scenes"
    assert gains.lines[0].get_xydata().tolist() == [[0.1, 0], [0.2, 1]]
    [intervals] = gains.collections
    assert [s[:, 0].tolist() for s in intervals.get_segments()] == [[-0.1, 0.3], [0.0, 0.25]]


def test_weights_without_a_name_are_refused():
    with pytest.raises(ValueError, match=r"shape \(1, 2\) and as many gains as groups, found \(1, 3\) and 1"):
        plots.blend_weights(np.ones((1, 3)) / 3, ["nn1", "nn2"], ["all"], SOME_GAIN_M, "nn1")
    with pytest.raises(ValueError, match=r"found \(2, 1\) and 1"):
        plots.blend_weights(np.ones((2, 1)), ["nn1"], ["1", "2+"], SOME_GAIN_M, "nn1")


def test_contact_sheet_goes_with_time_and_marks_what_was_seen_and_what_follows():
    sheet = plots.contact_sheet(THREE, LEFT_TURN_M, [BOX_PX], COMPETITION_CAMERA, ["a_20"])

    before, half, now, above = sheet.axes
    for axes, shot in ((before, 2), (half, 1), (now, 0)):
        np.testing.assert_array_equal(axes.images[0].get_array(), THREE[0, shot])
    assert not before.lines and not half.lines
    np.testing.assert_allclose(now.lines[0].get_xydata(), COMPETITION_CAMERA.project(LEFT_TURN_M.reshape(6, 3)))
    np.testing.assert_allclose(above.lines[1].get_xydata(), LEFT_TURN_M.reshape(6, 3)[:, :2])
    assert now.patches[0].get_bbox().extents.tolist() == BOX_PX[0].tolist()


def test_contact_sheet_of_unequal_lengths_is_refused():
    with pytest.raises(ValueError, match="as many frames as targets, boxes and titles, found lengths"):
        plots.contact_sheet(THREE, LEFT_TURN_M, [], COMPETITION_CAMERA, ["a_20"])


def test_the_leaderboard_shows_every_interval_where_its_part_is():
    rows = [
        ("blend", "", "all", 0.2, 0.1, 0.3, 0.0, 0.0, 0.0),
        ("blend", "axis", "x", 0.4, 0.3, 0.5, 0.0, 0.0, 0.0),
        ("nn1", "", "all", 0.3, 0.2, 0.4, 0.1, -0.05, 0.2),
        ("nn1", "axis", "x", 0.6, 0.5, 0.7, 0.2, 0.1, 0.3),
    ]
    names = ["model", "by", "part", "mae_m", "low_m", "high_m", "gain_m", "gain_low_m", "gain_high_m"]

    errors, gains = plots.leaderboard(pd.DataFrame(rows, columns=names)).axes

    assert [label.get_text() for label in errors.get_yticklabels()] == ["all", "axis x"]
    assert [line.get_xdata().tolist() for line in errors.lines] == [[0.2, 0.4], [0.3, 0.6]]
    drawn = [line.get_xdata().tolist() for line in gains.lines if line.get_label() == "nn1"]
    assert drawn == [[0.1, 0.2]]  # the blend is not compared with itself
    [intervals] = gains.collections
    np.testing.assert_allclose([s[:, 0] for s in intervals.get_segments()], [[-0.05, 0.2], [0.1, 0.3]])


def test_errors_by_part_are_drawn_with_their_intervals_sizes_beside_speeds():
    sizes, speeds = plots.mae_by_part(some_scores()).axes

    assert [label.get_text() for label in sizes.get_xticklabels()] == ["1\n7", "6+\n7"]
    assert [label.get_text() for label in speeds.get_xticklabels()] == ["0-1\n7"]
    np.testing.assert_allclose(sizes.lines[0].get_ydata(), [0.1, 0.2])
    np.testing.assert_allclose([s[:, 1] for s in sizes.collections[0].get_segments()], [[0.05, 0.15], [0.15, 0.25]])
    np.testing.assert_allclose(speeds.get_ylim(), plots.MAE_RANGE_M)


def test_residuals_show_which_way_predictions_err():
    """101 samples that are 0 … 1 m too far at every horizon: a twentieth is below 0.05 m, half below 0.5 m."""
    truth_m = np.zeros((101, 18))
    predicted_m = truth_m + np.linspace(0, 1, 101)[:, None] * np.tile([1, 0, -0.1], 6)

    panels = plots.residuals(predicted_m, truth_m).axes

    for panel, factor, limits_m in zip(panels, (1, 0, -0.1), plots.RESIDUAL_RANGES_M, strict=True):
        np.testing.assert_allclose(panel.lines[0].get_ydata(), 0.5 * factor)
        np.testing.assert_allclose(panel.get_ylim(), limits_m)
        outer = panel.collections[0].get_paths()[0].vertices[:, 1]
        np.testing.assert_allclose(sorted({outer.min(), outer.max()}), sorted({0.05 * factor, 0.95 * factor}))


def test_scenes_are_drawn_by_their_mean_error_and_counted():
    ours_m, other_m = np.array([0.1, 0.3, 1.0, 0.5]), np.array([0.4, 0.6, 0.5, 0.6])

    [axes] = plots.scene_by_scene(ours_m, other_m, np.array([*"aabc"]), ("blend", "gbdt")).axes

    np.testing.assert_allclose(axes.collections[0].get_offsets(), [[0.2, 0.5], [1.0, 0.5], [0.5, 0.6]])
    assert axes.get_title() == "blend is better in 67% of 3 scenes"
    np.testing.assert_allclose([*axes.get_xlim(), *axes.get_ylim()], plots.MAE_RANGE_M * 2)


def test_groups_of_features_gain_what_their_features_gain():
    groups, features = plots.feature_importance(GAIN).axes

    assert [label.get_text() for label in groups.get_yticklabels()] == ["nn1", "can"]
    np.testing.assert_allclose([bar.get_width() for bar in groups.patches], [0.7, 0.3])
    assert [label.get_text() for label in features.get_yticklabels()] == ["nn1/x_5", "can/vEgo", "nn1/y_5"]
    assert (
        groups.patches[0].get_facecolor() == features.patches[0].get_facecolor() != features.patches[1].get_facecolor()
    )


def test_inputs_that_err_alike_have_a_correlation_of_one_whatever_the_size_of_a_target():
    one_m = np.random.default_rng(0).normal(size=(1000, 18)) * np.repeat([1, 10, 100], 6)
    other_m = np.random.default_rng(1).normal(size=(1000, 18)) * np.repeat([1, 10, 100], 6)

    axes = plots.error_correlation(np.stack([one_m, one_m, other_m]), ["nn1", "nn2", "gbdt"]).axes[0]

    np.testing.assert_allclose(axes.images[0].get_array(), [[1, 1, 0], [1, 1, 0], [0, 0, 1]], atol=0.02)
    with pytest.raises(ValueError, match="expected 3 names, found 1"):
        plots.error_correlation(np.stack([one_m, one_m, other_m]), ["nn1"])


def test_components_explain_more_and_more():
    axes = plots.explained_variance(np.array([[0.5, 0.2], [0.3, 0.1]]), 2).axes[0]

    assert [line.get_label() for line in axes.lines] == ["row 0, column 0", "row 0, column 1"]
    np.testing.assert_allclose([line.get_ydata() for line in axes.lines], [[0.5, 0.7], [0.3, 0.4]])
    assert axes.get_title().endswith("55% explained on average")


def test_similarity_is_drawn_in_the_band_of_its_speed():
    similarity = np.array([[1.0, 0.9], [1.0, 0.9], [0.6, 0.5], [0.8, 0.7], [0.7, 0.6]])
    speed_mps = np.array([0.0, 0.0, 30.0, 30.0, 30.0])

    [axes] = plots.similarity_by_speed(similarity, speed_mps).axes

    names = [label.get_text() for label in axes.get_xticklabels()]
    for pair, (line, _, _) in enumerate(axes.containers):
        np.testing.assert_allclose(line.get_ydata(), [[1.0, 0.7], [0.9, 0.6]][pair])
        np.testing.assert_allclose(line.get_xdata().round(), [0, len(names) - 1])


def test_the_samples_that_are_shown_are_those_that_people_look_for(tiny):
    rows = np.arange(3, len(tiny.train))

    chosen = plots.example_rows(tiny, rows)

    targets_m, speed_mps = tiny.targets_m[rows], tiny.train.signals["vEgo"].to_numpy()[rows]
    lateral_m = abs(targets_m[:, TARGETS.index("y_5")])
    left_m = targets_m[:, TARGETS.index("x_5")] - 3 * speed_mps
    assert list(chosen) == ["sharpest turn", "hardest stop", "alone in its scene"]
    assert chosen["sharpest turn"] == rows[np.flatnonzero(lateral_m == lateral_m.max())[0]]
    assert chosen["hardest stop"] == rows[np.flatnonzero(left_m == left_m.min())[0]]
    assert chosen["alone in its scene"] == rows[np.flatnonzero(tiny.train.scene_sizes[rows] == 1)[0]]


def test_pictures_of_a_run_begin_with_a_typical_sample_and_end_with_the_worst(tiny):
    oof_m = tiny.targets_m + np.linspace(0.1, 1.0, len(tiny.train))[:, None]
    parts = training_parts(tiny.train, tiny.test)
    found = scores(oof_m, tiny.targets_m, parts, tiny.train.scenes)

    drawn = plots.of_predictions(tiny, oof_m, found)["trajectories"]

    titles = [axes.get_title() for axes in drawn.axes[::2]]
    assert titles[0].startswith("typical: MAE 0.5") and titles[-1] == "worst: MAE 1.00 m"
