"""A fold's net depends on seed and training rows alone, and each stage changes only the weights that it trains."""

import math
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from atma18.compute import Compute
from atma18.config import NetConfig, StageConfig
from atma18.data.folds import held_out_scenes
from atma18.geometry import mirror
from atma18.nets import FrameEncoder, training
from atma18.nets.training import Epoch, batches, stage_state
from atma18.nets.training.batches import Changes, Feed, Units, Views
from atma18.nets.training.stage_state import Best, warm_cosine
from atma18.nets.training.trainer import Trainer
from atma18.schema import FrameRows

pytestmark = pytest.mark.usefixtures("small_backbone")

MACHINE = Compute("cpu", 1, bfloat16=False)
STAGE = StageConfig(batch_size=8, learning_rate=1e-3, weight_decay=1e-2, num_epochs=1)
STILL = StageConfig(batch_size=8, learning_rate=1e-12, weight_decay=0.0, num_epochs=1)
CONFIG = NetConfig(STAGE, STAGE, backbone="small", hidden=8, num_layers=1, stage="first", inference_batch=16)
STEPS = pytest.mark.parametrize("step", ["nn1", "nn2"])


@pytest.fixture(scope="module")
def drives(tiny):
    """Samples, targets and 3 folds of 4 scenes."""
    return tiny.train, tiny.targets_m, np.unique(tiny.train.scenes, return_inverse=True)[1] % 3


def train(config, drives, step="nn1", **more):
    return training.train(step, config, *drives, MACHINE, **more)


def weights(model, fold):
    return {name: value.clone() for name, value in model.folds[fold].net.state_dict().items()}


def same(a, b):
    return [name for name in a if torch.equal(a[name], b[name])] == list(b)


def two_folds(drives):
    samples, targets_m, folds = drives
    return samples, targets_m, np.minimum(folds, 1)


# The schedule


@pytest.mark.parametrize(
    ("step", "share"),
    [
        pytest.param(0, 0.25, id="first step"),
        pytest.param(1, 0.5, id="half-way up"),
        pytest.param(3, 1.0, id="top"),
        pytest.param(4, 1.0, id="the cosine starts at the top"),
        pytest.param(8, 0.55, id="half-way down is the mean of top and floor"),
        pytest.param(6, 0.1 + 0.9 * (1 + 0.5**0.5) / 2, id="a quarter down is at 45 degrees"),
        pytest.param(12, 0.1, id="floor"),
        pytest.param(20, 0.1, id="beyond the end"),
    ],
)
def test_the_learning_rate_is_that_worked_out_on_paper(step, share):
    assert warm_cosine(step, warm_up=4, total=12, floor=0.1) == pytest.approx(share)


@pytest.mark.parametrize("warm_up", [1, 5, 20])
def test_the_learning_rate_rises_then_falls(warm_up):
    shares = [warm_cosine(i, warm_up=warm_up, total=20, floor=1e-3) for i in range(21)]

    assert shares[:warm_up] == sorted(shares[:warm_up])
    assert shares[warm_up:] == sorted(shares[warm_up:], reverse=True)
    assert max(shares) == 1.0
    assert min(shares) >= 1e-3


def test_each_stage_warms_up_for_an_epoch_and_ends_at_the_lowest_rate(drives, monkeypatch):
    asked = []
    schedule = warm_cosine
    monkeypatch.setattr(
        stage_state, "warm_cosine", lambda step, **how: asked.append((step, how)) or schedule(step, **how)
    )
    config = replace(CONFIG, stage="both", first=replace(STAGE, num_epochs=2, batch_size=20))

    train(config, two_folds(drives))

    n = [int((two_folds(drives)[2] != k).sum()) for k in range(2)]
    expected = []
    for rows in n:
        for size, epochs in ((20, 2), (8, 1)):
            batches = math.ceil(rows / size)
            how = {"warm_up": batches, "total": batches * epochs, "floor": pytest.approx(1e-4)}
            expected += [(step, how) for step in range(batches * epochs + 1)]  # one for the start, one after each step
    assert asked == expected


# Augmentation


LOW, HIGH = 102, 153
"""Bytes that stand for 0.4 and 0.6."""


def gray(n=400, low=LOW, high=HIGH):
    """Three frames of two rows of pixels each, (n, 3, 2, 2, 3) bytes."""
    frames = np.full((n, 3, 2, 2, 3), low, np.uint8)
    frames[:, :, 1] = high
    return FrameRows.of(frames)


def augmented(frames, probability, strength=0.2, seed=0):
    """All frames, changed at random: (n, 9, 2, 2)."""
    changes = Changes.draw(len(frames), probability, strength, torch.Generator().manual_seed(seed))
    return Feed((3, 2, 2), "cpu").batch(frames, changes)


def unchanged(n=400):
    images = torch.full((n, 9, 2, 2), 0.4)
    images[:, :, 1] = 0.6
    return images


def test_with_probability_0_nothing_changes():
    torch.testing.assert_close(augmented(gray(), 0.0), unchanged())


def test_with_strength_0_nothing_changes():
    torch.testing.assert_close(augmented(gray(), 1.0, strength=0.0), unchanged())


@pytest.mark.parametrize("probability", [0.25, 0.5, 1.0])
def test_as_many_samples_change_as_asked(probability):
    changed = ((augmented(gray(), probability) - unchanged()).abs() > 1e-5).flatten(1).any(dim=1).float().mean().item()

    assert changed == pytest.approx(probability, abs=4 * math.sqrt(probability * (1 - probability) / 400))


def test_contrast_and_brightness_fill_their_ranges_apart():
    images = augmented(gray(), 1.0)
    low, high = images[:, 0, 0, 0], images[:, 0, 1, 0]
    contrast = (high - low) / 0.2  # of low 0.4 and high 0.6, neither clipped: c 0.6 + b and c 0.4 + b
    brightness = low - contrast * 0.4

    for found, centre in ((contrast, 1.0), (brightness, 0.0)):
        assert centre - 0.2001 <= found.min() < centre - 0.18
        assert centre + 0.18 < found.max() <= centre + 0.2001
        assert found.mean().item() == pytest.approx(centre, abs=4 * 0.2 / math.sqrt(3 * 400))
    assert abs(np.corrcoef(contrast.numpy(), brightness.numpy())[0, 1]) < 0.2


def test_the_three_frames_of_a_sample_change_alike():
    images = augmented(gray(), 0.5)

    for channel in range(1, 9):
        assert torch.equal(images[:, channel], images[:, 0])


@pytest.mark.parametrize("strength", [0.2, 3.0])
def test_images_stay_within_0_and_1(strength):
    images = augmented(gray(low=0, high=255), 1.0, strength)

    assert (images.min().item(), images.max().item()) == (0.0, 1.0)


def test_the_generator_decides_the_change():
    assert torch.equal(augmented(gray(), 0.5, seed=3), augmented(gray(), 0.5, seed=3))
    assert not torch.equal(augmented(gray(), 0.5, seed=3), augmented(gray(), 0.5, seed=4))


def test_a_batch_is_the_frames_of_its_rows_in_the_memory_of_the_one_before(drives):
    frames, still = drives[0].frames, Changes(torch.ones(40, 1, 1, 1), torch.zeros(40, 1, 1, 1))
    feed = Feed((3, 64, 128), "cpu")
    rows = np.random.default_rng(0).permutation(len(frames))[:40]

    batch = feed.batch(frames.take(rows), still)

    expected = np.concatenate([frames[rows][:, f] for f in range(3)], axis=3).transpose(0, 3, 1, 2) / 255
    np.testing.assert_allclose(batch.numpy(), expected, rtol=0, atol=1e-6)
    assert batch.is_contiguous(memory_format=torch.channels_last)
    fewer = feed.batch(frames.take(rows[:5]), Changes(still.contrast[:5], still.brightness[:5]))
    assert fewer.data_ptr() == batch.data_ptr()
    assert len(fewer) == 5


@pytest.mark.parametrize("parts", [0, 1, 4])
def test_frames_that_are_read_ahead_are_those_of_their_part(drives, parts):
    frames, rows = drives[0].frames, np.random.default_rng(0).permutation(40)
    split = np.array_split(rows, parts) if parts else []

    ahead = list(Feed((3, 64, 128), "cpu", read_ahead=True).ahead(frames, split))

    assert len(ahead) == parts
    for found, part in zip(ahead, split, strict=True):
        np.testing.assert_array_equal(found.numpy(), frames[part])


def test_a_net_that_is_fed_ahead_is_the_same_to_the_bit(drives, monkeypatch):
    config, usual = replace(CONFIG, stage="both"), batches.Feed.__init__
    expected = train(config, two_folds(drives))
    ahead = lambda feed, shape, device: usual(feed, shape, device, read_ahead=True)  # noqa: E731
    monkeypatch.setattr(batches.Feed, "__init__", ahead)

    found = train(config, two_folds(drives))

    for fold, other in zip(found.folds, expected.folds, strict=True):
        for name, value in fold.net.state_dict().items():
            assert torch.equal(value, other.net.state_dict()[name]), name


# Seeds and folds


@pytest.fixture(scope="module")
def first(drives):
    """nn1 after its first stage."""
    return train(CONFIG, drives)


PATH = {"backbone": "cnn", "view": "path", "target": "motion", "bent_paths": 1, "stage": "whole"}


@pytest.mark.parametrize(
    ("step", "changed", "scenes"),
    [
        pytest.param("nn1", {"stage": "both"}, 12, id="nn1"),
        pytest.param("nn2", {"stage": "both"}, 12, id="nn2"),
        pytest.param("nn2", {"stage": "second", "backbone": "lite0"}, 3, id="nn2 with lite0"),
        pytest.param("nn1", PATH, 12, id="nn1 along paths"),
    ],
)
def test_the_same_seed_gives_the_same_nets_to_the_bit_and_another_seed_others(drives, step, changed, scenes):
    samples, targets_m, folds = drives
    rows = np.flatnonzero(np.isin(samples.scenes, np.unique(samples.scenes)[:scenes]))
    part = samples.take(rows), targets_m[rows], folds[rows]
    config = replace(CONFIG, **changed)
    once = train(config, part, step)
    torch.rand(3)  # torch's own generator neither matters nor moves
    state = torch.get_rng_state()

    again = train(config, part, step)

    assert torch.equal(torch.get_rng_state(), state)
    other = train(replace(config, seed=1), part, step)
    for k in range(3):
        assert same(weights(once, k), weights(again, k))
        assert not same(weights(once, k), weights(other, k))
    predicted_m = [m.folds[0].predict(part[0], config, "cpu") for m in (once, again)]
    np.testing.assert_array_equal(*predicted_m)


def test_folds_start_from_weights_of_their_own(drives):
    model = train(replace(CONFIG, first=STILL), drives)

    heads = [weights(model, k)["head.0.weight"] for k in range(3)]

    assert not torch.allclose(heads[0], heads[1]) and not torch.allclose(heads[1], heads[2])


@STEPS
@pytest.mark.parametrize("view", [{"stage": "both"}, PATH], ids=["frames", "paths"])
@pytest.mark.parametrize("patience", [None, 1], ids=["in full", "stopping early"])
def test_a_folds_rows_never_touch_its_net(drives, step, patience, view):
    samples, targets_m, folds = drives
    rng, inside = np.random.default_rng(0), np.flatnonzero(folds == 0)
    frames = np.array(samples.frames[:])
    frames[inside] = rng.integers(0, 256, frames[inside].shape)
    signals = samples.signals.copy()
    signals.iloc[inside] += 7.0
    changed_m = targets_m.copy()
    changed_m[inside] += rng.normal(scale=50, size=(len(inside), 18))
    config = replace(CONFIG, **view, second=replace(STAGE, patience=patience))

    before = train(config, drives, step)
    after = train(config, (replace(samples, frames=FrameRows.of(frames), signals=signals), changed_m, folds), step)

    assert same(weights(before, 0), weights(after, 0))
    for name, value in vars(before.folds[0].scaling).items():
        np.testing.assert_array_equal(getattr(after.folds[0].scaling, name), value)
    for k in (1, 2):
        assert not same(weights(before, k), weights(after, k))


def test_arguments_are_left_as_they_were(drives, first):
    samples, targets_m, folds = drives
    copies = [samples.signals.copy(), np.array(samples.frames[:]), targets_m.copy(), folds.copy()]
    start = [weights(first, k) for k in range(3)]

    train(replace(CONFIG, stage="second"), drives, start=first)

    now = [samples.signals, samples.frames[:], targets_m, folds]
    for found, expected in zip(now, copies, strict=True):
        np.testing.assert_array_equal(found, expected)
    assert all(same(weights(first, k), start[k]) for k in range(3))


# Batches


def record_batches(monkeypatch):
    batches = []
    difference = Trainer._difference

    def recorded(trainer, seen, rows, lengths, mirrored, variants):
        units = np.split(rows, np.cumsum(lengths)[:-1])
        batches.append((trainer.fold, len(trainer.epochs), [unit.tolist() for unit in units]))
        return difference(trainer, seen, rows, lengths, mirrored, variants)

    monkeypatch.setattr(Trainer, "_difference", recorded)
    return batches


@pytest.mark.parametrize(("step", "size"), [("nn1", 12), ("nn2", 3)])
@pytest.mark.parametrize("patience", [None, 5], ids=["all", "without those held out"])
def test_an_epoch_goes_once_through_the_training_rows_in_random_batches_of_units(
    drives, monkeypatch, step, size, patience
):
    samples, _, folds = drives
    batches = record_batches(monkeypatch)

    train(replace(CONFIG, first=replace(STAGE, batch_size=size, num_epochs=2, patience=patience)), drives, step)

    for k in range(3):
        outside = np.flatnonzero(folds != k)
        if patience:
            outside = outside[~held_out_scenes(samples.scenes[outside], CONFIG.seed)]
        scenes = [np.flatnonzero(samples.scenes == s).tolist() for s in np.unique(samples.scenes[outside])]
        units = [[row] for row in outside.tolist()] if step == "nn1" else scenes
        orders = []
        for epoch in range(2):
            found = [batch for fold, index, batch in batches if (fold, index) == (k, epoch)]
            orders.append([unit for batch in found for unit in batch])
            assert sorted(orders[-1]) == sorted(units)
            sizes = [len(batch) for batch in found]
            assert len(sizes) == math.ceil(len(units) / size) and max(sizes) <= size and max(sizes) - min(sizes) <= 1
        assert orders[0] != orders[1] and orders[0] != sorted(orders[0])


# Measurements


def mae_of(model, fold, drives, rows):
    samples, targets_m, _ = drives
    return np.abs(model.folds[fold].predict(samples.take(rows), model.config, "cpu") - targets_m[rows]).mean()


@STEPS
@pytest.mark.parametrize(("target", "by_speed"), [("absolute", False), ("residual", False), ("residual", True)])
def test_an_epoch_measures_metres_on_training_rows_and_on_scenes_held_out(drives, step, target, by_speed):
    samples, _, folds = drives
    epochs, config = [], replace(CONFIG, first=replace(STILL, patience=1), target=target, by_speed=by_speed)
    config = replace(config, augment_probability=0.0, feature_noise=0.0)

    model = train(config, drives, step, on_epoch=epochs.append)

    assert [(epoch.fold, epoch.index) for epoch in epochs] == [(0, 0), (1, 0), (2, 0)]
    for epoch in epochs:
        outside = np.flatnonzero(folds != epoch.fold)
        held_out = held_out_scenes(samples.scenes[outside], config.seed)
        assert len(np.unique(samples.scenes[outside[held_out]])) == 2
        trained_m, held_out_m = (mae_of(model, epoch.fold, drives, r) for r in (outside[~held_out], outside[held_out]))
        assert epoch.train_mae_m == pytest.approx(trained_m, rel=1e-4)
        assert epoch.held_out_mae_m == pytest.approx(held_out_m, rel=1e-4)


def test_epochs_count_on_from_the_first_stage_into_the_second(drives):
    epochs = []
    config = replace(CONFIG, stage="both", first=replace(STAGE, num_epochs=2))

    train(config, two_folds(drives), on_epoch=epochs.append)

    assert [(epoch.fold, epoch.index) for epoch in epochs] == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]
    assert all(epoch.held_out_mae_m is None for epoch in epochs)


@STEPS
def test_whoever_watches_sees_the_net_after_each_epoch_and_changes_nothing(drives, step):
    samples, rows = drives[0], np.flatnonzero(np.unique(drives[0].scenes, return_inverse=True)[1] == 0)
    config, seen = replace(CONFIG, stage="both", augment_probability=0.5), []

    def watch(epoch, model):
        seen.append((epoch.fold, epoch.index, model.predict(samples.take(rows), config, "cpu")))

    watched = train(config, two_folds(drives), step, watch=watch)

    assert [(fold, index) for fold, index, _ in seen] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    for fold, index, said_m in seen:
        final_m = replace(watched.folds[fold], engine=None).predict(samples.take(rows), config, "cpu")
        assert np.array_equal(said_m, final_m) == (index == 1)
    alone = train(config, two_folds(drives), step)
    assert all(same(weights(watched, k), weights(alone, k)) for k in range(2))


@STEPS
def test_what_a_signal_says_is_learnt(drives, step):
    samples, _, folds = drives
    speed_mps = samples.signals["vEgo"].to_numpy()
    targets_m = np.tile((speed_mps - speed_mps.mean())[:, None] / speed_mps.std(), 18)
    stage = StageConfig(batch_size=8 if step == "nn1" else 2, learning_rate=1e-2, weight_decay=0.0, num_epochs=15)
    config = replace(CONFIG, first=stage, target="absolute", hidden=32, augment_probability=0.0)
    epochs = []

    train(config, (samples, targets_m, np.minimum(folds, 1)), step, on_epoch=epochs.append)

    for k in range(2):
        assert [epoch for epoch in epochs if epoch.fold == k][-1].train_mae_m < 0.4 * np.abs(targets_m).mean()


# Stages


def moved(model, other, fold=0):
    """Return the names of weights and statistics that differ."""
    a, b = weights(model, fold), weights(other, fold)
    return {name for name in a if not torch.equal(a[name], b[name])}


def test_the_stages_are_those_that_the_configuration_names():
    config = replace(CONFIG, second=STILL)

    assert training.stages(replace(config, stage="first")) == [(STAGE, True)]
    assert training.stages(replace(config, stage="second")) == [(STILL, False)]
    assert training.stages(replace(config, stage="both")) == [(STAGE, True), (STILL, False)]


@STEPS
def test_the_first_stage_leaves_the_backbone_and_its_statistics_as_they_were(drives, step):
    still = train(replace(CONFIG, first=STILL), two_folds(drives), step)

    found = moved(train(CONFIG, two_folds(drives), step), still)

    assert not [name for name in found if name.startswith("encoder.backbone.")]
    assert {"encoder.signals.weight", "encoder.signals.bias"} <= found
    assert all(name in found for name in weights(still, 0) if name.startswith("head."))


def looks(monkeypatch):
    """Count the samples that backbones look at, by whether they are frozen."""
    seen = {True: 0, False: 0}
    encode_frames = FrameEncoder.encode_frames

    def counted(encoder, frames):
        seen[encoder.backbone.frozen] += len(frames)
        return encode_frames(encoder, frames)

    monkeypatch.setattr(FrameEncoder, "encode_frames", counted)
    return seen


@pytest.mark.parametrize(
    ("views", "probability", "epochs", "expected"),
    [
        pytest.param(1, 0.5, 6, 1, id="one view"),
        pytest.param(4, 0.5, 6, 4, id="four views"),
        pytest.param(4, 0.5, 2, 2, id="no more views than epochs"),
        pytest.param(4, 0.0, 6, 1, id="views would be the same"),
    ],
)
@STEPS
def test_a_frozen_backbone_looks_once_at_each_view(drives, monkeypatch, step, views, probability, epochs, expected):
    seen = looks(monkeypatch)
    first = replace(STAGE, num_epochs=epochs)

    train(replace(CONFIG, first=first, cached_views=views, augment_probability=probability), drives, step)

    assert seen == {True: expected * 2 * len(drives[0]), False: 0}  # each row is outside of two folds


def test_a_frozen_backbone_looks_once_at_what_is_held_out(drives, monkeypatch):
    samples, _, folds = drives
    seen = looks(monkeypatch)
    first = replace(STAGE, num_epochs=5, patience=5)

    train(replace(CONFIG, first=first, cached_views=3), drives)

    fitted = held_out = 0
    for k in range(3):
        outside = np.flatnonzero(folds != k)
        judged = held_out_scenes(samples.scenes[outside], CONFIG.seed)
        fitted, held_out = fitted + int((~judged).sum()), held_out + -(-int(judged.sum()) // 16) * 16  # padded
    assert seen == {True: 3 * fitted + held_out, False: 0}


@STEPS
def test_looking_once_or_in_every_epoch_makes_no_difference_where_nothing_is_changed(drives, monkeypatch, step):
    config = replace(CONFIG, first=replace(STAGE, num_epochs=3), augment_probability=0.0, feature_noise=0.0)
    once = train(config, drives, step)
    monkeypatch.setattr(Trainer, "_views", lambda *given: None)  # as in the second stage

    always = train(config, drives, step)

    for k in range(3):
        for name, value in weights(once, k).items():
            torch.testing.assert_close(value, weights(always, k)[name], rtol=0, atol=1e-5)


def test_views_are_changed_at_random_and_each_epoch_shows_the_next():
    seen = torch.arange(12.0).reshape(3, 4, 1)  # 3 views of 4 rows: 0 4 8, 1 5 9, ...
    views = Views(seen, rows=np.array([2, 5, 7, 9]), first=np.array([0, 2, 1, 0]), noise=None)

    shown = [views.of(np.array([9, 2, 5]), epoch, torch.Generator()).flatten().tolist() for epoch in range(4)]

    assert shown == [[3, 0, 9], [7, 4, 1], [11, 8, 5], [3, 0, 9]]


def test_views_are_disturbed_anew_each_time_by_a_share_of_each_channels_deviation():
    rows, draws, first = np.arange(4000), torch.Generator().manual_seed(0), np.random.default_rng(0)
    still = torch.tensor([[[3.0, 10.0]], [[5.0, 50.0]]]).expand(2, 4000, 2)  # deviations of 1 and 20
    units = Units(rows, np.repeat([1, 2], [2000, 1000]))
    views = Views.of_each(still, units, 0.3, first)

    once, again = (
        views.of(rows, 0, draws) - Views.of_each(still, units, 0.0, np.random.default_rng(0)).of(rows, 0, draws)
        for _ in range(2)
    )

    for added in (once, again):
        torch.testing.assert_close(added.std(dim=0), torch.tensor([0.3, 6.0]), rtol=0.05, atol=0)
        assert (added.mean(dim=0).abs() < torch.tensor([0.02, 0.4])).all()
    assert not (once == again).any()
    assert set(views.first.tolist()) == {0, 1}
    assert (views.first[2000::2] == views.first[2001::2]).all()  # a unit's rows show the same view
    assert (views.which(rows, 1) == 1 - views.first).all()


@STEPS
def test_a_drive_and_its_mirror_train_the_same_net(drives, monkeypatch, step):
    """Half of all samples are seen in the mirror; with the draws turned over, it is the other half."""
    samples, targets_m, folds = drives
    config = replace(CONFIG, stage="second", mirror=True, target="absolute", augment_probability=0.0)
    sides = ("steeringAngleDeg", "steeringTorque", "leftBlinker", "rightBlinker")  # would be scaled otherwise
    one = replace(samples, signals=samples.signals.assign(**dict.fromkeys(sides, 0.0)))
    usual = Trainer._mirrored

    here = train(config, two_folds((one, targets_m, folds)), step)
    monkeypatch.setattr(Trainer, "_mirrored", lambda trainer, lengths: ~usual(trainer, lengths))
    there = train(config, two_folds((mirror.samples(one), mirror.waypoints(targets_m), folds)), step)
    monkeypatch.setattr(Trainer, "_mirrored", usual)
    other = train(config, two_folds((mirror.samples(one), mirror.waypoints(targets_m), folds)), step)

    for name, value in weights(here, 0).items():
        torch.testing.assert_close(value, weights(there, 0)[name], rtol=0, atol=2e-4)
    head = [name for name in weights(here, 0) if name.startswith("head.")]
    assert not all(torch.allclose(weights(here, 0)[n], weights(other, 0)[n], rtol=0, atol=2e-4) for n in head)


@STEPS
def test_every_other_view_is_one_in_the_mirror_and_a_unit_is_on_one_side(drives, monkeypatch, step):
    samples, seen, difference = drives[0], [], Trainer._difference

    def recorded(trainer, found, rows, lengths, mirrored, variants):
        seen.append((rows, np.repeat(np.arange(len(lengths)), lengths), mirrored.numpy()))
        return difference(trainer, found, rows, lengths, mirrored, variants)

    monkeypatch.setattr(Trainer, "_difference", recorded)
    train(replace(CONFIG, mirror=True, cached_views=2, first=replace(STAGE, num_epochs=2)), two_folds(drives), step)

    sides = {row: [] for row in range(len(samples))}
    for rows, unit, mirrored in seen:
        for row, side in zip(rows.tolist(), mirrored.tolist(), strict=True):
            sides[row].append(side)
        assert all(len(set(mirrored[unit == u].tolist())) == 1 for u in np.unique(unit))
    assert all(sorted(found) == [False, True] for found in sides.values())  # two epochs, outside of one fold


@pytest.mark.parametrize(
    ("chosen", "rows", "lengths"),
    [
        pytest.param([0], [3, 4], [2], id="one"),
        pytest.param([2, 0], [9, 11, 12, 3, 4], [3, 2], id="two, in their order"),
        pytest.param([1, 1], [8, 8], [1, 1], id="one twice"),
        pytest.param([0, 1, 2], [3, 4, 8, 9, 11, 12], [2, 1, 3], id="all"),
    ],
)
def test_units_bring_their_rows(chosen, rows, lengths):
    units = Units(rows=np.array([3, 4, 8, 9, 11, 12]), lengths=np.array([2, 1, 3]))

    found = units.take(np.array(chosen))

    assert [part.tolist() for part in found] == [rows, lengths]


@pytest.mark.parametrize("stage", ["second", "both"])
def test_the_second_stage_moves_the_backbone_and_its_statistics(drives, stage):
    start = train(CONFIG, two_folds(drives)) if stage == "second" else None
    still = train(replace(CONFIG, first=STILL), two_folds(drives))

    model = train(replace(CONFIG, stage=stage), two_folds(drives), start=start)

    found = moved(model, start or still)
    assert found == set(weights(model, 0))
    assert any(name.endswith("running_var") for name in found)


@pytest.mark.parametrize("stage", ["first", "second"])
def test_a_trained_net_is_frozen_and_in_evaluation_mode(drives, first, stage):
    model = train(replace(CONFIG, stage=stage), drives, start=first if stage == "second" else None)

    for fold in model.folds:
        assert not any(module.training for module in fold.net.modules())
        assert not any(p.requires_grad for p in fold.net.encoder.backbone.parameters())


def test_the_second_stage_goes_on_from_the_nets_that_it_is_given(drives, first):
    model = train(replace(CONFIG, stage="second", second=STILL), drives, start=first)

    parameters = dict(first.folds[0].net.named_parameters())
    for k in range(3):
        start, found = weights(first, k), weights(model, k)
        for name in parameters:
            torch.testing.assert_close(found[name], start[name], rtol=0, atol=1e-9)
        assert model.folds[k].scaling is first.folds[k].scaling


# Early stopping


class Judge:
    """Held-out errors in metres by epoch, in place of measured ones, and the weights at each epoch."""

    def __init__(self, monkeypatch, script_m):
        self.weights = {}
        monkeypatch.setattr(Trainer, "_judged", lambda trainer, *given: lambda model: self.judge(trainer, script_m))

    def judge(self, trainer, script_m):
        epoch = len(trainer.epochs)
        self.weights[trainer.fold, epoch] = {name: v.clone() for name, v in trainer.net.state_dict().items()}
        return script_m[epoch]


@pytest.mark.parametrize(
    ("script_m", "patience", "epochs", "best"),
    [
        pytest.param([3, 1, 2, 2, 0.5], 2, 4, 1, id="two without a better one"),
        pytest.param([3, 1, 2, 2, 0.5], 3, 5, 4, id="better in time"),
        pytest.param([5, 4, 3, 2, 1], 1, 5, 4, id="ever better"),
        pytest.param([1, 1, 1, 1, 1], 2, 3, 0, id="a tie is not better"),
        pytest.param([4, 1, 3, 2, 2], 9, 5, 1, id="all epochs, then back to the best"),
    ],
)
def test_the_best_held_out_epoch_is_kept(drives, monkeypatch, script_m, patience, epochs, best):
    judge, seen = Judge(monkeypatch, script_m), []
    config = replace(CONFIG, first=replace(STAGE, num_epochs=5, patience=patience, batch_size=64))

    model = train(config, drives, on_epoch=seen.append)

    assert [(e.fold, e.index) for e in seen] == [(k, i) for k in range(3) for i in range(epochs)]
    assert [e.held_out_mae_m for e in seen] == script_m[:epochs] * 3
    for k in range(3):
        assert same(weights(model, k), judge.weights[k, best])


def test_each_stage_has_a_best_epoch_of_its_own(drives, monkeypatch):
    judge = Judge(monkeypatch, [1, 5, 4])
    stage = replace(STAGE, patience=1, batch_size=64)

    model = train(replace(CONFIG, stage="both", first=stage, second=replace(stage, num_epochs=2)), drives)

    assert same(weights(model, 0), judge.weights[0, 2])


def test_the_best_weights_are_a_copy():
    net, best = nn.Linear(1, 1), Best(patience=5)
    with torch.no_grad():
        for value, mae_m in ((1.0, 2.0), (2.0, 1.0), (3.0, 1.5)):
            net.weight.fill_(value)
            best.note(mae_m, net)
            assert not best.is_over

    best.restore(net)

    assert net.weight.item() == 2.0


def test_without_any_epoch_the_last_weights_stay():
    net = nn.Linear(1, 1)
    before = net.weight.item()

    Best(patience=1).restore(net)

    assert net.weight.item() == before


STOPPING = replace(CONFIG, first=replace(STAGE, patience=3), second=replace(STAGE, patience=3))


@pytest.mark.parametrize(
    ("config", "scenes", "words"),
    [
        pytest.param(replace(CONFIG, stage="both"), 12, "off in this preset", id="no patience"),
        pytest.param(replace(STOPPING, second=STAGE), 12, "on whole scenes held out", id="patience in the first stage"),
        pytest.param(
            replace(STOPPING, first=STAGE, stage="first"), 12, "off in this preset", id="patience in the other stage"
        ),
        pytest.param(STOPPING, 9, "on whole scenes held out", id="6 training scenes"),
        pytest.param(STOPPING, 8, "fewer than 6 training scenes", id="5 training scenes"),
    ],
)
def test_early_stopping_says_what_it_looks_at(drives, config, scenes, words):
    samples, _, folds = drives
    rows = np.flatnonzero(np.isin(samples.scenes, np.unique(samples.scenes)[:scenes]))

    assert words in training.early_stopping(config, samples.take(rows), folds[rows])


def test_with_fewer_than_6_training_scenes_all_epochs_run(drives):
    samples, targets_m, folds = drives
    rows = np.flatnonzero(np.isin(samples.scenes, np.unique(samples.scenes)[:6]))
    epochs = []

    train(
        replace(CONFIG, first=replace(STAGE, num_epochs=3, patience=1)),
        (samples.take(rows), targets_m[rows], np.minimum(folds[rows], 1)),
        on_epoch=epochs.append,
    )

    assert [(e.index, e.held_out_mae_m) for e in epochs] == [(0, None), (1, None), (2, None)] * 2


# Divergence


@pytest.mark.parametrize("value", [np.nan, np.inf], ids=["not a number", "infinite"])
def test_a_loss_that_is_not_finite_ends_the_training(drives, value):
    samples, targets_m, folds = drives
    broken_m = targets_m.copy()
    broken_m[np.flatnonzero(folds == 0)[0], 4] = value  # fold 0 trains without it
    config = replace(CONFIG, target="absolute")

    with pytest.raises(FloatingPointError, match=r"^fold 1, epoch 0: expected a finite loss, found (nan|inf); try a"):
        train(config, (samples, broken_m, folds))


def test_a_learning_rate_that_lets_the_weights_explode_ends_the_training(drives):
    with pytest.raises(FloatingPointError, match="try a lower learning_rate"):
        train(replace(CONFIG, first=replace(STAGE, learning_rate=1e36, num_epochs=3)), drives)


def test_an_epoch_is_plain_numbers(drives):
    epochs = []
    train(CONFIG, two_folds(drives), on_epoch=epochs.append)

    assert all(isinstance(epoch, Epoch) and type(epoch.train_mae_m) is float for epoch in epochs)


@pytest.mark.parametrize(
    ("scenes_per_fold", "words"),
    [
        pytest.param([1, 1, 1], "none, for there are fewer than 6", id="nowhere"),
        pytest.param([3, 3, 2], r"but for folds \[0, 1\] with fewer than 6", id="in the fold that leaves 6"),
        pytest.param([4, 4, 4], "on whole scenes held out of the training part$", id="everywhere"),
    ],
)
def test_what_is_said_of_early_stopping_is_said_fold_by_fold(tiny, scenes_per_fold, words):
    names = np.unique(tiny.train.scenes)[: sum(scenes_per_fold)]
    samples = tiny.train.take(np.flatnonzero(np.isin(tiny.train.scenes, names)))
    fold_of_scene = dict(zip(names, np.repeat(np.arange(3), scenes_per_fold), strict=True))
    folds = np.array([fold_of_scene[scene] for scene in samples.scenes])
    first = StageConfig(batch_size=8, learning_rate=1e-3, weight_decay=0.0, num_epochs=2, patience=1)

    note = training.early_stopping(NetConfig(first=first, second=first, stage="first"), samples, folds)

    assert re.search(words, note)
