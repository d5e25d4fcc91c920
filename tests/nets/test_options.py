"""Options of the nets: other inputs, attention, augmentation, averaged weights, fold repeats."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from atma18.bundle.servable import predict_all
from atma18.cache import Cache
from atma18.compute import Compute
from atma18.config import NetConfig, StageConfig
from atma18.data.folds import make_folds
from atma18.gbdt.inputs import StoredInputs
from atma18.nets import AttentionHead, SceneLayout, sinusoidal_positions, training
from atma18.nets.checkpoints import Checkpoints
from atma18.nets.model import NetModel
from atma18.nets.training import stage_state
from atma18.nets.training.augmentation import COVER, GRAY, NOISE, SHARE, SHIFT, Augmentation
from atma18.nets.training.stage_state import StageState

pytestmark = pytest.mark.usefixtures("small_backbone")

MACHINE = Compute("cpu", 1, bfloat16=False)
NOTHING = (StoredInputs({}, {}), StoredInputs({}, {}))
STAGE = StageConfig(batch_size=8, learning_rate=1e-2, weight_decay=0.0, num_epochs=2)
CONFIG = NetConfig(STAGE, STAGE, backbone="small", hidden=8, num_layers=1, inference_batch=16)
STEPS = pytest.mark.parametrize("step", ["nn1", "nn2"])
WIDTH = 5


@pytest.fixture(scope="module")
def drives(tiny):
    """Samples, targets and 2 folds of whole scenes."""
    return tiny.train, tiny.targets_m, np.unique(tiny.train.scenes, return_inverse=True)[1] % 2


@pytest.fixture(autouse=True)
def drawn_weights():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def assert_same_weights(ours, theirs):
    found, expected = ours.net.state_dict(), theirs.net.state_dict()
    assert [name for name in expected if not torch.equal(found[name], expected[name])] == []


# Reading frames alone


@STEPS
def test_a_net_of_frames_alone_knows_no_signal_but_its_targets_origin(drives, step):
    samples, targets_m, folds = drives
    config = replace(CONFIG, modalities="frames", context=True, target="absolute", stage="first")
    model = training.train(step, config, samples, targets_m, folds, MACHINE)

    other = replace(samples, signals=samples.signals + 7)

    np.testing.assert_array_equal(model.predict(0, other, None, "cpu"), model.predict(0, samples, None, "cpu"))
    assert model.folds[0].scaling.width == 0
    dark = replace(samples, frames=samples.frames.take(np.zeros(len(samples), np.int64)))
    assert np.abs(model.predict(0, dark, None, "cpu") - model.predict(0, samples, None, "cpu")).max() > 1e-3


def test_a_net_of_frames_alone_looks_at_no_neighbour():
    assert NetModel("nn1", replace(CONFIG, modalities="frames", context=True), ()).causal
    assert not NetModel("nn1", replace(CONFIG, context=True), ()).causal


# Attention


def layout_of(lengths, **padded_to):
    return SceneLayout.of(np.array(lengths), **padded_to)


def attention(**changed):
    return AttentionHead(replace(CONFIG, sequence_head="attention", **changed), WIDTH).eval()


def test_attention_is_that_of_its_definition():
    """One layer, written out: softmax(q k' / sqrt(d)) v for each of four heads of two numbers."""
    head, encoded = attention(), random(3, WIDTH)
    layer = head.layers.layers[0]

    with torch.no_grad():
        found = head(encoded, layout_of([3]))
        x = encoded @ head.into.weight.T + head.into.bias + sinusoidal_positions(3, 8)
        queries, keys, values = (
            layer.norm1(x) @ layer.self_attn.in_proj_weight.T + layer.self_attn.in_proj_bias
        ).split(8, dim=1)
        mixed = torch.empty(3, 8)
        for part in (slice(h, h + 2) for h in range(0, 8, 2)):
            shares = torch.softmax(queries[:, part] @ keys[:, part].T / 2**0.5, dim=1)
            mixed[:, part] = shares @ values[:, part]
        x = x + layer.self_attn.out_proj(mixed)
        x = x + layer.linear2(torch.relu(layer.linear1(layer.norm2(x))))
        expected = head.out(x)

    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(
    ("before", "after", "padded_to"),
    [([], [], {}), ([2, 5], [1], {}), ([], [6], {}), ([2], [], {"steps": 8, "scenes": 5})],
    ids=["alone", "in the middle", "beside a longer one", "padded"],
)
def test_attention_does_not_look_at_other_scenes_or_padding(causal, before, after, padded_to):
    head, scene = attention(causal=causal), random(3, WIDTH)
    first, rest = random(sum(before), WIDTH, seed=1), random(sum(after), WIDTH, seed=2)

    with torch.no_grad():
        found = head(torch.cat([first, scene, rest]), layout_of([*before, 3, *after], **padded_to))
        alone = head(scene, layout_of([3]))

    assert torch.isfinite(found).all()
    torch.testing.assert_close(found[sum(before) :][:3], alone, rtol=0, atol=1e-6)


@pytest.mark.parametrize("changed", [0, 1, 2, 3])
def test_causal_attention_looks_at_no_later_sample(changed):
    head, encoded = attention(causal=True), random(4, WIDTH)
    other = encoded.clone()
    other[changed] += 1

    with torch.no_grad():
        moved = (head(other, layout_of([4])) - head(encoded, layout_of([4]))).abs().amax(dim=1)

    assert (moved > 1e-6).tolist() == [step >= changed for step in range(4)]


def test_the_order_of_a_scene_counts_for_attention():
    head, encoded = attention(), random(4, WIDTH)

    with torch.no_grad():
        turned = head(encoded.flip(0), layout_of([4])).flip(0) - head(encoded, layout_of([4]))

    assert turned.abs().max() > 1e-4


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="hidden of a multiple of 4 with sequence_head attention, found 6"):
        replace(CONFIG, sequence_head="attention", hidden=6)


# Strong augmentation


def augmentation(count, **given):
    nothing = {
        "blurred": torch.zeros(count, dtype=torch.bool),
        "shift": torch.zeros(count, 2),
        "cover": torch.zeros(count, 4),
        "noise": torch.zeros(count),
        "generator": torch.Generator().manual_seed(0),
    }
    return Augmentation(**(nothing | given))


def test_each_kind_is_drawn_as_often_as_it_should_be():
    found = Augmentation.draw(4000, 0.5, torch.Generator().manual_seed(0))

    kinds = [found.blurred, found.shift.any(dim=1), found.cover.any(dim=1), found.noise > 0]
    sigma = (SHARE * 0.5 * (1 - SHARE * 0.5) / 4000) ** 0.5
    for kind in kinds:
        assert kind.float().mean().item() == pytest.approx(SHARE * 0.5, abs=4 * sigma)
    assert found.shift.abs().max() <= SHIFT
    size = found.cover[:, 1::2] - found.cover[:, ::2]
    assert 0 <= size.min() <= size.max() <= COVER
    assert 0 <= found.cover.min() <= found.cover.max() <= 1


def test_nothing_drawn_changes_nothing():
    frames = torch.rand(3, 8, 16, 9)
    before = frames.clone()

    augmentation(3).apply(frames)

    assert torch.equal(frames, before)


def test_a_shift_moves_the_picture_and_repeats_the_edge():
    frames = torch.arange(50 * 100.0).reshape(1, 50, 100, 1).repeat(2, 1, 1, 9)
    before = frames.clone()

    augmentation(2, shift=torch.tensor([[0.0, 0.0], [0.04, -0.02]])).apply(frames)  # two rows down, two columns left

    assert torch.equal(frames[0], before[0])
    assert torch.equal(frames[1, 2:, :-2], before[1, :-2, 2:])
    assert torch.equal(frames[1, 2:, -1], before[1, :-2, -1])
    assert torch.equal(frames[1, 0, :-2], before[1, 0, 2:])


def test_a_cover_is_a_gray_box():
    frames = torch.zeros(1, 10, 20, 9)

    augmentation(1, cover=torch.tensor([[0.2, 0.5, 0.1, 0.3]])).apply(frames)

    expected = torch.zeros(1, 10, 20, 9)
    expected[:, 2:5, 2:6] = GRAY
    assert torch.equal(frames, expected)


def test_blur_keeps_what_is_even_and_spreads_a_point():
    frames = torch.zeros(1, 9, 9, 9)
    frames[:, 4, 4] = 1.0

    augmentation(1, blurred=torch.tensor([True])).apply(frames)

    assert 0 < frames[0, 3, 4, 0] < frames[0, 4, 4, 0] < 1
    torch.testing.assert_close(frames[0, :, :, 0].sum(), torch.tensor(1.0))
    assert (frames[0, 2, 4] == 0).all()


def test_noise_has_the_deviation_asked_for_and_stays_within_0_and_1():
    frames = torch.full((2, 64, 128, 9), 0.5)

    augmentation(2, noise=torch.tensor([0.0, NOISE])).apply(frames)

    assert (frames[0] == 0.5).all()
    assert frames[1].std().item() == pytest.approx(NOISE, rel=0.02)
    bright = torch.ones(1, 8, 8, 9)
    augmentation(1, noise=torch.tensor([NOISE])).apply(bright)
    assert bright.max() == 1.0
    assert bright.min() < 1.0


def test_training_draws_strong_augmentation_only_if_asked(drives, monkeypatch):
    drawn = []
    apply = Augmentation.apply
    monkeypatch.setattr(Augmentation, "apply", lambda self, frames: drawn.append(len(frames)) or apply(self, frames))
    config = replace(CONFIG, first=replace(STAGE, num_epochs=1), second=replace(STAGE, num_epochs=1))

    training.train("nn1", config, *drives, MACHINE)
    assert drawn == []
    training.train("nn1", replace(config, augment=True), *drives, MACHINE)

    assert sum(drawn) == 2 * len(drives[0])  # a view for the first stage and an epoch of the second, of either half


# Averaged weights


def test_averaged_weights_are_those_worked_out_on_paper():
    """The first step is copied, then each counts for 1 - decay: 1, 0.5 * 1 + 0.5 * 3 = 2, 0.5 * 2 + 0.5 * 7 = 4.5."""
    net = nn.Linear(1, 1, bias=False)
    stage = StageState(replace(STAGE, learning_rate=1e-12), net, batches=2, ema_decay=0.5)

    for weight in (1.0, 3.0, 7.0):
        net.weight.data.fill_(weight)
        stage.step(net(torch.ones(1, 1)).sum())

    assert net.weight.item() == pytest.approx(7.0)
    assert stage.net.weight.item() == pytest.approx(4.5)
    stage.load_final_weights()
    assert net.weight.item() == pytest.approx(4.5)


def test_without_averaging_the_last_weights_are_kept():
    net = nn.Linear(1, 1)
    assert StageState(STAGE, net, batches=2).net is net


@STEPS
def test_a_training_that_averages_goes_on_to_the_same_bits(drives, step, tmp_path):
    config, cache = replace(CONFIG, ema_decay=0.9), Cache.open(tmp_path / "cache")

    def train(on_epoch):
        with Checkpoints.open(cache, "key", "r", 1) as checkpoints:
            return training.train(step, config, *drives, MACHINE, on_epoch=on_epoch, checkpoints=checkpoints)

    whole = training.train(step, config, *drives, MACHINE)
    for last in (1, 3):  # in the middle of either stage

        def stop(epoch, last=last):
            if epoch.index == last and not epoch.restored:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            train(stop)
    resumed = train(lambda epoch: None)

    for ours, theirs in zip(resumed.folds, whole.folds, strict=True):
        assert_same_weights(ours, theirs)


def test_held_out_scenes_judge_the_averaged_net(drives, monkeypatch):
    judged = []
    note = stage_state.Best.note
    monkeypatch.setattr(stage_state.Best, "note", lambda self, mae_m, net: judged.append(net) or note(self, mae_m, net))
    stopping = replace(STAGE, patience=2)

    training.train("nn1", replace(CONFIG, first=stopping, stage="first", ema_decay=0.9), *drives, MACHINE)

    assert len({id(net) for net in judged}) == 2  # one average per fold
    trained = training.train("nn1", replace(CONFIG, first=stopping, stage="first", ema_decay=0.9), *drives, MACHINE)
    assert not {id(fold.net) for fold in trained.folds} & {id(net) for net in judged}


# Further splits


@pytest.fixture(scope="module")
def other_split(drives):
    samples, _, folds = drives
    found = make_folds(samples.ids, samples.scenes, samples.signals, 2, seed=5)
    assert 0 < (found != folds).mean() < 1
    return found


def split_model(step, drives, other_split):
    return training.train(
        step, replace(CONFIG, fold_repeats=2, stage="first"), *drives, MACHINE, more_splits=[other_split]
    )


@STEPS
def test_a_prediction_is_the_mean_over_the_nets_of_a_fold(drives, other_split, step):
    model, samples = split_model(step, drives, other_split), drives[0]

    found_m = model.predict(1, samples, None, "cpu")

    own_m, other_m = (net.predict(samples, model.config, "cpu") for net in (model.folds[1], model.folds[3]))
    np.testing.assert_allclose(found_m, (own_m + other_m) / 2, rtol=0, atol=1e-12)
    assert np.abs(own_m - other_m).max() > 1e-3


@STEPS
def test_the_nets_of_the_first_split_are_those_of_a_training_without_further_ones(drives, other_split, step):
    alone = training.train(step, replace(CONFIG, stage="first"), *drives, MACHINE)

    for ours, theirs in zip(split_model(step, drives, other_split).of_split(0).folds, alone.folds, strict=True):
        assert_same_weights(ours, theirs)


def test_nobody_is_predicted_by_a_net_that_saw_its_scene(drives, other_split, tiny):
    model, (samples, _, folds) = split_model("nn1", drives, other_split), drives

    splits = [(model.of_split(0), folds), (model.of_split(1), other_split)]
    found_m = predict_all(model, samples, folds, tiny.test, NOTHING, "cpu", splits).oof_m

    for row in range(0, len(samples), 5):
        nets = [model.folds[folds[row]], model.folds[2 + other_split[row]]]
        expected_m = np.mean([net.predict(samples.take(np.array([row])), model.config, "cpu") for net in nets], axis=0)
        np.testing.assert_allclose(found_m[row], expected_m[0], rtol=0, atol=1e-5)


def test_every_split_is_served_back(drives, other_split, tmp_path):
    model, samples = split_model("nn2", drives, other_split), drives[0]
    model.save(tmp_path)

    files = {path.name: path for path in tmp_path.iterdir()}
    loaded = NetModel.load("nn2", model.config, model.spec, tuple(samples.signals.columns), files, "cpu")

    assert len(files) == 4 + 1  # two nets in each of two splits, and one graph
    np.testing.assert_array_equal(loaded.predict(1, samples, None, "cpu"), model.predict(1, samples, None, "cpu"))


def test_as_many_splits_are_needed_as_are_configured(drives):
    with pytest.raises(ValueError, match="expected the folds of 2 splits, found those of 1"):
        training.train("nn1", replace(CONFIG, fold_repeats=2), *drives, MACHINE)


def test_an_attention_net_trains_and_is_served_back(drives, tmp_path):
    samples = drives[0]
    config = replace(CONFIG, sequence_head="attention", mirror=True, augment=True, ema_decay=0.9)
    model = training.train("nn2", config, *drives, MACHINE)
    model.save(tmp_path)

    files = {path.name: path for path in tmp_path.iterdir()}
    loaded = NetModel.load("nn2", config, model.spec, tuple(samples.signals.columns), files, "cpu")

    np.testing.assert_array_equal(loaded.predict(0, samples, None, "cpu"), model.predict(0, samples, None, "cpu"))
