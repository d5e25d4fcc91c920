"""The table equals one computed scene by scene, uses only the past if causal, and loses no detection."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from atma18.features import SCENE_SIGNALS, STACKING_NOISE_M, feature_table, stacking_noise
from atma18.schema import CAN_SIGNALS, FRAME_SHAPE, LIGHT_CLASSES, FrameRows, Samples, canonical_order

SIZES = [1, 2, 3, 4, 5, 6, 1, 9]
CELLS, COMPONENTS = 8, 3


def make_samples(sizes=SIZES, signals=CAN_SIGNALS, seed=0, gear=True, lights=()):
    """Scenes of these sizes, ten seconds between samples; the lights are (row, class)."""
    ids = np.array([f"{s:02d}_{20 + 100 * t}" for s, size in enumerate(sizes) for t in range(size)])
    n, rng = len(ids), np.random.default_rng(seed)
    ids = ids[canonical_order(ids)]
    detections = [(ids[row], name, 1.0, 2.0, 3.0, 4.0) for row, name in lights]
    return Samples(
        ids=ids,
        signals=pd.DataFrame({name: rng.normal(10, 5, n) for name in signals}),
        gear=rng.choice(["drive", "park", "neutral", "reverse"], n) if gear else None,
        traffic_lights=pd.DataFrame(detections, columns=["ID", "class", "x1_px", "y1_px", "x2_px", "y2_px"]),
        frames=FrameRows.of(np.broadcast_to(np.uint8(0), (n, *FRAME_SHAPE))),
    )


def table_of(samples, causal=False, **stacked):
    return feature_table(samples, None, None, stacked, cells=CELLS, causal=causal)


def slow_scene_features(values, causal):
    """Statistics and neighbours of one signal in one scene, sample by sample."""
    rows = []
    for t, now in enumerate(values):
        seen = values[: t + 1] if causal else values
        before = values[t - 1] if t > 0 else np.nan
        after = values[t + 1] if t + 1 < len(values) else np.nan
        row = {
            "scene/{}_max": max(seen),
            "scene/{}_min": min(seen),
            "scene/{}_mean": sum(seen) / len(seen),
            "scene/{}_std": np.std(seen, ddof=1) if len(seen) > 1 else 0.0,
            "shift/{}_prev": before,
            "diff/{}_prev": now - before,
        }
        rows.append(row if causal else row | {"shift/{}_next": after, "diff/{}_next": now - after})
    return pd.DataFrame(rows)


def test_the_largest_light_of_each_colour_is_measured():
    samples = make_samples([1, 2])
    boxes = [
        (samples.ids[1], "red", 10.0, 2.0, 12.0, 8.0),  # 6 px tall, its middle at (11, 5)
        (samples.ids[1], "red", 50.0, 2.0, 52.0, 5.0),
        (samples.ids[1], "left", 10.0, 2.0, 12.0, 30.0),
        (samples.ids[2], "green", 0.0, 0.0, 4.0, 2.0),
    ]
    lights = pd.DataFrame(boxes, columns=["ID", "class", "x1_px", "y1_px", "x2_px", "y2_px"])

    table = feature_table(
        replace(samples, traffic_lights=lights), None, None, {}, cells=CELLS, causal=False, light_geometry=True
    )

    columns = [f"lights/{colour}_{what}_px" for colour in ("red", "green", "yellow") for what in ("height", "u", "v")]
    nan = np.nan
    expected = [[nan] * 9, [6, 11, 5, *[nan] * 6], [*[nan] * 3, 2, 2, 1, *[nan] * 3]]
    np.testing.assert_array_equal(table[columns], expected)


def test_where_the_motion_model_goes_is_read_on_the_ground():
    samples = make_samples([2])
    waypoints_m = np.arange(36.0).reshape(2, 6, 3)

    table = feature_table(samples, None, None, {}, cells=CELLS, causal=False, motion_m=waypoints_m)

    assert table["motion/x_0"].tolist() == [0, 18] and table["motion/y_5"].tolist() == [16, 34]
    assert "motion/z_0" not in table and len([name for name in table if name.startswith("motion/")]) == 12


@pytest.mark.parametrize("causal", [False, True])
def test_scene_features_agree_with_a_slow_reference(causal):
    samples = make_samples()
    table = table_of(samples, causal=causal)

    for signal in SCENE_SIGNALS:
        by_scene = [samples.signals[signal].to_numpy()[samples.scenes == s] for s in np.unique(samples.scenes)]
        expected = pd.concat([slow_scene_features(values, causal) for values in by_scene])
        found = table[[name.format(signal) for name in expected.columns]]
        np.testing.assert_allclose(found.to_numpy(), expected.to_numpy(), rtol=1e-6, atol=1e-5)


def test_neighbours_follow_time_not_text():
    ids = np.array(["a_20", "a_120", "a_220"])  # as text, a_120 comes first
    samples = replace(make_samples([3]), ids=ids, traffic_lights=None)

    table = table_of(replace(samples, signals=pd.DataFrame({"vEgo": [1.0, 3.0, 10.0]})))

    np.testing.assert_array_equal(table["shift/vEgo_prev"], [np.nan, 1, 3])
    np.testing.assert_array_equal(table["shift/vEgo_next"], [3, 10, np.nan])
    np.testing.assert_array_equal(table["diff/vEgo_prev"], [np.nan, 2, 7])
    np.testing.assert_array_equal(table["diff/vEgo_next"], [-2, -7, np.nan])


@pytest.mark.parametrize("causal", [False, True])
def test_a_lone_sample_is_its_own_statistics_and_has_no_neighbours(causal):
    samples = make_samples([1])
    table = table_of(samples, causal=causal)

    speed_mps = np.float32(samples.signals["vEgo"][0])
    assert (table[[f"scene/vEgo_{name}" for name in ("max", "min", "mean")]] == speed_mps).all(axis=None)
    assert table["scene/vEgo_std"].tolist() == [0.0]
    assert table.filter(regex="^(shift|diff)/").isna().all(axis=None)
    assert table.filter(regex="^(?!shift|diff)").notna().all(axis=None)


@pytest.mark.parametrize("seen", [1, 2, 4])
def test_causal_features_never_change_with_what_comes_later(seen):
    samples = make_samples([6, 6], lights=[(0, "red"), (3, "green"), (9, "left")])
    rng = np.random.default_rng(1)
    now = samples.deciseconds < 20 + 100 * seen
    later = samples.signals.copy()
    later[~now] = rng.normal(-50, 99, later[~now].shape)

    table = table_of(samples, causal=True)
    changed = table_of(replace(samples, signals=later, traffic_lights=samples.traffic_lights[:0]), causal=True)
    cut_off = table_of(samples.take(np.flatnonzero(now)), causal=True)

    own = [name for name in table if not name.startswith("lights/")]
    pd.testing.assert_frame_equal(changed.loc[now, own], table.loc[now, own], check_exact=True)
    pd.testing.assert_frame_equal(cut_off, table[now].reset_index(drop=True), check_exact=True)
    assert not [name for name in table if name.endswith("_next")]


def test_features_of_a_scene_depend_on_no_other_scene():
    samples = make_samples()
    rows = np.flatnonzero(np.isin(samples.scenes, ["02", "07"]))

    alone = table_of(samples.take(rows))

    pd.testing.assert_frame_equal(alone, table_of(samples).iloc[rows].reset_index(drop=True), check_exact=True)


@pytest.mark.parametrize("causal", [False, True])
def test_a_standstill_has_no_spread_left_over_from_rounding(causal):
    samples = make_samples([6])
    samples = replace(samples, signals=samples.signals.assign(vEgo=0.1))

    assert table_of(samples, causal=causal)["scene/vEgo_std"].tolist() == [0.0] * 6


def test_a_small_spread_on_a_large_value_survives_the_causal_statistics():
    samples = make_samples([3])
    samples = replace(samples, signals=samples.signals.assign(vEgo=[1e8, 1e8 + 1, 1e8 + 2]))

    np.testing.assert_allclose(table_of(samples, causal=True)["scene/vEgo_std"], [0, np.sqrt(0.5), 1])


def test_every_detection_counts():
    samples = make_samples([2, 1], lights=[(0, "red"), (0, "left"), (0, "red"), (2, "green")])
    table = table_of(samples)

    assert table["lights/red"].tolist() == [2, 0, 0]
    assert table["lights/left"].tolist() == [1, 0, 0]
    assert table["lights/green"].tolist() == [0, 0, 1]
    assert table["lights/total"].tolist() == [3, 0, 1]


@pytest.mark.parametrize(
    ("sample_id", "name"),
    [pytest.param("00_20", "purple", id="class"), pytest.param("99_20", "red", id="ID")],
)
def test_unknown_detections_are_refused_by_name(sample_id, name):
    samples = make_samples([2], lights=[(0, "red"), (1, "red")])
    lights = samples.traffic_lights.assign(**{"ID": ["00_20", sample_id], "class": ["red", name]})

    with pytest.raises(ValueError, match=f"found {sample_id} {name}$"):
        table_of(replace(samples, traffic_lights=lights))


def test_row_labels_of_the_signals_mean_nothing():
    samples = make_samples([3, 2], lights=[(1, "red")])
    labelled = replace(samples, signals=samples.signals.set_index(np.arange(5)[::-1] + 7))

    pd.testing.assert_frame_equal(table_of(labelled), table_of(samples))


def test_gears_become_two_flags():
    samples = replace(make_samples([4]), gear=np.array(["drive", "park", "neutral", "reverse"]))
    table = table_of(samples)

    assert table["gear/drive"].tolist() == [1, 0, 0, 0]
    assert table["gear/park"].tolist() == [0, 1, 0, 0]


def test_absent_sensors_have_no_columns():
    samples = replace(make_samples([2, 1], signals=["vEgo"], gear=False), traffic_lights=None)

    assert table_of(samples).columns.tolist() == [
        "can/vEgo",
        *(f"scene/vEgo_{name}" for name in ("max", "min", "mean", "std")),
        *(f"{group}/vEgo_{step}" for step in ("prev", "next") for group in ("shift", "diff")),
    ]


def test_embeddings_and_stacked_predictions_keep_their_places():
    samples, rng = make_samples(), np.random.default_rng(0)
    n = len(samples)
    svd = rng.normal(size=(n, CELLS * COMPONENTS)).astype(np.float32)
    similarity = rng.normal(size=(n, CELLS * 2)).astype(np.float32)
    stacked = {"nn1": rng.normal(size=(n, 18)), "nn2": rng.normal(size=(n, 18))}

    table = feature_table(samples, svd, similarity, stacked, cells=CELLS, causal=False)

    np.testing.assert_array_equal(table["svd/cell3_2"], svd.reshape(n, CELLS, COMPONENTS)[:, 3, 2])
    np.testing.assert_array_equal(table["similarity/cell5_t_t-0.5"], similarity.reshape(n, CELLS, 2)[:, 5, 0])
    np.testing.assert_array_equal(table["similarity/cell5_t-0.5_t-1.0"], similarity.reshape(n, CELLS, 2)[:, 5, 1])
    np.testing.assert_array_equal(table["nn2/z_4"], stacked["nn2"][:, 14].astype(np.float32))
    assert table.shape == (n, 10 + 20 + 20 + len(LIGHT_CLASSES) + 1 + 2 + 24 + 16 + 36)
    assert table.columns.is_unique
    assert set(table.dtypes) == {np.dtype(np.float32)}


@pytest.mark.parametrize(
    ("svd", "similarity", "stacked", "message"),
    [
        pytest.param(np.zeros((2, 24)), None, {}, r"svd: expected shape \(3, 24\), found \(2, 24\)", id="svd rows"),
        pytest.param(np.zeros((3, 25)), None, {}, r"svd: .* found \(3, 25\)", id="svd cells"),
        pytest.param(None, np.zeros((3, 8)), {}, r"similarity: expected shape \(3, 16\)", id="one pair"),
        pytest.param(None, None, {"nn1": np.zeros((3, 6, 3))}, r"nn1: expected shape \(3, 18\)", id="waypoints"),
    ],
)
def test_arrays_of_other_shapes_are_refused(svd, similarity, stacked, message):
    with pytest.raises(ValueError, match=message):
        feature_table(make_samples([2, 1]), svd, similarity, stacked, cells=CELLS, causal=False)


IDS = np.array([f"{i:05d}_20" for i in range(4000)])


def test_noise_has_the_published_spread_and_no_bias():
    noise_m = stacking_noise(IDS, "nn1", seed=0, scale=0.5)

    assert STACKING_NOISE_M.tolist()[::6] == [0.03, 0.08, 0.15]  # x at 0.5, 1.5 and 2.5 s
    assert STACKING_NOISE_M.tolist()[-3:] == [0.2, 0.13, 0.05]
    standardised = noise_m / (0.5 * STACKING_NOISE_M)
    assert noise_m.shape == (4000, 18)
    np.testing.assert_allclose(standardised.std(axis=0), 1, atol=4.5 / np.sqrt(8000))
    np.testing.assert_allclose(standardised.mean(axis=0), 0, atol=4.5 / np.sqrt(4000))


def test_noise_of_targets_models_and_seeds_is_independent():
    draws = [stacking_noise(IDS, model, seed, 1.0) for model, seed in (("nn1", 0), ("nn2", 0), ("nn1", 1))]

    correlations = np.corrcoef(np.hstack(draws).T) - np.eye(54)

    assert np.abs(correlations).max() < 5 / np.sqrt(4000)


def test_noise_of_an_id_depends_on_no_other_row():
    order = np.random.default_rng(0).permutation(4000)[:100]

    noise_m = stacking_noise(IDS, "nn1", seed=7, scale=0.5)

    np.testing.assert_array_equal(stacking_noise(IDS[order], "nn1", seed=7, scale=0.5), noise_m[order])
    assert np.isfinite(noise_m).all()
    assert not stacking_noise(IDS, "nn1", seed=7, scale=0.0).any()


def test_nothing_given_is_changed():
    samples = make_samples(lights=[(0, "red")])
    stacked_m = np.ones((len(samples), 18))
    before = samples.signals.copy(), samples.traffic_lights.copy()

    table = table_of(samples, nn1=stacked_m)
    table.iloc[:] = 0

    pd.testing.assert_frame_equal(samples.signals, before[0])
    pd.testing.assert_frame_equal(samples.traffic_lights, before[1])
    assert (stacked_m == 1).all()
