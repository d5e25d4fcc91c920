"""Nothing is fitted on rows that it is scored on: with random targets, no step beats the median.

The targets of whole scenes are exchanged at random, so that the features of a sample do not depend on its target. A
model without leakage is then no better out of fold than the in-fold median; a model with leakage is better.
"""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from atma18 import backbones, blending, embedding, metrics, simulate
from atma18.backbones.engine import Engine
from atma18.bundle.servable import predict_all
from atma18.cache import Cache
from atma18.compute import Compute
from atma18.config import EMBEDDING, BlendConfig, EmbedConfig, GbdtConfig, NetConfig, StageConfig
from atma18.data.dataset import Dataset
from atma18.embedding import EmbedModel
from atma18.gbdt import stacking
from atma18.gbdt.inputs import StoredInputs
from atma18.nets import training
from atma18.nets.scaling import Scaling
from atma18.schema import FloatArray, IntArray, Samples

pytestmark = pytest.mark.usefixtures("small_backbone")

FOLDS, PERMUTATIONS = 3, 4
STAGE = StageConfig(batch_size=16, learning_rate=1e-2, weight_decay=0.0, num_epochs=3)
SCENES = replace(STAGE, batch_size=4)
BEST_NET = {"target": "motion", "context": True, "mirror": True}
NET = NetConfig(STAGE, STAGE, backbone="small", size_px=(32, 64), hidden=16, num_layers=1, **BEST_NET)
EMBED = EmbedConfig(svd_components=4, random_features=50, target="motion", by_speed=True, ridge_alphas=(1e3, 1e4, 1e5))
GBDT = GbdtConfig(
    learning_rate=0.3,
    rounds=10,
    max_depth=4,
    min_child_weight=1.0,
    early_stopping_rounds=5,
    engine="both",
    bags=2,
    objective="huber",
    target="stacked",
    motion=True,
    light_geometry=True,
)
ALONE = replace(GBDT, target="motion", engine="xgboost", bags=1)
MACHINE = Compute("cpu", 1, bfloat16=False)
NO_INPUTS = (StoredInputs({}, {}), StoredInputs({}, {}))


@dataclass(frozen=True)
class Drives:
    """Drives, folds of whole scenes, and what a backbone sees in the frames."""

    train: Samples
    test: Samples
    targets_m: FloatArray
    folds: IntArray
    cells: dict


@pytest.fixture(scope="module")
def drives(tmp_path_factory, small_backbone):
    folder = tmp_path_factory.mktemp("leakage")
    simulate.write_drives(folder / "drives", simulate.Plan(100, 2, seed=5))
    dataset = Dataset.open(str(folder / "drives"), Cache.open(folder / "cache"))
    backbone = backbones.build("small").freeze().eval()
    cells = {}
    for name, samples in (("train", dataset.train), ("test", dataset.test)):
        cells[name] = np.empty((len(samples), 3, embedding.cell_count(backbone), backbone.channels), np.float16)
        embedding.embed_cells(samples.frames, Engine(backbone), EMBED, "cpu", cells[name])
    folds = np.unique(dataset.train.scenes, return_inverse=True)[1] % FOLDS
    return Drives(dataset.train, dataset.test, dataset.targets_m, folds, cells)


def of_scenes(drives, scenes):
    """Return the drives of these scenes alone."""
    rows = np.flatnonzero(np.isin(drives.train.scenes, scenes))
    cells = drives.cells | {"train": drives.cells["train"][rows]}
    return Drives(drives.train.take(rows), drives.test, drives.targets_m[rows], drives.folds[rows], cells)


def exchanged(drives, seed):
    """Give every scene the targets of another one, drawn at random."""
    scenes = np.unique(drives.train.scenes)
    rows = {scene: np.flatnonzero(drives.train.scenes == scene) for scene in scenes}
    given = np.empty(len(drives.train), np.int64)
    for scene, other in zip(scenes, np.random.default_rng(seed).permutation(scenes), strict=True):
        given[rows[scene]] = np.resize(rows[other], len(rows[scene]))
    return drives.targets_m[given]


def of_embed(drives, targets_m, folds):
    """The OOF predictions of embed, and its features for the trees."""
    fitted = tuple(
        embedding.fit(drives.cells["train"], drives.train, targets_m, np.flatnonzero(folds != k), EMBED)
        for k in range(FOLDS)
    )
    features = {split: tuple(fold.features(cells) for fold in fitted) for split, cells in drives.cells.items()}
    inputs = tuple(StoredInputs({}, {EMBEDDING: features[split]}) for split in ("train", "test"))
    model = EmbedModel(EMBED, backbones.build("small"), fitted)
    return predict_all(model, drives.train, folds, drives.test, inputs, "cpu"), features


def of_net(step, drives, targets_m, folds):
    config = NET if step == "nn1" else replace(NET, first=SCENES, second=SCENES)
    model = training.train(step, config, drives.train, targets_m, folds, MACHINE)
    return predict_all(model, drives.train, folds, drives.test, NO_INPUTS, "cpu")


def of_gbdt(drives, targets_m, folds, nets, features, config=GBDT):
    inputs = (
        StoredInputs.of_train(nets, {EMBEDDING: features["train"]}),
        StoredInputs.of_test(nets, {EMBEDDING: features["test"]}),
    )
    cells = features["train"][0].similarity.shape[1] // 2
    model = stacking.fit(config, drives.train, targets_m, folds, inputs[0], tuple(nets), cells, threads=1)
    return predict_all(model, drives.train, folds, drives.test, inputs, "cpu")


def ratios(drives, targets_m, folds):
    """By step, the MAE out of fold over that of the in-fold median."""
    embed, features = of_embed(drives, targets_m, folds)
    nets = {step: of_net(step, drives, targets_m, folds) for step in ("nn1", "nn2")}
    oof_m = {"embed": embed.oof_m} | {step: found.oof_m for step, found in nets.items()}
    oof_m["gbdt, alone"] = of_gbdt(drives, targets_m, folds, {}, features, ALONE).oof_m
    oof_m["gbdt"] = of_gbdt(drives, targets_m, folds, nets | {"embed": embed}, features).oof_m
    stack_m = np.stack([oof_m[name] for name in ("nn1", "nn2", "gbdt")])
    sizes, names = drives.train.scene_sizes, ("nn1", "nn2", "gbdt")
    rows = (stack_m, targets_m, sizes, drives.train.scenes)
    oof_m["blend"] = blending.cross_fit(*rows, folds, BlendConfig(), names)
    median_m = metrics.mae_m(metrics.in_fold_median(targets_m, folds), targets_m)
    return {name: metrics.mae_m(found_m, targets_m) / median_m for name, found_m in oof_m.items()}


def leaks(of_step):
    """Say whether a step beats the median more than chance lets it, over several permutations."""
    return np.mean(of_step) < 0.98 or min(of_step) < 0.9


def test_no_step_beats_the_median_where_targets_mean_nothing(drives):
    found = [ratios(drives, exchanged(drives, seed), drives.folds) for seed in range(PERMUTATIONS)]

    for step in found[0]:
        of_step = [ratio[step] for ratio in found]
        assert not leaks(of_step), (step, of_step)


def test_where_targets_mean_something_every_step_beats_the_median(drives):
    """The nets and trees above are able to learn, so that what they do not learn there is not there."""
    found = ratios(drives, drives.targets_m, drives.folds)

    assert all(ratio < 0.8 for ratio in found.values()), found


def test_samples_that_are_dealt_one_by_one_are_caught(drives, monkeypatch):
    """Folds, and the rows that end boosting, that split scenes: among few scenes a sample's siblings give it away."""
    few = of_scenes(drives, np.unique(drives.train.scenes)[:20])
    targets_m, split = exchanged(few, 0), np.arange(len(few.train)) % FOLDS
    monkeypatch.setattr(stacking, "held_out_scenes", lambda scenes, *_: np.arange(len(scenes)) % 7 == 0)
    eager = replace(ALONE, target="absolute", objective="squared", rounds=40)

    _, features = of_embed(few, targets_m, split)
    found = of_gbdt(few, targets_m, split, {}, features, eager)

    median_m = metrics.mae_m(metrics.in_fold_median(targets_m, split), targets_m)
    ratio = metrics.mae_m(found.oof_m, targets_m) / median_m
    assert leaks([ratio]), ratio


@pytest.mark.parametrize("step", ["nn1", "nn2"])
def test_a_scaler_that_has_seen_the_targets_is_caught(drives, monkeypatch, step):
    targets_m, inputs = exchanged(drives, 0), Scaling.inputs
    of_id = dict(zip(drives.train.ids.tolist(), targets_m[:, 15], strict=True))  # x at 3.0 s

    def with_targets(scaling, samples):
        found = inputs(scaling, samples)
        found[:, 0] += np.array([of_id.get(i, 0.0) for i in samples.ids.tolist()], np.float32)
        return found

    monkeypatch.setattr(Scaling, "inputs", with_targets)
    found = of_net(step, drives, targets_m, drives.folds)

    median_m = metrics.mae_m(metrics.in_fold_median(targets_m, drives.folds), targets_m)
    ratio = metrics.mae_m(found.oof_m, targets_m) / median_m
    assert leaks([ratio]), ratio
