"""With view path a net reads the road along the path of its fold's motion model, and begins as that model."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from atma18.bundle.model import Stored
from atma18.bundle.steps import STEPS as KINDS
from atma18.compute import Compute
from atma18.config import NetConfig, StageConfig
from atma18.geometry import mirror
from atma18.geometry.camera import COMPETITION_CAMERA
from atma18.geometry.kinematics import MotionModel
from atma18.nets import training
from atma18.nets.training.variants import Variants
from atma18.schema import FrameRows

MACHINE = Compute("cpu", 1, bfloat16=False)
STAGE = StageConfig(batch_size=16, learning_rate=1e-2, weight_decay=1e-2, num_epochs=1)
STILL = replace(STAGE, learning_rate=1e-12, weight_decay=0.0)
CONFIG = NetConfig(
    STAGE,
    STAGE,
    backbone="cnn",
    view="path",
    stage="whole",
    target="motion",
    by_speed=True,
    mirror=True,
    bent_paths=2,
    hidden=8,
    num_layers=1,
)
STEPS = pytest.mark.parametrize("step", ["nn1", "nn2"])
LOW = replace(COMPETITION_CAMERA, height_above_road_m=0.9)


@pytest.fixture(scope="module")
def drives(tiny):
    """Samples, targets and 2 folds of 6 scenes."""
    return tiny.train, tiny.targets_m, np.unique(tiny.train.scenes, return_inverse=True)[1] % 2


def train(config, drives, step="nn1"):
    return training.train(step, config, *drives, MACHINE)


def seen_by(samples, camera):
    return replace(samples, frames=replace(samples.frames, camera=camera))


def assert_each_fold_is_its_motion_model(model, drives):
    samples, targets_m, folds = drives
    for k, fold in enumerate(model.folds):
        motion = MotionModel.fit(samples.signals[folds != k], targets_m[folds != k], samples.scenes[folds != k])
        expected_m = motion.waypoints(samples.signals).reshape(len(samples), -1)
        np.testing.assert_allclose(fold.predict(samples, model.config, "cpu"), expected_m, atol=1e-5)


@STEPS
@pytest.mark.parametrize("head", ["lstm", "attention"])
def test_an_untrained_net_says_what_the_motion_model_of_its_fold_says(drives, step, head):
    model = train(replace(CONFIG, second=STILL, sequence_head=head), drives, step)

    assert_each_fold_is_its_motion_model(model, drives)


def test_an_error_of_a_metre_counts_the_same_in_every_target(drives):
    """Of two standing cars, where the pace is 1, so that outputs are differences in one unit."""
    samples, targets_m, _ = drives
    fold = training.first_model("nn1", replace(CONFIG, by_speed=False), samples, targets_m, np.arange(len(samples)))
    baseline_m = fold.scaling.baseline.ahead_m(samples)

    outputs = fold.scaling.outputs(samples, baseline_m + 2.0)

    np.testing.assert_allclose(outputs, 2.0 / np.abs(targets_m - baseline_m).mean(), rtol=1e-5)


def test_images_are_grids_of_the_frame_at_t_alone(drives):
    samples, targets_m, _ = drives
    fold = training.first_model("nn1", CONFIG, samples, targets_m, np.arange(len(samples)))
    frames = np.array(samples.frames[:])
    frames[:, 1:] = 0

    images = fold.images(samples, CONFIG)
    same = fold.images(replace(samples, frames=FrameRows.of(frames)), CONFIG)

    assert images.shape == (len(samples), 1, 24, 41, 3)
    np.testing.assert_array_equal(images[:], same[:])
    assert images[:].std() > 10


def test_each_bent_path_has_other_images_and_targets_moved_against_the_bend(drives):
    samples, targets_m, _ = drives
    rows = np.arange(0, len(samples), 2)
    fold = training.first_model("nn1", CONFIG, samples, targets_m, rows)

    variants = Variants.of(fold, CONFIG, samples, rows, seed=0)

    images = np.stack([variants.images[variants.places(np.full(len(rows), v), rows)] for v in range(3)])
    np.testing.assert_array_equal(images[0], fold.images(samples.take(rows), CONFIG)[:])
    assert (images[1] != images[0]).any() and (images[2] != images[1]).any()
    found_m = variants.targets_m(targets_m).reshape(3, len(samples), 6, 3)
    plain_m = targets_m.reshape(len(samples), 6, 3)
    np.testing.assert_array_equal(found_m[0], plain_m)
    np.testing.assert_array_equal(found_m[:, 1::2], np.stack([plain_m[1::2]] * 3))  # no training rows
    assert (np.abs(found_m - plain_m)[1:, ::2, :, 1].mean(axis=(0, 1)) > 0).all()
    np.testing.assert_array_equal(found_m[..., 2], np.stack([plain_m[..., 2]] * 3))
    np.testing.assert_array_equal(variants.draw(5, None), np.zeros(5))


def test_a_path_that_bends_to_the_left_has_the_truth_further_to_the_right(drives, monkeypatch):
    samples, targets_m, _ = drives
    rows = np.arange(len(samples))
    fold = training.first_model("nn1", CONFIG, samples, targets_m, rows)

    class Left:
        def normal(self, mean, scales, shape):
            return np.broadcast_to(np.abs(scales), shape)

    monkeypatch.setattr(np.random, "default_rng", lambda seed: Left())
    moved_m = Variants.of(fold, CONFIG, samples, rows, seed=0).targets_m(targets_m)[1] - targets_m

    fast = np.flatnonzero(samples.signals["vEgo"] > 5)
    assert (moved_m[fast][:, 1::3] < 0).all()


def test_a_mirrored_sample_is_answered_by_the_mirrored_waypoints(drives):
    samples, _, _ = drives
    centred = replace(COMPETITION_CAMERA, intrinsics_px=COMPETITION_CAMERA.intrinsics_px * 1.0)
    centred.intrinsics_px[0, 2] = 63.5
    samples = seen_by(samples, centred)
    model = train(CONFIG, (samples, *drives[1:]))

    here_m = model.predict(0, samples, None, "cpu")
    there_m = model.predict(0, mirror.samples(samples), None, "cpu")

    np.testing.assert_allclose(mirror.waypoints(there_m), here_m, atol=0.02)  # bytes are rounded on either side
    assert np.abs(there_m - here_m).max() > 1


def test_the_camera_of_the_frames_lays_the_grid_and_that_of_the_training_frames_where_they_name_none(drives, tmp_path):
    samples, targets_m, folds = drives
    config = replace(CONFIG, bent_paths=0)
    model = train(config, (seen_by(samples, LOW), targets_m, folds))
    model.save(tmp_path)
    described = json.loads(json.dumps(model.describe()))
    files = {path.name: path for path in tmp_path.iterdir()}

    loaded = KINDS["nn1"].load(Stored("nn1", described, files, tuple(samples.signals.columns), "cpu"))

    expected_m = model.predict(0, seen_by(samples, LOW), None, "cpu")
    np.testing.assert_array_equal(loaded.predict(0, samples, None, "cpu"), expected_m)
    other_m = loaded.predict(0, seen_by(samples, COMPETITION_CAMERA), None, "cpu")
    assert not np.array_equal(other_m, expected_m)


def test_a_dataset_names_its_own_camera_alone(tiny, tiny_folder):
    assert not (tiny_folder / "camera.json").exists()
    assert tiny.train.frames.camera is None and tiny.camera is COMPETITION_CAMERA


@pytest.mark.parametrize("changed", [{"view": "frame"}, {"target": "residual"}])
def test_bent_paths_need_a_path_and_a_motion_model(changed):
    with pytest.raises(ValueError, match="expected view path and target motion with bent_paths"):
        replace(CONFIG, **changed)


@pytest.mark.parametrize("target", ["absolute", "residual"])
def test_other_targets_have_a_path_too(drives, target):
    model = train(replace(CONFIG, target=target, by_speed=False, bent_paths=0), drives)

    assert model.folds[0].scaling.motion.shape == (8,)
    assert np.isfinite(model.predict(0, drives[0], None, "cpu")).all()


def test_nn2_keeps_the_encoder_of_nn1_fold_by_fold_and_learns_its_head_alone(drives):
    nn1 = train(CONFIG, drives)

    nn2 = training.train("nn2", replace(CONFIG, stage="head"), *drives, MACHINE, start=nn1)

    for first, second in zip(nn1.folds, nn2.folds, strict=True):
        kept, found = (fold.net.encoder.backbone.state_dict() for fold in (first, second))
        assert all(torch.equal(kept[name], found[name]) for name in kept)
        assert second.scaling is first.scaling and second.camera is first.camera
        assert any(weight.any() for weight in second.net.head.out.parameters())  # drawn as zeros


def test_nn2_with_the_encoder_of_nn1_begins_as_the_motion_model_of_its_fold(drives):
    nn1 = train(CONFIG, drives)

    nn2 = training.train("nn2", replace(CONFIG, stage="head", first=STILL), *drives, MACHINE, start=nn1)

    assert_each_fold_is_its_motion_model(nn2, drives)


def test_a_frozen_backbone_needs_no_bent_paths(drives):
    samples, targets_m, _ = drives
    rows = np.arange(len(samples))
    fold = training.first_model("nn2", CONFIG, samples, targets_m, rows)

    counts = {
        stage: len(Variants.of(fold, replace(CONFIG, stage=stage), samples, rows, 0)) for stage in ("whole", "head")
    }

    assert counts == {"whole": 3, "head": 1}
