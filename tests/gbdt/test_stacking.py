"""Fold k's boosters read fold k's upstreams and never a target of fold k; only training rows get noise."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from atma18.config import GbdtConfig
from atma18.data.folds import held_out_scenes
from atma18.embedding import EmbeddingFeatures
from atma18.features import stacking_noise
from atma18.gbdt import boosting, stacking
from atma18.gbdt.inputs import StoredInputs
from atma18.gbdt.stacking import GbdtModel
from atma18.geometry.kinematics import MotionModel
from atma18.schema import TARGETS

CELLS, FOLDS = 2, 3
CONFIG = GbdtConfig(
    learning_rate=0.3, rounds=4, max_depth=2, min_child_weight=0.0, gamma=0.0, early_stopping_rounds=2, reg_alpha=0.0
)
ENGINES = pytest.mark.parametrize("engine", ["xgboost", "catboost"])


@pytest.fixture(scope="module")
def drives(tiny):
    """Samples, targets and 3 folds of 4 scenes."""
    return tiny.train, tiny.targets_m, np.unique(tiny.train.scenes, return_inverse=True)[1] % FOLDS


def make_inputs(n, seed=0):
    """Upstream results in which each model, fold and row has numbers of its own."""
    rng = np.random.default_rng(seed)
    svd = rng.normal(size=(FOLDS, n, CELLS * 2)).astype(np.float32)
    similarity = rng.uniform(size=(n, CELLS * 2)).astype(np.float32)
    return StoredInputs(
        {name: rng.normal(scale=10, size=(FOLDS, n, 18)) for name in ("nn1", "nn2")},
        {"embed": tuple(EmbeddingFeatures(basis, similarity) for basis in svd)},
    )


def fit(drives, inputs=None, stack=("nn1", "nn2"), config=CONFIG, **more):
    samples, targets_m, folds = drives
    inputs = make_inputs(len(samples)) if inputs is None else inputs
    return stacking.fit(config, samples, targets_m, folds, inputs, stack, CELLS, threads=1, **more)


@pytest.fixture
def fitted(monkeypatch):
    """What `fit` gives to the boosters, fold by fold; none are fitted."""
    calls = []

    def record(config, features, targets, held_out, *, seed, threads, on_booster, bag):
        calls.append({"features": features, "targets": targets, "held_out": held_out, "seed": seed})
        return ()

    monkeypatch.setattr(boosting, "fit_targets", record)
    return calls


class Spy:
    """A booster that answers with one value and keeps the tables that it was asked about."""

    suffix, targets = ".ubj", 1

    def __init__(self, value=0.0, feature_names=()):
        self.value, self.feature_names, self.tables = value, feature_names, []

    def predict(self, table):
        self.tables.append(pd.DataFrame(table, columns=list(self.feature_names)))
        return np.full(len(table), self.value)

    def save(self, path):
        Path(path).write_text(str(self.value))

    def feature_importance(self):
        return pd.Series({"a": self.value, "b": 1 - self.value})


def spies(config=CONFIG, stack=("nn1", "nn2")):
    read = (*(f"{name}/{target}" for name in stack for target in TARGETS), "svd/cell1_1")
    folds = tuple(tuple(Spy(100.0 * k + t, read) for t in range(18)) for k in range(FOLDS))
    return GbdtModel(config, stack, CELLS, folds)


@ENGINES
def test_boosting_starts_from_the_mean_of_the_nets_and_learns_what_they_all_miss(drives, engine):
    """Where the mean of the nets is off by one constant per target, a single step of full length mends it."""
    samples, _, folds = drives
    inputs, offset_m = make_inputs(len(samples)), np.linspace(-1, 1, 18)
    mean_m = (inputs.stacked("nn1", 0) + inputs.stacked("nn2", 0)) / 2
    same = StoredInputs(
        {name: np.stack([inputs.stacked(name, 0)] * FOLDS) for name in ("nn1", "nn2")}, inputs.embeddings
    )
    config = replace(CONFIG, target="stacked", engine=engine, rounds=1, learning_rate=1.0, reg_lambda=0.0)

    model = fit((samples, mean_m + offset_m, folds), same, config=config)

    for k in range(FOLDS):
        np.testing.assert_allclose(model.predict(k, samples, same, "cpu"), mean_m + offset_m, rtol=0, atol=1e-4)


def test_without_nets_there_is_nothing_to_start_from(drives):
    with pytest.raises(ValueError, match="expected a net to start from with target=stacked"):
        fit(drives, stack=(), config=replace(CONFIG, target="stacked"))


# Fitting


@pytest.mark.parametrize("noise_scale", [0.0, 0.5, 2.0])
def test_training_rows_get_out_of_fold_predictions_with_noise_of_each_models_own(drives, fitted, noise_scale):
    samples, _, folds = drives
    inputs = make_inputs(len(samples))

    fit(drives, inputs, config=replace(CONFIG, noise_scale=noise_scale, seed=5))

    for k in range(FOLDS):
        rows, table = np.flatnonzero(folds != k), fitted[k]["features"]
        noise = {}
        for name in ("nn1", "nn2"):
            found = table[[f"{name}/{target}" for target in TARGETS]].to_numpy(np.float64)
            noise[name] = found - inputs.stacked(name, k)[rows]
            expected = stacking_noise(samples.ids[rows], name, 5, noise_scale)
            np.testing.assert_allclose(noise[name], expected, rtol=0, atol=1e-5)
        assert np.allclose(noise["nn1"], noise["nn2"], atol=1e-4) == (noise_scale == 0)


def test_a_folds_table_holds_the_rows_outside_it_in_its_own_basis(drives, fitted):
    samples, _, folds = drives
    inputs = make_inputs(len(samples))

    fit(drives, inputs)

    assert len(fitted) == FOLDS
    for k in range(FOLDS):
        rows, table = np.flatnonzero(folds != k), fitted[k]["features"]
        np.testing.assert_allclose(table["can/vEgo"], samples.signals["vEgo"].to_numpy()[rows], rtol=1e-6)
        svd = table[["svd/cell0_0", "svd/cell0_1", "svd/cell1_0", "svd/cell1_1"]].to_numpy()
        np.testing.assert_array_equal(svd, inputs.embedding("embed", k).svd[rows])
        similarity = table[[name for name in table if name.startswith("similarity/")]].to_numpy()
        np.testing.assert_array_equal(similarity, inputs.embedding("embed", k).similarity[rows])


@pytest.mark.parametrize("target", ["absolute", "residual"])
def test_boosters_learn_metres_or_what_constant_velocity_leaves(drives, fitted, target):
    samples, targets_m, folds = drives
    straight_m = np.zeros((len(samples), 18))
    for waypoint in range(6):
        straight_m[:, 3 * waypoint] = samples.signals["vEgo"] * 0.5 * (waypoint + 1)

    fit(drives, config=replace(CONFIG, target=target))

    for k in range(FOLDS):
        rows = folds != k
        expected_m = targets_m[rows] - (straight_m[rows] if target == "residual" else 0)
        np.testing.assert_allclose(fitted[k]["targets"], expected_m, rtol=0, atol=1e-9)


def test_rounds_are_chosen_on_whole_scenes_of_the_training_part(drives, fitted):
    samples, _, folds = drives

    fit(drives, config=replace(CONFIG, seed=4))

    for k in range(FOLDS):
        scenes = samples.scenes[folds != k]
        np.testing.assert_array_equal(fitted[k]["held_out"], held_out_scenes(scenes, 4))
        assert not set(scenes[fitted[k]["held_out"]]) & set(scenes[~fitted[k]["held_out"]])
        assert fitted[k]["seed"] == 4


def test_each_bag_is_stopped_on_other_scenes_of_the_training_part(drives, fitted):
    samples, _, folds = drives

    fit(drives, config=replace(CONFIG, seed=4, bags=3))

    assert len(fitted) == FOLDS * 3
    for k in range(FOLDS):
        scenes = samples.scenes[folds != k]
        bags = fitted[3 * k : 3 * k + 3]
        held_out = [set(scenes[bag["held_out"]]) for bag in bags]
        assert all(held_out) and sum(map(len, held_out)) == len(set.union(*held_out))
        assert [bag["seed"] for bag in bags] == [4, 5, 6]


def test_more_bags_than_scenes_are_refused(drives):
    with pytest.raises(ValueError, match=r"expected at most \d+ parts of \d+ training scenes, found 60: ask for fewer"):
        fit(drives, config=replace(CONFIG, bags=60))


def test_the_mean_over_bags_is_predicted(drives):
    samples = drives[0]
    boosters = tuple(Spy(value) for value in (*range(18), *range(100, 118)))
    model = GbdtModel(replace(CONFIG, bags=2), (), CELLS, (boosters,) * FOLDS)

    predicted_m = model.predict(1, samples, make_inputs(len(samples)), "cpu")

    np.testing.assert_array_equal(predicted_m, np.tile(np.arange(18) + 50.0, (len(samples), 1)))


def test_a_model_without_upstream_predictions_has_no_column_of_them(drives, fitted):
    fit(drives, stack=("nn2",))

    models = {name.split("/")[0] for name in fitted[0]["features"]}
    assert "nn2" in models and "nn1" not in models


@ENGINES
def test_a_folds_boosters_see_nothing_of_its_rows(drives, engine):
    samples, targets_m, folds = drives
    inputs, inside = make_inputs(len(samples)), np.flatnonzero(folds == 0)
    changed_m, signals = targets_m.copy(), samples.signals.copy()
    changed_m[inside] = -3 * changed_m[inside] + 50
    signals.iloc[inside] += 9.0
    other = StoredInputs(
        {name: np.array(values) for name, values in inputs.by_fold_m.items()},
        {"embed": tuple(EmbeddingFeatures(f.svd.copy(), f.similarity.copy()) for f in inputs.embeddings["embed"])},
    )
    for values in other.by_fold_m.values():
        values[:, inside] += 30
    for features in other.embeddings["embed"]:
        features.svd[inside] += 4
    config = replace(CONFIG, engine=engine)

    before = fit(drives, inputs, config=config)
    after = fit((replace(samples, signals=signals), changed_m, folds), other, config=config)

    unchanged = [
        np.array_equal(*(model.predict(k, samples, inputs, "cpu") for model in (before, after))) for k in range(FOLDS)
    ]
    assert unchanged == [True, False, False]


def test_each_booster_is_reported(drives):
    reported = []

    model = fit(drives, config=replace(CONFIG, rounds=1), on_booster=reported.append)

    assert reported == [*range(18)] * FOLDS
    assert [len(fold) for fold in model.folds] == [18] * FOLDS


# Predicting


def test_predictions_read_the_upstreams_as_they_are_in_the_same_fold(drives):
    samples, model = drives[0], spies()
    inputs = make_inputs(len(samples))

    for k in range(FOLDS):
        model.predict(k, samples, inputs, "cpu")

        for booster in model.folds[k]:
            [table] = booster.tables
            for name in ("nn1", "nn2"):
                found = table[[f"{name}/{target}" for target in TARGETS]].to_numpy()
                np.testing.assert_array_equal(found, inputs.stacked(name, k).astype(np.float32))
            np.testing.assert_array_equal(table["svd/cell1_1"], inputs.embedding("embed", k).svd[:, 3])


@pytest.mark.parametrize("target", ["absolute", "residual"])
@pytest.mark.parametrize("fold", [0, 2])
def test_each_booster_adds_to_its_own_target(drives, target, fold):
    samples = drives[0]
    speed_mps = samples.signals["vEgo"].to_numpy()

    predicted_m = spies(replace(CONFIG, target=target)).predict(fold, samples, make_inputs(len(samples)), "cpu")

    for t, name in enumerate(TARGETS):
        straight_m = speed_mps * 0.5 * (int(name[-1]) + 1) if name.startswith("x") else 0.0
        expected_m = 100 * fold + t + (straight_m if target == "residual" else 0.0)
        np.testing.assert_allclose(predicted_m[:, t], np.broadcast_to(expected_m, len(samples)), rtol=0, atol=1e-9)


def test_a_car_at_constant_velocity_leaves_nothing_to_a_residual(drives):
    samples, _, folds = drives
    straight_m = np.zeros((len(samples), 18))
    straight_m[:, ::3] = samples.signals["vEgo"].to_numpy()[:, None] * [0.5, 1.0, 1.5, 2.0, 2.5, 3.0]

    model = fit((samples, straight_m, folds), config=replace(CONFIG, target="residual"))

    predicted_m = model.predict(1, samples, make_inputs(len(samples)), "cpu")
    np.testing.assert_allclose(predicted_m, straight_m, rtol=0, atol=1e-6)


@ENGINES
def test_a_scenes_prediction_is_the_same_alone_and_among_others(drives, engine):
    samples = drives[0]
    inputs, model = make_inputs(len(samples)), fit(drives, config=replace(CONFIG, engine=engine))
    together_m = model.predict(1, samples, inputs, "cpu")

    for scene in np.unique(samples.scenes)[:5]:
        rows = np.flatnonzero(samples.scenes == scene)
        np.testing.assert_array_equal(model.predict(1, samples.take(rows), inputs.take(rows), "cpu"), together_m[rows])


@pytest.mark.parametrize("causal", [True, False])
def test_only_a_causal_model_predicts_the_same_before_later_samples_arrive(drives, causal):
    samples = drives[0]
    earlier = np.flatnonzero(samples.scenes == samples.scenes[samples.scene_sizes.argmax()])[:3]
    inputs, model = make_inputs(len(samples)), fit(drives, config=replace(CONFIG, causal=causal, max_depth=6))
    assert samples.scene_sizes[earlier[0]] > 3

    now_m = model.predict(0, samples.take(earlier), inputs.take(earlier), "cpu")

    assert np.array_equal(now_m, model.predict(0, samples, inputs, "cpu")[earlier]) == causal
    assert model.causal == causal


# Files


@ENGINES
@pytest.mark.parametrize("stack", [("nn1", "nn2"), ()], ids=["two upstreams", "none"])
def test_a_saved_model_predicts_the_same(drives, tmp_path, engine, stack):
    samples, config = drives[0], replace(CONFIG, engine=engine, target="residual")
    inputs, model = make_inputs(len(samples)), fit(drives, config=config, stack=stack)
    model.save(tmp_path)

    read = GbdtModel.load(config, stack, CELLS, {path.name: path for path in tmp_path.iterdir()})

    assert (read.config, read.stack, read.cells, len(read.folds)) == (config, stack, CELLS, FOLDS)
    for k in range(FOLDS):
        found_m, expected_m = (m.predict(k, samples, inputs, "cpu") for m in (read, model))
        np.testing.assert_array_equal(found_m, expected_m)
    suffix = ".ubj" if engine == "xgboost" else ".cbm"
    names = {f"fold{k}_bag0_{name}{suffix}" for k in range(FOLDS) for name in TARGETS}
    assert {path.name for path in tmp_path.iterdir()} == names


def test_both_engines_take_turns_by_bag(drives, tmp_path):
    samples, config = drives[0], replace(CONFIG, rounds=2, bags=2)
    inputs = make_inputs(len(samples))
    both, first, second = (
        fit(drives, inputs, config=replace(config, engine=engine)) for engine in ("both", "xgboost", "catboost")
    )
    both.save(tmp_path)

    read = GbdtModel.load(both.config, both.stack, CELLS, {path.name: path for path in tmp_path.iterdir()})

    assert {path.name.split("_")[1] + path.suffix for path in tmp_path.iterdir()} == {"bag0.ubj", "bag1.cbm"}
    for k in range(FOLDS):
        table = both.table(k, samples, inputs, {name: inputs.stacked(name, k) for name in both.stack}, None)
        bags = (first.folds[k][:18], second.folds[k][18:])
        expected_m = np.mean([np.column_stack([b.predict(table) for b in bag]) for bag in bags], axis=0)
        np.testing.assert_allclose(both.predict(k, samples, inputs, "cpu"), expected_m, rtol=0, atol=1e-9)
        np.testing.assert_array_equal(read.predict(k, samples, inputs, "cpu"), both.predict(k, samples, inputs, "cpu"))


@pytest.mark.parametrize("scenes", [5, 6])
def test_with_too_few_scenes_to_stop_by_it_runs_as_many_rounds_as_it_would_wait_for(drives, scenes):
    """The first fold has one scene, the second the others; two rounds are waited for, of four at most."""
    samples, targets_m, _ = drives
    number = np.unique(samples.scenes, return_inverse=True)[1]
    rows = np.flatnonzero(number <= scenes)
    few = samples.take(rows), targets_m[rows], np.minimum(number[rows], 1)

    model = fit(few, make_inputs(len(rows)), config=replace(CONFIG, early_stopping_rounds=2, rounds=4))

    rounds = {booster.rounds for booster in model.folds[0]}  # fitted on the second fold
    assert rounds == {2} if scenes == 5 else rounds - {1, 2}


def test_one_bag_is_too_few_for_both_engines():
    with pytest.raises(ValueError, match="at least 2 bags with engine both, found 1"):
        replace(CONFIG, engine="both")


@pytest.mark.parametrize("changed", [{"target": "motion"}, {"motion": True}, {"target": "motion", "motion": True}])
def test_each_folds_motion_model_is_fitted_outside_it_and_kept(drives, tmp_path, changed):
    samples, targets_m, folds = drives
    inputs, config = make_inputs(len(samples)), replace(CONFIG, rounds=2, **changed)
    model = fit(drives, inputs, config=config)
    model.save(tmp_path)

    read = GbdtModel.load(config, model.stack, CELLS, {path.name: path for path in tmp_path.iterdir()})

    rows = [folds != k for k in range(FOLDS)]
    outside = [MotionModel.fit(samples.signals[r], targets_m[r], samples.scenes[r]) for r in rows]
    assert list(read.motions) == list(model.motions) == outside
    for k in range(FOLDS):
        np.testing.assert_array_equal(read.predict(k, samples, inputs, "cpu"), model.predict(k, samples, inputs, "cpu"))
    features = model.folds[0][0].feature_names
    assert ("motion/x_5" in features) == ("motion" in changed)


def test_boosting_goes_on_from_where_the_motion_model_goes(drives):
    samples, _, folds = drives
    truth = MotionModel(delay_s=0.06, gain=0.95, steering_ratio=16.0)
    ahead_m = truth.waypoints(samples.signals).reshape(len(samples), -1)
    config = replace(CONFIG, target="motion", rounds=1)

    model = fit((samples, ahead_m, folds), config=config)

    np.testing.assert_allclose(model.predict(0, samples, make_inputs(len(samples)), "cpu"), ahead_m, rtol=0, atol=0.02)


@ENGINES
def test_a_bag_of_xgboost_is_joined_and_predicts_the_same_to_the_bit(drives, tmp_path, engine):
    samples, config = drives[0], replace(CONFIG, engine=engine, bags=2, rounds=40)
    inputs, model = make_inputs(len(samples)), fit(drives, config=config)
    joined = model.joined()
    joined.save(tmp_path)

    files = {path.name: path for path in tmp_path.iterdir()}
    read = GbdtModel.load(config, model.stack, CELLS, files)

    if engine == "xgboost":
        assert len({booster.rounds for booster in model.folds[0]}) > 2
        assert set(files) == {f"fold{k}_bag{bag}.ubj" for k in range(FOLDS) for bag in range(2)}
        with pytest.raises(ValueError, match="expected a booster of one target, found 18 that are joined"):
            read.feature_importance()
    else:
        assert len(files) == FOLDS * 2 * 18
    for k in range(FOLDS):
        expected_m = model.predict(k, samples, inputs, "cpu")
        assert np.ptp(expected_m, axis=0).min() > 0
        for found in (joined, read):
            np.testing.assert_array_equal(found.predict(k, samples, inputs, "cpu"), expected_m)


def test_boosters_of_other_targets_are_refused(drives, tmp_path):
    model = fit(drives, config=replace(CONFIG, rounds=1))
    model.save(tmp_path)
    files = {path.name: path for path in tmp_path.iterdir()}
    model.joined().save(tmp_path)
    whole = tmp_path / "fold0_bag0.ubj"

    for wrong, found in (({whole.name: files["fold0_bag0_x_0.ubj"]}, 1), ({"fold0_bag0_x_0.ubj": whole}, 35)):
        with pytest.raises(ValueError, match=f"fold 0: expected boosters of 18 targets, found {found}: make"):
            GbdtModel.load(model.config, model.stack, CELLS, files | wrong)


def test_each_file_holds_the_booster_of_its_fold_and_target(tmp_path):
    spies().save(tmp_path)

    assert float((tmp_path / "fold2_bag0_z_5.ubj").read_text()) == 217
    assert float((tmp_path / "fold0_bag0_y_0.ubj").read_text()) == 1


def test_bags_are_files_of_their_own_and_come_back_in_order(drives, tmp_path):
    samples, config = drives[0], replace(CONFIG, bags=2, rounds=2)
    inputs, model = make_inputs(len(samples)), fit(drives, config=config)
    model.save(tmp_path)

    read = GbdtModel.load(config, model.stack, CELLS, {path.name: path for path in tmp_path.iterdir()})

    assert len(list(tmp_path.iterdir())) == FOLDS * 2 * 18
    np.testing.assert_array_equal(read.predict(1, samples, inputs, "cpu"), model.predict(1, samples, inputs, "cpu"))


def test_importance_is_averaged_over_folds_and_targets_largest_first():
    boosters = tuple((Spy(value),) * 18 for value in (0.1, 0.2, 0.3))

    importance = GbdtModel(CONFIG, (), CELLS, boosters).feature_importance()

    assert list(importance.index) == ["b", "a"]
    np.testing.assert_allclose(importance, [0.8, 0.2])


@pytest.fixture
def bounded(drives):
    """A model whose upstreams are bounded, and what the rows of each fold leave of its motion model at most."""
    samples, targets_m, folds = drives
    model = fit(drives, config=replace(CONFIG, rounds=2, target="stacked", bounded=True))
    left_m = [
        targets_m[folds != k] - motion.waypoints(samples.signals[folds != k]).reshape(-1, 18)
        for k, motion in enumerate(model.motions)
    ]
    return model, [(of_fold_m.min(axis=0), of_fold_m.max(axis=0)) for of_fold_m in left_m]


@pytest.mark.parametrize("fold", range(FOLDS))
@pytest.mark.parametrize("off_m", [130.0, -130.0])
def test_an_upstream_is_believed_as_far_as_the_training_rows_left_the_motion_model(drives, bounded, fold, off_m):
    samples, model, limits = drives[0], *bounded
    motion_m = model.motions[fold].waypoints(samples.signals).reshape(-1, 18)
    absurd = make_inputs(len(samples))
    held = {name: motion_m + limits[fold][int(off_m > 0)] for name in absurd.by_fold_m}
    spy = Spy(feature_names=tuple(f"{name}/{target}" for name in held for target in TARGETS))
    answering = replace(model, folds=((spy,) * 18,) * FOLDS)

    found_m = answering.predict(
        fold,
        samples,
        replace(absurd, by_fold_m={name: np.tile(motion_m + off_m, (FOLDS, 1, 1)) for name in held}),
        "cpu",
    )

    np.testing.assert_allclose(found_m, np.mean(list(held.values()), axis=0), atol=1e-12)
    for name, expected_m in held.items():
        columns = [f"{name}/{target}" for target in TARGETS]
        np.testing.assert_allclose(spy.tables[0][columns].to_numpy(), expected_m, rtol=1e-5, atol=1e-5)


def test_an_upstream_within_the_bounds_is_believed_as_it_is(drives, bounded):
    samples, model, limits = drives[0], *bounded
    motion_m = model.motions[0].waypoints(samples.signals).reshape(-1, 18)
    inside_m = motion_m + np.mean(limits[0], axis=0)
    inputs = replace(make_inputs(len(samples)), by_fold_m={n: np.tile(inside_m, (FOLDS, 1, 1)) for n in ("nn1", "nn2")})

    found_m = replace(model, folds=((Spy(),) * 18,) * FOLDS).predict(0, samples, inputs, "cpu")

    np.testing.assert_allclose(found_m, inside_m, atol=1e-12)


def test_bounds_are_kept_and_damaged_ones_are_refused(drives, bounded, tmp_path):
    samples, model = drives[0], bounded[0]
    model.save(tmp_path)
    files = {path.name: path for path in tmp_path.iterdir()}
    inputs = make_inputs(len(samples))

    read = GbdtModel.load(model.config, model.stack, CELLS, files)

    np.testing.assert_array_equal(read.predict(1, samples, inputs, "cpu"), model.predict(1, samples, inputs, "cpu"))
    files["fold1_range.json"].write_text("[[0, 1], [2, 3]]")
    with pytest.raises(ValueError, match=r"fold1_range.json: expected \(2, 18\) finite numbers"):
        GbdtModel.load(model.config, model.stack, CELLS, files)
