"""With view path an embedding is one of the road along the path of its fold's motion model."""

from dataclasses import replace

import numpy as np
import pytest

from atma18 import backbones, embedding
from atma18.backbones.engine import Engine
from atma18.bundle.model import Stored
from atma18.bundle.servable import predict_all
from atma18.bundle.steps import STEPS
from atma18.cache import Cache
from atma18.config import EMBEDDING, EmbedConfig
from atma18.embedding import EmbedModel
from atma18.gbdt.inputs import StoredInputs
from atma18.geometry.camera import COMPETITION_CAMERA
from atma18.geometry.images import images_of
from atma18.geometry.kinematics import MotionModel
from atma18.schema import FrameRows

CONFIG = EmbedConfig(view="path", target="motion", by_speed=True, svd_components=3, inference_batch=4)
LOW = replace(COMPETITION_CAMERA, height_above_road_m=0.9)
ROWS = (np.arange(0, 20), np.arange(10, 30))


@pytest.fixture(scope="module")
def samples(tiny):
    return tiny.train.take(np.arange(30))


@pytest.fixture(scope="module")
def targets_m(tiny):
    return tiny.targets_m[:30]


def cells_of(samples, motion, cache, camera=COMPETITION_CAMERA):
    backbone = backbones.build("lite0@none").freeze().eval()
    config = replace(CONFIG, backbone="lite0@none")
    engine = Engine.of(backbone, config.image_shape[1:])
    return np.array(embedding.cached_cells(samples, "d1", engine, config, "cpu", 1, cache, motion, camera))


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return Cache.open(tmp_path_factory.mktemp("cells"))


@pytest.fixture(scope="module")
def model(samples, targets_m, cache):
    """Two folds, each fitted on the cells along the paths of its own motion model."""
    fitted = []
    for rows in ROWS:
        motion = embedding.fit_baseline(samples, targets_m, rows, CONFIG).motion
        fitted.append(embedding.fit(cells_of(samples, motion, cache), samples, targets_m, rows, CONFIG))
    config = replace(CONFIG, backbone="lite0@none")
    return EmbedModel(config, backbones.build("lite0@none").freeze().eval(), tuple(fitted))


def test_cells_are_those_of_the_grids_that_the_motion_model_of_the_fold_lays(model, samples, targets_m, cache):
    for fold, rows in enumerate(ROWS):
        motion = MotionModel.fit(samples.signals.iloc[rows], targets_m[rows], samples.scenes[rows]).numbers
        grids = images_of(CONFIG, samples, motion, COMPETITION_CAMERA)
        expected = np.empty((30, 1, 8, model.backbone.channels), np.float16)
        embedding.embed_cells(grids, model.engine, model.config, "cpu", expected)

        assert grids.shape == (30, 1, 64, 128, 3)
        np.testing.assert_array_equal(model.cells(fold, samples, "cpu"), expected)
        np.testing.assert_array_equal(cells_of(samples, motion, cache), expected)
    assert not np.array_equal(*(model.cells(fold, samples, "cpu") for fold in (0, 1)))


def test_only_the_frame_at_t_is_read(model, samples):
    frames = np.array(samples.frames[:])
    frames[:, 1:] = 0

    found = model.cells(0, replace(samples, frames=FrameRows.of(frames)), "cpu")

    np.testing.assert_array_equal(found, model.cells(0, samples, "cpu"))


def test_another_camera_and_another_motion_model_have_cells_of_their_own(model, samples, cache):
    motion = model.folds[0].motion
    found = cells_of(samples, motion, cache)

    assert not np.array_equal(cells_of(samples, motion, cache, LOW), found)
    assert not np.array_equal(cells_of(samples, model.folds[1].motion, cache), found)
    own = replace(samples, frames=replace(samples.frames, camera=COMPETITION_CAMERA))
    np.testing.assert_array_equal(cells_of(own, motion, cache, LOW), found)


def test_a_grid_has_no_frame_to_be_compared_with(model, samples):
    features = model.folds[0].features(model.cells(0, samples, "cpu"))

    assert features.similarity.shape == (30, 0)
    assert features.svd.shape == (30, 8 * 3)


def test_each_fold_predicts_from_its_own_cells(model, samples):
    """Of samples whose embedding is computed anew, as in serving, and of stored ones.

    On some processors the last bit of a product depends on the number of its rows; another fold's cells would change
    predictions by centimetres.
    """
    folds = np.repeat([1, 0], 15)
    features = tuple(fold.features(model.cells(k, samples, "cpu")) for k, fold in enumerate(model.folds))
    inputs = StoredInputs({}, {EMBEDDING: features})

    stored = predict_all(model, samples, folds, samples, (inputs, inputs), "cpu")

    for k in range(2):
        alone_m = model.predict(k, samples, inputs, "cpu")
        np.testing.assert_array_equal(stored.test_by_fold_m[k], alone_m)
        np.testing.assert_allclose(stored.oof_m[folds == k], alone_m[folds == k], rtol=0, atol=1e-12)


def test_a_saved_model_lays_its_grids_with_the_camera_of_its_training(model, samples, tmp_path):
    low = replace(model, camera=LOW)
    low.save(tmp_path)
    files = {path.name: path for path in tmp_path.iterdir()}

    read = STEPS["embed"].load(Stored("embed", low.describe(), files, (), "cpu"))

    np.testing.assert_array_equal(read.cells(1, samples, "cpu"), low.cells(1, samples, "cpu"))
    assert not np.array_equal(read.cells(1, samples, "cpu"), model.cells(1, samples, "cpu"))


def test_grids_need_a_motion_model():
    with pytest.raises(ValueError, match="expected target motion with view path, found 'absolute'"):
        EmbedConfig(view="path")
