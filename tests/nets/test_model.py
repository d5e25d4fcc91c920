"""Scaling must be invertible, and a sample's prediction bit-identical alone, in a batch, and after loading."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from atma18.compute import inference
from atma18.config import NetConfig, StageConfig
from atma18.geometry import mirror
from atma18.nets import NETS, SceneLayout
from atma18.nets.model import FoldNet, NetModel, unit_lengths
from atma18.nets.scaling import Scaling
from atma18.schema import FRAME_SHAPE, FrameRows, Samples

STAGE = StageConfig(batch_size=4, learning_rate=1e-3, weight_decay=0.0, num_epochs=1)
CONFIG = NetConfig(STAGE, STAGE, backbone="torchvision:mobilenet_v3_small", hidden=8, inference_batch=4)
STEPS = pytest.mark.parametrize("step", ["nn1", "nn2"])
TARGETS = pytest.mark.parametrize("target", ["absolute", "residual", "motion"])


def samples_of(**signals):
    """Samples of one scene without pictures, for what reads signals alone."""
    table = pd.DataFrame({name: np.asarray(values, np.float64) for name, values in signals.items()})
    frames = FrameRows.of(np.broadcast_to(np.uint8(0), (len(table), *FRAME_SHAPE)))
    return Samples(np.array([f"a_{10 * i}" for i in range(len(table))]), table, None, None, frames)


def straight_m(speed_mps):
    """Waypoints (N, 18) of a car that keeps its speed: x is speed times 0.5, 1.0, … 3.0 s."""
    return np.array([[v * 0.5 * (k + 1) * (axis == 0) for k in range(6) for axis in range(3)] for v in speed_mps])


# Scaling


def test_signals_are_standardised_as_on_paper():
    samples = samples_of(vEgo=[2, 4, 100], aEgo=[-1, 1, 100])

    scaling = Scaling.fit(CONFIG, samples, np.zeros((3, 18)), np.array([0, 1]))

    np.testing.assert_allclose(scaling.inputs(samples)[:2], [[-1, -1], [1, 1]])
    np.testing.assert_allclose(scaling.inputs(samples)[2], [97, 100])
    assert scaling.inputs(samples).dtype == np.float32


def test_signals_are_found_by_name():
    samples = samples_of(vEgo=[2, 4], aEgo=[-1, 1])
    scaling = Scaling.fit(CONFIG, samples, np.zeros((2, 18)), np.arange(2))
    other = replace(samples, signals=samples.signals.assign(gas=7.0)[["gas", "aEgo", "vEgo"]])

    np.testing.assert_array_equal(scaling.inputs(other), scaling.inputs(samples))


@TARGETS
def test_scaling_looks_at_the_given_rows_alone(target):
    rng, rows = np.random.default_rng(0), np.array([0, 2, 3])
    samples = samples_of(vEgo=[2, 1e6, 4, 9], aEgo=[-1, 1e6, 1, 0])
    targets_m = rng.normal(size=(4, 18))
    changed_m = targets_m.copy()
    changed_m[1] = 1e9
    config = replace(CONFIG, target=target)

    scaling, again, few = (
        Scaling.fit(config, samples, targets_m, rows),
        Scaling.fit(config, samples_of(vEgo=[2, -5, 4, 9], aEgo=[-1, 3, 1, 0]), changed_m, rows),
        Scaling.fit(config, samples, targets_m, rows[:2]),
    )

    for name in ("signal_mean", "signal_scale", "target_mean_m", "target_scale_m"):
        np.testing.assert_array_equal(getattr(scaling, name), getattr(again, name))
    assert not np.array_equal(scaling.signal_mean, few.signal_mean)


def test_a_residual_of_one_deviation_is_an_output_of_one():
    samples = samples_of(vEgo=[10, 20])
    # Faster than constant velocity by 1 and 5 m: mean 3 m, deviation 2 m.
    targets_m = straight_m([10, 20]) + np.array([[1.0], [5.0]])

    scaling = Scaling.fit(replace(CONFIG, target="residual"), samples, targets_m, np.arange(2))

    np.testing.assert_allclose(scaling.outputs(samples, targets_m), np.repeat([[-1.0], [1.0]], 18, axis=1), atol=1e-6)
    np.testing.assert_allclose(scaling.metres(samples, np.zeros((2, 18), np.float32)), straight_m([10, 20]) + 3)
    parked = samples_of(vEgo=[0])
    np.testing.assert_allclose(scaling.metres(parked, np.ones((1, 18), np.float32)), np.full((1, 18), 5.0))


def test_a_difference_may_be_said_as_a_multiple_of_the_pace():
    """At 2 and 18 m/s the pace is 2 and 10: 2 and 50 m more than expected are 1 and 5, mean 3, deviation 2."""
    samples, config = samples_of(vEgo=[2, 18]), replace(CONFIG, target="residual", by_speed=True)
    targets_m = straight_m([2, 18]) + np.array([[2.0], [50.0]])

    scaling = Scaling.fit(config, samples, targets_m, np.arange(2))

    np.testing.assert_allclose(scaling.outputs(samples, targets_m), np.repeat([[-1.0], [1.0]], 18, axis=1), atol=1e-6)
    np.testing.assert_allclose(
        scaling.metres(samples, np.zeros((2, 18), np.float32)), straight_m([2, 18]) + np.array([[6], [30]])
    )
    parked = samples_of(vEgo=[-0.1])
    np.testing.assert_allclose(scaling.metres(parked, np.ones((1, 18), np.float32)), straight_m([-0.1]) + 5)


def test_metres_have_no_pace():
    with pytest.raises(ValueError, match="target residual or motion with by_speed, found 'absolute'"):
        replace(CONFIG, target="absolute", by_speed=True)


def test_absolute_outputs_are_metres():
    samples, targets_m = samples_of(vEgo=[10, 20]), np.arange(36.0).reshape(2, 18)

    scaling = Scaling.fit(replace(CONFIG, target="absolute"), samples, targets_m, np.arange(2))

    np.testing.assert_array_equal(scaling.outputs(samples, targets_m), targets_m)
    np.testing.assert_array_equal(scaling.metres(samples, targets_m.astype(np.float32)), targets_m)


BOUNDED = replace(CONFIG, target="residual", bounded=True)


def test_an_input_outside_the_training_rows_is_read_as_the_nearest_inside():
    samples = samples_of(vEgo=[2, 4, 100, -100], aEgo=[-1, 1, 0.5, 7])

    scaling = Scaling.fit(BOUNDED, samples, np.zeros((4, 18)), np.array([0, 1]))

    np.testing.assert_allclose(scaling.inputs(samples), [[-1, -1], [1, 1], [1, 0.5], [-1, 1]])


def test_a_prediction_is_no_further_from_its_baseline_than_the_training_rows():
    samples = samples_of(vEgo=[10, 20, 5])
    targets_m = straight_m([10, 20, 5]) + np.array([[1.0], [5.0], [99.0]])

    scaling = Scaling.fit(BOUNDED, samples, targets_m, np.array([0, 1]))

    outputs = np.array([[1e3] * 18, [-1e3] * 18, [0.0] * 18], np.float32)
    np.testing.assert_allclose(scaling.metres(samples, outputs), straight_m([10, 20, 5]) + np.array([[5], [1], [3]]))


def test_ranges_have_two_sides_where_samples_are_mirrored():
    samples = samples_of(vEgo=[10, 10], steeringAngleDeg=[5, 40])
    targets_m = straight_m([10, 10])
    targets_m[:, 1::3] += [[1.0], [4.0]]

    scaling = Scaling.fit(replace(BOUNDED, mirror=True), samples, targets_m, np.arange(2))

    np.testing.assert_allclose(scaling.input_range, [[10, -40], [10, 40]])
    np.testing.assert_allclose(scaling.difference_range[:, 1::3], np.array([[-4.0] * 6, [4.0] * 6]))
    np.testing.assert_allclose(scaling.difference_range[:, ::3], np.zeros((2, 6)), atol=1e-12)


def test_without_bounds_nothing_is_held():
    samples = samples_of(vEgo=[2, 4, 100], aEgo=[-1, 1, 0.5])

    scaling = Scaling.fit(replace(BOUNDED, bounded=False), samples, np.zeros((3, 18)), np.array([0, 1]))

    assert scaling.inputs(samples)[2, 0] == 97


def test_ranges_of_other_inputs_are_refused():
    samples = samples_of(vEgo=[2, 4], aEgo=[-1, 1])
    scaling = Scaling.fit(BOUNDED, samples, np.zeros((2, 18)), np.arange(2))

    with pytest.raises(ValueError, match=r"expected ranges of 2 inputs and 18 differences, found \[\(2, 1\)"):
        replace(scaling, input_range=scaling.input_range[:, :1])


@pytest.mark.parametrize(
    ("target", "by_speed"),
    [("absolute", False), ("residual", False), ("residual", True), ("motion", False), ("motion", True)],
)
def test_metres_undo_outputs(tiny, target, by_speed):
    config = replace(CONFIG, target=target, by_speed=by_speed)
    scaling = Scaling.fit(config, tiny.train, tiny.targets_m, np.arange(20))

    outputs = scaling.outputs(tiny.train, tiny.targets_m)

    assert outputs.dtype == np.float32
    metres = scaling.metres(tiny.train, outputs)
    assert metres.dtype == np.float64
    np.testing.assert_allclose(metres, tiny.targets_m, rtol=0, atol=1e-5)


def test_what_never_changes_is_not_divided_by_zero():
    samples = samples_of(vEgo=[10, 10], brake=[0, 0])
    scaling = Scaling.fit(replace(CONFIG, target="residual"), samples, straight_m([10, 10]) + 2, np.arange(2))

    np.testing.assert_array_equal(scaling.inputs(samples), np.zeros((2, 2)))
    np.testing.assert_array_equal(scaling.inputs(samples_of(vEgo=[11], brake=[0.5])), [[1, 0.5]])
    np.testing.assert_allclose(scaling.outputs(samples, straight_m([10, 10]) + 3), np.ones((2, 18)))


def test_the_neighbours_and_the_whole_scene_are_read_and_a_lone_sample_is_its_own_neighbour():
    samples = samples_of(vEgo=[2, 4, 9])

    scaling = Scaling.fit(replace(CONFIG, context=True), samples, np.zeros((3, 18)), np.arange(3))

    # vEgo; max, min, mean, deviation; the one before and the step from it; the one after and the step to it
    expected = np.array(
        [
            [2, 9, 2, 5, np.sqrt(13), 2, 0, 4, -2],
            [4, 9, 2, 5, np.sqrt(13), 2, 2, 9, -5],
            [9, 9, 2, 5, np.sqrt(13), 4, 5, 9, 0],
        ]
    )
    assert scaling.width == expected.shape[1]
    np.testing.assert_allclose(
        scaling.inputs(samples) * scaling.signal_scale + scaling.signal_mean, expected, atol=1e-5
    )
    np.testing.assert_allclose(scaling.signal_mean, expected.mean(axis=0))


def test_a_causal_net_reads_nothing_of_later_samples():
    early, late = samples_of(vEgo=[2, 4, 9]), samples_of(vEgo=[2, 4, 700])
    scaling = Scaling.fit(replace(CONFIG, context=True, causal=True), early, np.zeros((3, 18)), np.arange(3))

    np.testing.assert_array_equal(scaling.inputs(early)[:2], scaling.inputs(late)[:2])


@STEPS
@pytest.mark.parametrize("context", [False, True])
@pytest.mark.parametrize("causal", [False, True])
def test_a_model_says_whether_it_looks_ahead(step, context, causal):
    model = NetModel(step, replace(CONFIG, context=context, causal=causal), ())

    assert model.causal == (causal or (step == "nn1" and not context))


# Prediction


@STEPS
@pytest.mark.parametrize(("target", "by_speed"), [("residual", False), ("motion", False), ("motion", True)])
def test_what_is_predicted_of_a_mirrored_drive_is_the_mirrored_prediction(tiny, step, target, by_speed):
    best = {"mirror": True, "context": True, "target": target, "by_speed": by_speed}
    [fold] = make_model(step, tiny, **best).folds
    config, samples = replace(CONFIG, **best), tiny.train.take(np.arange(17))

    here_m = fold.predict(samples, config, "cpu")
    there_m = fold.predict(mirror.samples(samples), config, "cpu")

    np.testing.assert_allclose(there_m, mirror.waypoints(here_m), rtol=0, atol=1e-4)
    one_sided_m = fold.predict(samples, replace(config, mirror=False), "cpu")
    assert np.abs(one_sided_m - here_m).max() > 1e-3


def make_model(step, tiny, folds=1, **changed):
    config = replace(CONFIG, **changed)
    models = []
    with torch.random.fork_rng(devices=[]):
        for k in range(folds):
            torch.manual_seed(k)
            scaling = Scaling.fit(config, tiny.train, tiny.targets_m, np.arange(10 * k, 10 * k + 30))
            net = NETS[step](config, scaling.width)
            for name, buffer in net.named_buffers():
                if name.endswith("running_mean"):
                    buffer += 0.01 * (k + 1)  # statistics are part of what is saved
            models.append(FoldNet(net, scaling).ready(config))
    return NetModel(step, config, tuple(models))


def test_equal_backbones_see_the_same_images_once(tiny, monkeypatch):
    samples, asked, encode_frames = tiny.test, [], FoldNet.encode_frames
    config = replace(CONFIG, view="path", target="motion", mirror=True, backbone="cnn")
    scaling = Scaling.fit(config, tiny.train, tiny.targets_m, np.arange(30))
    with torch.random.fork_rng(devices=[]):
        nn1, nn2, other = (NETS[step](config, scaling.width) for step in ("nn1", "nn2", "nn2"))
    other.encoder.backbone.load_state_dict({k: v + 1 for k, v in nn1.encoder.backbone.state_dict().items()})
    of_nn1, of_nn2, of_other = (FoldNet(net, scaling).ready(config) for net in (nn1, nn2, other))
    elsewhere = replace(of_nn2, scaling=replace(scaling, motion=scaling.motion * 1.1))
    monkeypatch.setattr(FoldNet, "encode_frames", lambda *given: asked.append(1) or encode_frames(*given))

    alone_m = [fold.predict(replace(samples), config, "cpu") for fold in (of_nn1, of_nn2, of_other, elsewhere)]
    assert len(asked) == 8  # plain and mirrored images of four nets
    together_m = [fold.predict(samples, config, "cpu") for fold in (of_nn1, of_nn2, of_other, elsewhere)]
    assert len(asked) == 8 + 6
    np.testing.assert_array_equal(together_m, alone_m)
    of_nn2.predict(samples, replace(config, mirror=False), "cpu")
    assert len(asked) == 8 + 6 + 1


def test_inputs_for_which_there_are_no_scales_are_refused(tiny):
    scaling = Scaling.fit(CONFIG, tiny.train, tiny.targets_m, np.arange(30))
    width = len(tiny.train.signals.columns)

    with pytest.raises(ValueError, match=rf"expected scales for \d+ inputs, found {width}: make this model again"):
        replace(scaling, context=not CONFIG.context).inputs(tiny.train)


def predict(model, samples, fold=0):
    return model.folds[fold].predict(samples, model.config, "cpu")


@STEPS
@pytest.mark.parametrize("autocast", [False, True], ids=["float32", "bfloat16"])
def test_a_scenes_prediction_is_the_same_to_the_bit_whatever_comes_with_it(tiny, step, autocast):
    model, train = make_model(step, tiny, autocast=autocast), tiny.train
    together = predict(model, train)

    assert np.ptp(together - straight_m(train.signals["vEgo"]), axis=0).min() > 0
    for scene in np.unique(train.scenes)[[0, 2, 3, 5]]:
        rows = np.flatnonzero(train.scenes == scene)
        np.testing.assert_array_equal(predict(model, train.take(rows)), together[rows])
    half = np.flatnonzero(np.isin(train.scenes, np.unique(train.scenes)[1::2]))
    np.testing.assert_array_equal(predict(model, train.take(half)), together[half])


def test_a_single_samples_prediction_is_the_same_to_the_bit_alone(tiny):
    model = make_model("nn1", tiny)
    together = predict(model, tiny.train)

    for row in (0, 7, 55):
        np.testing.assert_array_equal(predict(model, tiny.train.take(np.array([row])))[0], together[row])


def test_a_causal_nets_prediction_needs_no_later_sample(tiny):
    for causal in (True, False):
        model, largest = make_model("nn2", tiny, causal=causal), tiny.train.scenes[tiny.train.scene_sizes.argmax()]
        rows = np.flatnonzero(tiny.train.scenes == largest)[:3]
        difference_m = np.abs(predict(model, tiny.train.take(rows)) - predict(model, tiny.train)[rows]).max()
        assert (difference_m < 1e-5) == causal


@pytest.mark.parametrize(
    ("step", "widths"), [pytest.param("nn1", {1: 1}, id="nn1"), pytest.param("nn2", {1: 1, 4: 4, 6: 8}, id="nn2")]
)
def test_a_unit_is_decoded_in_a_shape_that_depends_on_its_own_size_alone(tiny, monkeypatch, step, widths):
    model, shapes = make_model(step, tiny), []
    decode = NETS[step].decode

    def recorded(net, encoded, layout):
        sizes = layout.valid.sum(dim=1)
        shapes.extend((n, len(encoded), *layout.rows.shape) for n in sizes[sizes > 0].tolist())
        return decode(net, encoded, layout)

    monkeypatch.setattr(NETS[step], "decode", recorded)
    predict(model, tiny.test)  # scenes of 1, 4 and 6 samples
    expected = {(n, 4 * width, 4, width) for n, width in widths.items()}
    assert set(shapes) == expected

    shapes.clear()
    for scene in np.unique(tiny.test.scenes):
        predict(model, tiny.test.take(np.flatnonzero(tiny.test.scenes == scene)))
    assert set(shapes) == expected


@STEPS
def test_predictions_are_those_of_the_net_scene_by_scene(tiny, step):
    model, train = make_model(step, tiny), tiny.train
    [fold] = model.folds
    net = fold.net.eval()
    expected_m = []
    for scene in np.unique(train.scenes):
        part = train.take(np.flatnonzero(train.scenes == scene))
        frames = inference.stacked_images(torch.from_numpy(part.frames[:]), model.config.image_shape[1:])
        with torch.no_grad():
            encoded = net.encoder(frames, torch.from_numpy(fold.scaling.inputs(part)))
            outputs = net.decode(encoded, SceneLayout.of(np.array([len(part)])))
        expected_m.append(fold.scaling.metres(part, outputs.numpy()))

    np.testing.assert_allclose(predict(model, train), np.concatenate(expected_m), rtol=0, atol=1e-4)


@STEPS
def test_predicting_works_in_evaluation_mode_and_moves_no_statistics(tiny, step):
    model, part = make_model(step, tiny), tiny.train.take(np.arange(6))
    [fold] = model.folds
    before, first_m = {n: v.clone() for n, v in fold.net.state_dict().items()}, predict(model, part)
    fold.net.train()

    np.testing.assert_array_equal(predict(model, part), first_m)
    assert all(torch.equal(value, before[name]) for name, value in fold.net.state_dict().items())


def test_nn1_looks_at_samples_and_nn2_at_scenes(tiny):
    scenes = np.array(["a", "a", "b", "c", "c", "c"])

    lengths = {step: unit_lengths(make_model(step, tiny).folds[0].net, scenes).tolist() for step in NETS}

    assert lengths == {"nn1": [1] * 6, "nn2": [2, 1, 3]}


@pytest.mark.parametrize(
    ("step", "causal", "expected"), [("nn1", False, True), ("nn2", False, False), ("nn2", True, True)]
)
def test_a_model_says_whether_it_looks_at_later_samples(step, causal, expected):
    assert NetModel(step, replace(CONFIG, causal=causal), ()).causal == expected


# Files


@STEPS
@TARGETS
def test_a_saved_model_predicts_the_same_fold_by_fold(tiny, tmp_path, step, target):
    model, part = make_model(step, tiny, folds=2, target=target), tiny.test.take(np.arange(9))
    expected_m = [predict(model, part, fold) for fold in range(2)]
    model.save(tmp_path)
    files = {path.name: path for path in tmp_path.iterdir()}

    read = NetModel.load(step, model.config, model.spec, tuple(tiny.train.signals.columns), files, "cpu")

    assert (read.step, read.config, len(read.folds)) == (step, model.config, 2)
    assert not np.allclose(*expected_m)
    for fold in range(2):
        np.testing.assert_array_equal(predict(read, part, fold), expected_m[fold])


def test_files_from_before_there_was_a_motion_model_are_read(tiny, tmp_path):
    model, part = make_model("nn1", tiny, target="residual"), tiny.test.take(np.arange(4))
    model.save(tmp_path)
    [file] = tmp_path.glob("*.safetensors")
    tensors = load_file(file)
    del tensors["motion"]
    save_file(tensors, file)

    read = NetModel.load("nn1", model.config, model.spec, tuple(tiny.train.signals.columns), {file.name: file}, "cpu")

    np.testing.assert_array_equal(predict(read, part, 0), predict(model, part, 0))


def test_the_files_hold_a_json_header_and_plain_tensors(tiny, tmp_path):
    make_model("nn2", tiny, folds=2).save(tmp_path)

    assert sorted(path.name for path in tmp_path.glob("*.*")) == [
        "backbone.onnx",
        "fold0.safetensors",
        "fold1.safetensors",
    ]
    for path in tmp_path.glob("*.safetensors"):
        content = path.read_bytes()
        size = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + size])
        assert {entry["dtype"] for entry in header.values()} <= {"F32", "F64", "I64"}
        assert 8 + size + max(entry["data_offsets"][1] for entry in header.values()) == len(content)


def test_loading_leaves_torchs_generator_where_it_was(tmp_path, tiny):
    config = replace(CONFIG, num_layers=1)
    net = NETS["nn1"](config, len(tiny.train.signals.columns))
    scaling = Scaling.fit(config, tiny.train, tiny.targets_m, np.arange(9))
    NetModel("nn1", config, (FoldNet(net, scaling),)).save(tmp_path)
    before = torch.get_rng_state()

    files = {path.name: path for path in tmp_path.iterdir()}
    NetModel.load("nn1", config, net.encoder.backbone.spec, tuple(tiny.train.signals.columns), files, "cpu")

    assert torch.equal(torch.get_rng_state(), before)
