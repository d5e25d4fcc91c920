"""Embeddings, similarities, SVD bases and probe equal calculations by hand; nothing is fitted on rows of the fold."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from atma18 import backbones, embedding
from atma18.backbones import Backbone, BackboneSpec
from atma18.backbones.engine import Engine
from atma18.cache import Cache
from atma18.config import EmbedConfig
from atma18.embedding import EmbeddingFeatures, EmbeddingTables, EmbedModel, FoldEmbedding

MOBILENET = "torchvision:mobilenet_v3_small"
CONFIG = EmbedConfig(inference_batch=4)


class MeanColour(nn.Module):
    """A backbone's body that can be checked by hand: a cell's embedding is its mean colour times a gain."""

    def __init__(self, gain):
        super().__init__()
        self.gain, self.images = gain, 0

    def forward(self, images):
        self.images += len(images)
        return nn.functional.avg_pool2d(images, 32) * self.gain


def mean_colour(gain=1.0):
    return Backbone(BackboneSpec("mean colour", "none", {}, (0.0,) * 3, (1.0,) * 3, 3, 64, 64), MeanColour(gain))


def embed(images, backbone, config, out):
    engine = Engine.of(backbone, config.image_shape[1:], autocast=config.autocast)
    embedding.embed_cells(images, engine, config, "cpu", out)


def random_cells(n=30, cells=2, channels=6, seed=0):
    """Cells whose directions differ in strength, so that the leading ones are well defined."""
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(n, 3, cells, channels)) * 2.0 ** -np.arange(channels) + 0.5).astype(np.float16)


def scenes_of(n, size=3):
    """Every scene's samples are far apart in the order of rows."""
    return np.array([f"s{i % (n // size)}" for i in range(n)])


# Cells


def test_a_cells_embedding_stands_at_its_sample_frame_and_place(tiny):
    frames = tiny.train.frames.take(np.arange(6))
    backbone, out = mean_colour(), np.empty((6, 3, 8, 3), np.float16)

    embed(frames, backbone, CONFIG, out)

    for sample in range(6):
        for frame in range(3):
            for cell in range(8):
                y, x = 32 * (cell // 4), 32 * (cell % 4)
                patch = frames[np.array([sample])][0, frame, y : y + 32, x : x + 32]
                np.testing.assert_allclose(out[sample, frame, cell], patch.mean(axis=(0, 1)) / 255, atol=1e-3)
    assert embedding.cell_count(backbone) == 8


def test_embeddings_beyond_float16_are_refused(tiny):
    with pytest.raises(ValueError, match="within float16, found up to"):
        embed(tiny.train.frames.take(np.arange(2)), mean_colour(1e6), CONFIG, np.empty((2, 3, 8, 3), np.float16))


class Normalised(MeanColour):
    """The same after a convolution that changes nothing and a batch-norm."""

    def __init__(self):
        super().__init__(gain=1.0)
        self.convolution, self.norm, self.kinds = nn.Conv2d(3, 3, 1, bias=False), nn.BatchNorm2d(3), []
        nn.init.dirac_(self.convolution.weight)

    def forward(self, images):
        cells = self.convolution(super().forward(images))
        self.kinds.append(cells.dtype)
        return self.norm(cells)


@pytest.mark.parametrize("autocast", [False, True], ids=["float32", "bfloat16"])
def test_the_backbone_runs_in_evaluation_mode_and_in_the_configured_precision(tiny, autocast):
    frames = tiny.train.frames.take(np.arange(4))
    backbone, plain, out = mean_colour(), np.empty((4, 3, 8, 3), np.float16), np.empty((4, 3, 8, 3), np.float16)
    embed(frames, backbone, CONFIG, plain)
    backbone.body = Normalised()

    embed(frames, backbone.train(), replace(CONFIG, autocast=autocast), out)

    assert set(backbone.body.kinds) == {torch.bfloat16 if autocast else torch.float32}
    np.testing.assert_allclose(out, plain, atol=2**-8)  # statistics of the start: mean 0, variance 1
    assert backbone.body.norm.num_batches_tracked == 0


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return Cache.open(tmp_path_factory.mktemp("cells"))


def get_cells(samples, cache, config=CONFIG, data="d1", threads=1):
    """Return the cells of the samples, and how many frames were embedded for them."""
    backbone = mean_colour()
    engine = Engine.of(backbone, config.image_shape[1:])
    cells = embedding.cached_cells(samples, data, engine, config, "cpu", threads, cache)
    return np.array(cells), backbone.body.images


def test_cells_are_computed_once(tiny, cache):
    samples = tiny.train.take(np.arange(5))
    expected = np.empty((5, 3, 8, 3), np.float16)
    embed(samples.frames, mean_colour(), CONFIG, expected)

    first, computed = get_cells(samples, cache)
    again, computed_again = get_cells(samples, cache)

    assert computed >= 15 and computed_again == 0
    np.testing.assert_array_equal(first, expected)
    np.testing.assert_array_equal(again, expected)


@pytest.mark.parametrize(
    ("first", "changed"),
    [
        pytest.param(0, {"data": "d2"}, id="data"),
        pytest.param(1, {}, id="samples"),
        pytest.param(0, {"config": replace(CONFIG, backbone=MOBILENET)}, id="backbone"),
        pytest.param(0, {"config": replace(CONFIG, backbone=MOBILENET, seed=1)}, id="drawn weights"),
        pytest.param(0, {"config": replace(CONFIG, autocast=True)}, id="precision"),
        pytest.param(0, {"config": replace(CONFIG, inference_batch=5)}, id="batch"),
        pytest.param(0, {"threads": 2}, id="threads"),
    ],
)
def test_cells_are_computed_anew_after_a_change_of(tiny, cache, first, changed):
    get_cells(tiny.train.take(np.arange(5)), cache)
    samples = tiny.train.take(np.arange(first, first + 5))

    assert get_cells(samples, cache, **changed)[1] > 0
    assert get_cells(samples, cache, **changed)[1] == 0


def test_what_is_fitted_on_cells_alone_does_not_compute_them_anew(tiny, cache):
    get_cells(tiny.train.take(np.arange(5)), cache)

    settings = replace(CONFIG, svd_components=3, ridge_alphas=(1.0,))

    assert get_cells(tiny.train.take(np.arange(5)), cache, config=settings)[1] == 0


# Similarity


def test_similarity_is_the_cosine_cell_after_cell():
    cells = random_cells(n=1030)  # more than one chunk

    found = embedding.similarity(cells)

    assert found.shape == (1030, 4)
    for n in (0, 1, 1023, 1024, 1029):
        for cell in range(2):
            now, before, long_before = cells[n, :, cell].astype(np.float64)
            for column, (a, b) in enumerate([(now, before), (before, long_before)]):
                cosine = np.dot(a, b) / (np.dot(a, a) * np.dot(b, b)) ** 0.5
                assert found[n, 2 * cell + column] == pytest.approx(cosine, abs=1e-6)


@pytest.mark.parametrize(
    ("now", "before", "long_before", "expected"),
    [
        pytest.param((3, 4), (6, 8), (-3, -4), (1, -1), id="same and opposite direction"),
        pytest.param((1, 0), (0, 2), (3, 3), (0, 0.5**0.5), id="right angle and half of it"),
        pytest.param((0, 0), (1, 2), (1, 2), (0, 1), id="nothing now"),
        pytest.param((1, 2), (0, 0), (1, 2), (0, 0), id="nothing before"),
        pytest.param((0, 0), (0, 0), (0, 0), (0, 0), id="nothing at all"),
    ],
)
def test_similarities_are_those_worked_out_on_paper(now, before, long_before, expected):
    cells = np.array([now, before, long_before], np.float16)[None, :, None]  # one sample of one cell

    np.testing.assert_allclose(embedding.similarity(cells), [expected], atol=1e-6)


# One fold


def fit(cells, targets_m, rows, scenes=None, config=EmbedConfig(svd_components=2)):  # noqa: B008 - frozen
    return embedding.fit_fold(cells, targets_m, rows, scenes_of(len(cells)) if scenes is None else scenes, config)


def targets(n=30, seed=1):
    return np.random.default_rng(seed).normal(scale=5.0, size=(n, 18))


def arrays_of(fold):
    return {name: value.copy() for name, value in vars(fold).items()}


def test_a_fold_is_fitted_on_its_rows_alone():
    cells, targets_m, rows = random_cells(), targets(), np.arange(20)
    changed, changed_m, scenes = cells.copy(), targets_m.copy(), scenes_of(30)
    changed[20:] = 100 * changed[20:][::-1]
    changed_m[20:] += 1e6
    other_scenes = np.where(np.arange(30) < 20, scenes, "elsewhere")

    fold, again = fit(cells, targets_m, rows, scenes), fit(changed, changed_m, rows, other_scenes)

    for name, value in arrays_of(fold).items():
        np.testing.assert_array_equal(arrays_of(again)[name], value, err_msg=name)


@pytest.mark.parametrize("what", ["cells", "targets"])
def test_a_fold_looks_at_each_of_its_rows(what):
    cells, targets_m = random_cells(), targets()
    before = arrays_of(fit(cells, targets_m, np.arange(20)))
    if what == "cells":
        cells[19, 0] += 3
    else:
        targets_m[19] += 3

    after = arrays_of(fit(cells, targets_m, np.arange(20)))

    assert np.array_equal(before["components"], after["components"]) == (what == "targets")
    assert not np.array_equal(before["coefficients"], after["coefficients"])


def test_the_bases_are_the_leading_singular_vectors_of_the_frame_at_t_cell_by_cell():
    cells, rows = random_cells(), np.arange(5, 25)

    fold = fit(cells, targets(), rows)

    assert fold.components.shape == (2, 2, 6)
    features = fold.features(cells)
    for cell in range(2):
        vectors = np.linalg.svd(cells[rows, 0, cell].astype(np.float64))[2][:2]
        cosines = np.abs((fold.components[cell] * vectors).sum(axis=1))
        np.testing.assert_allclose(cosines, 1.0, atol=1e-4)
        projected = cells[:, 0, cell].astype(np.float64) @ fold.components[cell].T
        np.testing.assert_allclose(features.svd[:, 2 * cell : 2 * cell + 2], projected, atol=1e-5)
    np.testing.assert_array_equal(features.similarity, embedding.similarity(cells))


@pytest.mark.parametrize(
    ("rows", "asked", "kept"),
    [
        pytest.param(20, 2, 2, id="as asked"),
        pytest.param(20, 10, 5, id="one below the channels"),
        pytest.param(4, 10, 3, id="one below the rows"),
    ],
)
def test_no_more_components_are_kept_than_there_can_be(rows, asked, kept):
    fold = fit(random_cells(), targets(), np.arange(rows), config=EmbedConfig(svd_components=asked))

    assert fold.components.shape == (2, kept, 6)


def test_a_rows_features_do_not_depend_on_its_neighbours():
    cells = random_cells()
    fold = fit(cells, targets(), np.arange(20))
    together = fold.features(cells)

    for row in range(30):
        alone = fold.features(cells[[row]])
        np.testing.assert_array_equal(alone.svd[0], together.svd[row])
        np.testing.assert_array_equal(alone.similarity[0], together.similarity[row])
        np.testing.assert_allclose(fold.probe(alone)[0], fold.probe(together)[row], rtol=0, atol=1e-12)


def closed_form(fold, cells, targets_m, rows, alpha):
    """Ridge on standardised features by the normal equations, for the rows and then for all."""
    x = fold.features(cells).stacked()
    mean, scale = x[rows].mean(axis=0), x[rows].std(axis=0)
    x, mean_m = (x - mean) / scale, targets_m[rows].mean(axis=0)
    gram = x[rows].T @ x[rows] + alpha * np.eye(x.shape[1])
    return x @ np.linalg.solve(gram, x[rows].T @ (targets_m[rows] - mean_m)) + mean_m


@pytest.mark.parametrize("alphas", [(7.0,), (0.1, 7.0, 3.0)], ids=["one penalty", "strongest of three"])
def test_the_probe_of_a_single_scene_is_a_ridge_with_the_strongest_penalty(alphas):
    cells, targets_m, rows = random_cells(), targets(), np.arange(5, 17)

    fold = fit(cells, targets_m, rows, np.full(30, "s"), EmbedConfig(svd_components=2, ridge_alphas=alphas))

    expected_m = closed_form(fold, cells, targets_m, rows, alpha=7.0)
    np.testing.assert_allclose(fold.probe(fold.features(cells)), expected_m, atol=1e-6)


def test_what_depends_on_the_embedding_gets_the_weakest_penalty():
    cells, rows = random_cells(), np.arange(24)
    config = EmbedConfig(svd_components=2, ridge_alphas=(1e-6, 1e3))
    first = fit(cells, targets(), rows, config=config)
    targets_m = np.tile(first.features(cells).stacked()[:, :1], 18)

    fold = fit(cells, targets_m, rows, config=config)

    np.testing.assert_allclose(fold.probe(fold.features(cells)), targets_m, atol=1e-4)


def test_knowing_a_scene_by_heart_does_not_count_as_knowing_what_the_embedding_says():
    rng = np.random.default_rng(3)
    scenes = scenes_of(30)
    of_scene = np.unique(scenes, return_inverse=True)[1]
    cells = random_cells(channels=12)[of_scene]  # all samples of a scene look the same …
    targets_m = rng.normal(size=(10, 18))[of_scene]  # … and end the same, for no reason that can be seen
    config = EmbedConfig(svd_components=10, ridge_alphas=(1e-3, 1e6))

    fold = fit(cells, targets_m, np.arange(30), scenes, config)

    np.testing.assert_allclose(fold.probe(fold.features(cells)), np.tile(targets_m.mean(axis=0), (30, 1)), atol=1e-2)


def test_a_probe_without_random_features_needs_none():
    cells = random_cells()
    fold = fit(cells, targets(), np.arange(30))
    before = {name: value for name, value in vars(fold).items() if name not in ("directions", "phases")}

    old = FoldEmbedding(**before)  # as files from before there were random features

    np.testing.assert_array_equal(old.probe(old.features(cells)), fold.probe(fold.features(cells)))


def test_random_features_follow_a_bend_that_a_line_cannot():
    cells = random_cells(n=300, cells=1, channels=2)
    probe = [fit(cells, np.zeros((300, 18)), np.arange(300), config=EmbedConfig(svd_components=1))]
    bend = np.abs(probe[0].features(cells).svd[:, :1] - probe[0].features(cells).svd[:, :1].mean())
    targets_m = np.repeat(bend, 18, axis=1).astype(np.float64)
    errors_m = {}
    for count in (0, 200):
        config = EmbedConfig(svd_components=1, random_features=count, ridge_alphas=(1e-3, 1.0))
        fold = fit(cells, targets_m, np.arange(0, 300, 2), scenes_of(300), config)
        said_m = fold.probe(fold.features(cells[1::2]))
        errors_m[count] = np.abs(said_m - targets_m[1::2]).mean()
        assert fold.coefficients.shape == (3 + count, 18)  # a component and two similarities

    assert errors_m[200] < 0.5 * errors_m[0]


def test_features_that_never_change_leave_the_probe_finite():
    cells = random_cells()
    cells[:, 1:] = cells[:, :1]  # a car at rest: all similarities are 1

    fold = fit(cells, targets(), np.arange(20))

    assert (fold.scale > 0).all()
    assert np.isfinite(fold.probe(fold.features(random_cells(seed=5)))).all()


# Tables


def features(k, n):
    row = np.arange(n, dtype=np.float32)[:, None]
    return EmbeddingFeatures(svd=100 * k + np.tile(row, 4), similarity=row / 10 + np.arange(4, dtype=np.float32))


def tables(n=5, folds=3):
    ids = np.array([f"a_{i}" for i in range(n)])
    return EmbeddingTables(ids, np.stack([features(k, n).svd for k in range(folds)]), features(0, n).similarity, 2)


def test_tables_come_back_as_they_were_written(tmp_path):
    written = tables(folds=11)  # two digits sort before one
    written.write(tmp_path / "features")

    read = EmbeddingTables.read(tmp_path / "features")

    np.testing.assert_array_equal(read.ids, written.ids)
    np.testing.assert_array_equal(read.svd, written.svd)
    np.testing.assert_array_equal(read.similarity, written.similarity)
    assert read.cells == 2


@pytest.mark.parametrize("name", ["svd_fold1", "similarity"])
def test_rows_of_a_table_are_joined_on_their_id(tmp_path, name):
    tables().write(tmp_path)
    path = tmp_path / f"{name}.parquet"
    pd.read_parquet(path).iloc[[3, 0, 4, 1, 2]].to_parquet(path, index=False)

    found = EmbeddingTables.read(tmp_path).of(np.array(["a_4", "a_0"]))

    assert len(found) == 3
    for k in range(3):
        np.testing.assert_array_equal(found[k].svd, features(k, 5).svd[[4, 0]])
        np.testing.assert_array_equal(found[k].similarity, features(k, 5).similarity[[4, 0]])


def test_a_sample_without_an_embedding_is_named():
    with pytest.raises(ValueError, match=r"expected every sample, missing: b_7$"):
        tables().of(np.array(["a_1", "b_7"]))


def test_a_row_that_a_table_lacks_is_named(tmp_path):
    tables().write(tmp_path)
    path = tmp_path / "svd_fold2.parquet"
    pd.read_parquet(path).iloc[:4].to_parquet(path, index=False)

    with pytest.raises(ValueError, match=r"svd_fold2: .* missing: a_4$"):
        EmbeddingTables.read(tmp_path)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        pytest.param({"ids": np.array(["a_0", "a_1", "a_1", "a_2", "a_3"])}, "repeated: a_1", id="repeated"),
        pytest.param({"ids": np.array(["a_0"])}, "expected 1 rows, found", id="more rows than IDs"),
        pytest.param({"similarity": np.full((5, 4), np.nan, np.float32)}, "finite features", id="no number"),
        pytest.param({"svd": np.full((3, 5, 4), np.inf, np.float32)}, "finite features", id="infinite"),
        pytest.param({"svd": np.zeros((3, 4, 4), np.float32)}, "expected 5 rows", id="a row of a basis is missing"),
    ],
)
def test_tables_that_break_a_rule_are_refused(changed, message):
    with pytest.raises(ValueError, match=message):
        replace(tables(), **changed)


def test_stacked_features_are_bases_then_similarities():
    stacked = features(2, 3).take(np.array([1])).stacked()

    np.testing.assert_allclose(stacked, [[201, 201, 201, 201, 0.1, 1.1, 2.1, 3.1]], rtol=1e-6)
    assert stacked.dtype == np.float64


# The model


@pytest.mark.parametrize("name", ["lite0", MOBILENET])
def test_a_saved_model_predicts_the_same(tiny, tmp_path, name):
    config, samples = (
        EmbedConfig(backbone=name, inference_batch=4, svd_components=3, random_features=5),
        tiny.train.take(np.arange(8)),
    )
    backbone = backbones.build(name, seed=config.seed).freeze()
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean += 0.01  # statistics are part of what is saved
    model = EmbedModel(config, backbone, ())
    cells, varied = model.cells(0, samples, "cpu"), random_cells(n=8, cells=8, channels=backbone.channels)
    folds = tuple(
        embedding.fit_fold(varied, tiny.targets_m[:8], np.arange(k, 8), samples.scenes, config) for k in range(2)
    )
    folder = tmp_path / "model"
    folder.mkdir()
    replace(model, folds=folds).save(folder)

    read = EmbedModel.load(config, model.spec, {path.name: path for path in folder.iterdir()}, "cpu")

    assert cells.shape == (8, 3, 8, backbone.channels) and np.abs(cells).max() > 0
    np.testing.assert_array_equal(read.cells(0, samples, "cpu"), cells)
    assert len(read.folds) == 2
    for found, expected in zip(read.folds, folds, strict=True):
        np.testing.assert_array_equal(found.features(varied).svd, expected.features(varied).svd)
        np.testing.assert_array_equal(found.probe(found.features(varied)), expected.probe(expected.features(varied)))
    assert read.causal
    assert {path.suffix for path in folder.iterdir()} == {".safetensors", ".onnx"}


def test_a_cell_that_never_changes_and_a_single_training_sample_can_be_fitted():
    cells = np.random.default_rng(0).normal(size=(20, 3, 2, 6)).astype(np.float16)
    cells[:, 0, 1] = 1
    scenes = np.array([f"s{i % 5}" for i in range(20)])

    for rows in (np.arange(20), np.array([3])):
        fold = embedding.fit_fold(cells, np.ones((20, 18)), rows, scenes, EmbedConfig(svd_components=2))
        np.testing.assert_allclose(fold.probe(fold.features(cells)), 1.0)


def test_what_components_explain_adds_up_to_all_where_there_are_as_many_as_channels():
    """Two channels with variances 4 and 1 that do not go together: their axes explain 4/5 and 1/5."""
    values = np.array([[2, 1], [2, -1], [-2, 1], [-2, -1]], np.float16)
    cells = np.zeros((4, 3, 2, 2), np.float16)
    cells[:, 0, 0] = values
    components = np.stack([np.eye(2), np.eye(2)]).astype(np.float32)

    shares = embedding.explained_variance(cells, components)

    np.testing.assert_allclose(shares, [[0.8, 0.2], [0, 0]], atol=1e-6)
