"""A loaded bundle reproduces the stored predictions from raw samples, in any process, and holds plain data only."""

import json
import os
import pickle
import shutil
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from atma18 import backbones, embedding
from atma18.backbones.engine import Engine
from atma18.blending import Blend
from atma18.bundle import servable
from atma18.bundle.bundled_models import Member
from atma18.bundle.servable import Sensors, Servable, predict_all
from atma18.config import EmbedConfig, GbdtConfig, NetConfig, StageConfig
from atma18.data.predictions import Predictions
from atma18.embedding import EmbedModel
from atma18.gbdt import stacking
from atma18.gbdt.inputs import StoredInputs
from atma18.nets import NETS
from atma18.nets.model import FoldNet, NetModel
from atma18.nets.scaling import Scaling
from atma18.serving import rehearsal
from tests.store import PROJECT

FOLDS, BATCH = 3, 6
STAGE = StageConfig(batch_size=8, learning_rate=1e-3, weight_decay=0.0, num_epochs=1)
NET = NetConfig(STAGE, STAGE, size_px=(32, 64), hidden=8, num_layers=1, inference_batch=BATCH)
TREES = GbdtConfig(learning_rate=0.3, rounds=3, max_depth=3, min_child_weight=0.0, reg_alpha=0.0, target="residual")
INPUTS = {
    "embed": {},
    "nn1": {},
    "nn2": {},
    "gbdt": {"embed": "run-embed", "nn1": "run-nn1", "nn2": "run-nn2"},
    "blend": {"nn1": "run-nn1", "nn2": "run-nn2", "gbdt": "run-gbdt"},
}
STACK = ("nn1", "nn2", "embed")
STEPS = pytest.mark.parametrize("step", list(INPUTS))
NOTHING = (StoredInputs({}, {}), StoredInputs({}, {}))


@pytest.fixture(scope="module")
def folds(tiny):
    """Three folds of 4 scenes."""
    return np.unique(tiny.train.scenes, return_inverse=True)[1] % FOLDS


def make_net(step, tiny, folds):
    """Nets that were never trained: every fold's head is drawn anew."""
    models = []
    with torch.random.fork_rng(devices=[]):
        for k in range(FOLDS):
            torch.manual_seed(k)
            net = NETS[step](NET, tiny.train.signals.shape[1])
            scaling = Scaling.fit(NET, tiny.train, tiny.targets_m, np.flatnonzero(folds != k))
            models.append(FoldNet(net, scaling).ready(NET))
    return NetModel(step, NET, tuple(models))


def make_embed(tiny, folds):
    config = EmbedConfig(svd_components=2, inference_batch=BATCH, target="motion", by_speed=True)
    backbone = backbones.build(config.backbone).freeze()
    cells = EmbedModel(config, backbone, ()).cells(0, tiny.train, "cpu")
    fitted = [
        embedding.fit(cells, tiny.train, tiny.targets_m, np.flatnonzero(folds != k), config) for k in range(FOLDS)
    ]
    return EmbedModel(config, backbone, tuple(fitted)), cells


@pytest.fixture(scope="module")
def pipeline(tiny, folds, tmp_path_factory):
    """All five steps done by hand: each one's model, stored predictions and bundle."""
    root = tmp_path_factory.mktemp("bundles")
    models, stored = {}, {}

    def finish(step, model, inputs=NOTHING):
        models[step] = model
        stored[step] = predict_all(model, tiny.train, folds, tiny.test, inputs, "cpu")
        upstreams = {name: root / name for name in INPUTS[step]}
        servable.write(root / step, f"run-{step}", Member(step, model, INPUTS[step]), FOLDS, tiny.train, upstreams)

    def both(names, features=NOTHING):
        chosen = {name: stored[name] for name in names}
        return (
            StoredInputs.of_train(chosen, features[0].embeddings),
            StoredInputs.of_test(chosen, features[1].embeddings),
        )

    embed, train_cells = make_embed(tiny, folds)
    test_cells = embed.cells(0, tiny.test, "cpu")
    features = tuple(
        StoredInputs({}, {"embed": tuple(fold.features(cells) for fold in embed.folds)})
        for cells in (train_cells, test_cells)
    )
    finish("embed", embed, features)
    for step in ("nn1", "nn2"):
        finish(step, make_net(step, tiny, folds))
    inputs, cells = both(STACK, features), embedding.cell_count(embed.backbone)
    gbdt = stacking.fit(TREES, tiny.train, tiny.targets_m, folds, inputs[0], STACK, cells, threads=1).joined()
    finish("gbdt", gbdt, inputs)
    weights = np.array([[0.1, 0.2, 0.7], [0.4, 0.5, 0.1]])
    finish("blend", Blend(("nn1", "nn2", "gbdt"), ((1, 2), (3, None)), weights), both(("nn1", "nn2", "gbdt")))
    return SimpleNamespace(root=root, models=models, stored=stored)


@pytest.fixture(scope="module")
def loaded(pipeline):
    return {step: servable.load(pipeline.root / step, "cpu") for step in INPUTS}


def copy_of(bundle, folder):
    """Copy a bundle without its links, so that it can be changed."""
    shutil.copytree(bundle, folder)
    return folder


def edit(folder, **changed):
    path = folder / "bundle.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))


# Predictions


@STEPS
def test_a_loaded_servable_predicts_what_the_step_stored(tiny, pipeline, loaded, step):
    by_fold_m = loaded[step].predict_by_fold(tiny.test)

    assert by_fold_m.shape == (FOLDS, len(tiny.test), 18)
    np.testing.assert_allclose(by_fold_m, pipeline.stored[step].test_by_fold_m, rtol=0, atol=1e-9)
    assert np.abs(by_fold_m[0] - by_fold_m[1]).max() > 1e-3  # folds differ, so that mixing them up would show


def by_torch(member):
    """The member with torch in the place of onnxruntime."""
    model = member.model
    if isinstance(model, NetModel):
        assert all(fold.engine.session is not None for fold in model.folds)
        return replace(member, model=replace(model, folds=tuple(replace(fold, engine=None) for fold in model.folds)))
    if isinstance(model, EmbedModel):
        assert model.engine.session is not None
        return replace(member, model=replace(model, made=Engine(model.backbone.eval())))
    return member


def test_torch_answers_what_onnxruntime_answers(tiny, loaded):
    """Of samples that no tree was trained on: XGBoost's thresholds are values of training samples, to the last bit."""
    found, samples = loaded["blend"], tiny.test
    other = replace(found, members={run_id: by_torch(member) for run_id, member in found.members.items()})

    off_m = np.abs(other.predict(samples) - found.predict(samples)).max(axis=1)

    assert off_m.max() > 0
    rehearsal.check_answers(off_m)


@STEPS
def test_a_servable_predicts_the_same_for_a_scene_alone(tiny, pipeline, loaded, step):
    for size in (1, 4):
        scene = tiny.test.scenes[tiny.test.scene_sizes == size][0]
        rows = np.flatnonzero(tiny.test.scenes == scene)

        predicted_m = loaded[step].predict(tiny.test.take(rows))

        np.testing.assert_allclose(predicted_m, pipeline.stored[step].test_m[rows], rtol=0, atol=1e-9)


@pytest.mark.parametrize("step", ["embed", "nn1", "nn2"])  # the others read upstreams out of fold; a servable cannot
def test_a_training_row_is_predicted_out_of_fold_by_the_model_of_its_fold(tiny, pipeline, loaded, folds, step):
    rows = np.arange(0, len(tiny.train) // 2)
    rows = rows[tiny.train.scenes[rows] != tiny.train.scenes[rows[-1] + 1]]  # whole scenes
    assert set(folds[rows]) == {0, 1, 2}

    by_fold_m = loaded[step].predict_by_fold(tiny.train.take(rows))

    own_m = by_fold_m[folds[rows], np.arange(len(rows))]
    np.testing.assert_allclose(pipeline.stored[step].oof_m[rows], own_m, rtol=0, atol=1e-9)


def test_a_fresh_process_predicts_the_same(tiny, tiny_folder, tiny_cache, pipeline, tmp_path):
    script = """
import sys
from pathlib import Path
import numpy as np, torch
from atma18.bundle import servable
from atma18.cache import Cache
from atma18.data.dataset import Dataset
torch.set_num_threads(1)
bundle, data, cache, out = map(Path, sys.argv[1:])
samples = Dataset.open(str(data), Cache.open(cache)).test
loaded = servable.load(bundle, "cpu")
one = np.flatnonzero(samples.scenes == samples.scenes[-1])
np.savez(out, all=loaded.predict_by_fold(samples), one=loaded.predict_by_fold(samples.take(one)), rows=one)
assert "torch._dynamo" not in sys.modules, "torch's compiler takes three seconds to import"
"""
    words = [pipeline.root / "blend", tiny_folder, tiny_cache.root, tmp_path / "out.npz"]

    subprocess.run([sys.executable, "-W", "error", "-c", script, *map(str, words)], cwd=PROJECT, check=True)

    found, stored = np.load(tmp_path / "out.npz"), pipeline.stored["blend"]
    np.testing.assert_allclose(found["all"], stored.test_by_fold_m, rtol=0, atol=1e-9)
    np.testing.assert_allclose(found["one"], stored.test_by_fold_m[:, found["rows"]], rtol=0, atol=1e-9)


def test_the_mean_over_folds_is_the_prediction(tiny, loaded):
    part = tiny.test.take(np.arange(3))

    by_fold_m = loaded["nn1"].predict_by_fold(part)

    np.testing.assert_allclose(loaded["nn1"].predict(part), sum(by_fold_m) / FOLDS, rtol=0, atol=1e-12)


def test_every_upstream_predicts_once_per_fold_and_frames_are_embedded_once(tiny, loaded, monkeypatch):
    asked, embedded, cells = [], [], EmbedModel.cells
    members = {member.step: member.model for member in loaded["blend"].members.values()}

    def counted(predict):
        def call(model, fold, *rest):
            asked.append((next(step for step, m in members.items() if m is model), fold))
            return predict(model, fold, *rest)

        return call

    for kind in {type(model) for model in members.values()}:
        monkeypatch.setattr(kind, "predict", counted(kind.predict))
    monkeypatch.setattr(EmbedModel, "cells", lambda *given: embedded.append(1) or cells(*given))
    loaded["blend"].predict(tiny.test.take(np.arange(2)))

    assert sorted(asked) == [(step, k) for step in ("blend", "embed", "gbdt", "nn1", "nn2") for k in range(FOLDS)]
    assert len(embedded) == 1


def test_frames_that_cannot_be_embedded_are_told(tiny, loaded, monkeypatch):
    def refuse(*_):
        raise ValueError("expected embeddings within float16, found up to 7e+04")

    monkeypatch.setattr(EmbedModel, "cells", refuse)

    with pytest.raises(ValueError, match="embeddings within float16"):
        loaded["blend"].predict(tiny.test)


@pytest.mark.parametrize("fold", range(FOLDS))
def test_each_folds_prediction_is_that_of_its_own_models(tiny, pipeline, fold):
    models = pipeline.models
    embed = models["embed"].folds[fold]
    features = embed.features(models["embed"].cells(0, tiny.test, "cpu"))
    nn1_m, nn2_m = (models[name].folds[fold].predict(tiny.test, NET, "cpu") for name in ("nn1", "nn2"))
    own = StoredInputs({}, {"embed": {fold: features}})
    embed_m = models["embed"].predict(fold, tiny.test, own, "cpu")
    stacked_m = {"nn1": nn1_m, "nn2": nn2_m, "embed": embed_m}
    inputs = StoredInputs({name: {fold: said_m} for name, said_m in stacked_m.items()}, {"embed": {fold: features}})
    gbdt_m = models["gbdt"].predict(fold, tiny.test, inputs, "cpu")
    weights = np.where(tiny.test.scene_sizes[:, None] <= 2, [0.1, 0.2, 0.7], [0.4, 0.5, 0.1])
    blend_m = weights[:, [0]] * nn1_m + weights[:, [1]] * nn2_m + weights[:, [2]] * gbdt_m

    expected_m = {"embed": embed_m, "nn1": nn1_m, "nn2": nn2_m, "gbdt": gbdt_m, "blend": blend_m}

    for step in INPUTS:
        found_m = pipeline.stored[step].test_by_fold_m[fold]
        np.testing.assert_allclose(found_m, expected_m[step], rtol=0, atol=1e-9, err_msg=step)


@pytest.fixture
def numbered(tiny, folds):
    """Two upstreams whose model of fold k predicts 10 k and 10 k + 4 everywhere, and a quarter of the way between."""

    def of(samples):
        per_fold = 10.0 * np.arange(FOLDS)[:, None, None] * np.ones((FOLDS, len(samples), 18))
        return StoredInputs({"a": per_fold, "b": per_fold + 4}, {})

    blend = Blend(("b", "a"), ((1, None),), np.array([[0.25, 0.75]]))
    return predict_all(blend, tiny.train, folds, tiny.test, (of(tiny.train), of(tiny.test)), "cpu")


def test_a_row_of_fold_k_is_predicted_by_model_k_and_test_rows_by_all(tiny, folds, numbered):
    assert isinstance(numbered, Predictions)
    np.testing.assert_array_equal(numbered.oof_m, np.tile(10.0 * folds[:, None] + 1, 18))
    np.testing.assert_array_equal(numbered.test_by_fold_m[:, 0, 0], [1, 11, 21])
    np.testing.assert_array_equal(numbered.test_m, np.full((len(tiny.test), 18), 11.0))


def test_predictions_carry_the_ids_and_folds_of_their_samples(tiny, folds, numbered):
    np.testing.assert_array_equal(numbered.train_ids, tiny.train.ids)
    np.testing.assert_array_equal(numbered.test_ids, tiny.test.ids)
    np.testing.assert_array_equal(numbered.folds, folds)


# Sensors


@pytest.mark.parametrize(
    ("remove", "name"),
    [
        pytest.param({"gear": None}, "gearShifter", id="gear"),
        pytest.param({"traffic_lights": None}, "traffic_lights", id="lights"),
        pytest.param({"signals": ["aEgo"]}, "aEgo", id="a signal"),
        pytest.param({"signals": ["gas", "vEgo"], "gear": None}, "vEgo, gas, gearShifter", id="several"),
    ],
)
def test_a_missing_sensor_is_named(tiny, loaded, remove, name):
    remove = {
        **remove,
        **({"signals": tiny.test.signals.drop(columns=remove["signals"])} if "signals" in remove else {}),
    }

    with pytest.raises(ValueError, match=rf"trained with, missing: {name}: give them, or make a model"):
        loaded["nn1"].predict(replace(tiny.test, **remove))


def test_a_sensor_that_the_training_drives_lacked_is_ignored(tiny, pipeline, loaded):
    known = loaded["nn1"]
    more = replace(tiny.test, signals=tiny.test.signals.assign(lidar=1.0)[["lidar", *tiny.test.signals]])
    without = replace(known, sensors=replace(known.sensors, gear=False, lights=False))

    np.testing.assert_array_equal(without.predict(more), known.predict(tiny.test))
    assert without.predict(replace(tiny.test, gear=None, traffic_lights=None)).shape == (len(tiny.test), 18)


def test_sensors_are_those_that_the_samples_bring(tiny):
    assert Sensors.of(tiny.train) == Sensors(tuple(tiny.train.signals.columns), gear=True, lights=True)
    bare = replace(tiny.train, signals=tiny.train.signals[["vEgo"]], gear=None, traffic_lights=None)
    assert Sensors.of(bare) == Sensors(("vEgo",), gear=False, lights=False)


def test_samples_outside_what_was_trained_are_named(tiny, loaded):
    signals = tiny.train.signals
    assert loaded["blend"].ranges["vEgo"] == (signals["vEgo"].min(), signals["vEgo"].max())
    assert set(loaded["blend"].ranges) == {"vEgo", "aEgo", "steeringAngleDeg", "steeringTorque", "brake", "gas"}
    assert set(loaded["blend"].outside(tiny.train)) == {""}

    strange = tiny.test.signals.assign(vEgo=10.0, aEgo=0.0, steeringAngleDeg=0.0, steeringTorque=0.0, gas=0.0)
    strange.loc[1, ["vEgo", "gas"]] = [signals["vEgo"].max() + 0.1, signals["gas"].max() + 0.1]
    strange.loc[2, "aEgo"] = signals["aEgo"].min() - 0.1
    found = loaded["blend"].outside(replace(tiny.test, signals=strange))

    assert found[:4].tolist() == ["", "vEgo, gas", "aEgo", ""]


def test_what_is_loaded_says_what_was_written(tiny, loaded):
    blend = loaded["blend"]

    assert (blend.root, blend.folds, blend.device) == ("run-blend", FOLDS, "cpu")
    assert blend.sensors == Sensors.of(tiny.train)
    assert {run_id: (m.step, m.inputs) for run_id, m in blend.members.items()} == {
        f"run-{step}": (step, inputs) for step, inputs in INPUTS.items()
    }
    assert blend.members["run-gbdt"].model.config == TREES
    assert blend.members["run-nn2"].model.config == NET


@pytest.mark.parametrize("causal", [(True, True), (True, False), (False, True)], ids=str)
def test_a_servable_is_causal_if_all_of_its_members_are(tiny, causal):
    members = {str(i): Member("gbdt", SimpleNamespace(causal=value), {}) for i, value in enumerate(causal)}

    assert Servable("0", members, FOLDS, tiny.train, "cpu").causal == all(causal)


def test_only_an_embedding_can_be_read_as_one(tiny, loaded):
    gbdt = loaded["gbdt"]
    root = replace(gbdt.members["run-gbdt"], inputs=INPUTS["gbdt"] | {"embed": "run-nn1"})

    with pytest.raises(TypeError, match="expected run run-nn1 to be an embedding, found NetModel"):
        replace(gbdt, members=gbdt.members | {"run-gbdt": root}).predict(tiny.test)


# Files


def files_of(bundle):
    return {path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file()}


def test_each_upstream_is_stored_once_and_linked(pipeline):
    members = json.loads((pipeline.root / "blend" / "bundle.json").read_text())["members"]
    named = {f"objects/{name}" for member in members.values() for name in member["files"].values()}

    assert set(members) == {f"run-{step}" for step in INPUTS}
    assert files_of(pipeline.root / "blend") == named | {"bundle.json"}
    for name in named:
        made = [
            pipeline.root / step / name for step in ("embed", "nn1", "nn2") if (pipeline.root / step / name).exists()
        ]
        made += [pipeline.root / "gbdt" / name]
        assert any((pipeline.root / "blend" / name).samefile(upstream) for upstream in made)
    assert len(members["run-embed"]["files"]) == 2 + FOLDS
    assert len(members["run-nn1"]["files"]) == len(members["run-nn2"]["files"]) == 1 + FOLDS
    assert len(members["run-gbdt"]["files"]) == FOLDS
    assert members["run-blend"]["files"] == {}


def test_equal_files_are_one_file(tiny, pipeline, tmp_path):
    nn1 = pipeline.models["nn1"]
    twins = replace(nn1, folds=nn1.folds[:1] * 3)

    servable.write(tmp_path / "twins", "run-x", Member("nn1", twins, {}), FOLDS, tiny.train, {})

    assert len(files_of(tmp_path / "twins")) == 3  # the net, its graph and bundle.json
    predicted_m = servable.load(tmp_path / "twins", "cpu").predict_by_fold(tiny.test)
    np.testing.assert_array_equal(predicted_m[2], predicted_m[0])


def test_a_bundle_holds_no_pickle(pipeline, monkeypatch):
    for path in pipeline.root.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert path.suffix in {".safetensors", ".onnx", ".ubj", ".json"}
            assert not content.startswith((b"\x80", b"PK"))  # a pickle, and the archive around one
            if path.suffix == ".safetensors":
                assert json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])

    def refuse(*_, **__):
        raise AssertionError("unpickled")

    for owner, name in ((pickle, "load"), (pickle, "loads"), (pickle, "Unpickler"), (torch, "load")):
        monkeypatch.setattr(owner, name, refuse)
    assert servable.load(pipeline.root / "blend", "cpu").root == "run-blend"


@pytest.mark.parametrize("suffix", [".safetensors", ".ubj"])
def test_a_changed_byte_is_refused_by_name(pipeline, tmp_path, suffix):
    bundle = copy_of(pipeline.root / "gbdt", tmp_path / "bundle")
    victim = sorted((bundle / "objects").glob(f"*{suffix}"))[0]
    content = bytearray(victim.read_bytes())
    content[-9] ^= 1
    victim.write_bytes(content)

    with pytest.raises(ValueError, match=rf"{victim.name}: expected a file with this SHA-256, found another"):
        servable.load(bundle, "cpu")


def test_a_missing_object_is_refused_by_name(pipeline, tmp_path):
    bundle = copy_of(pipeline.root / "nn1", tmp_path / "bundle")
    victim = next((bundle / "objects").iterdir())
    victim.unlink()

    with pytest.raises(ValueError, match=rf"{victim.name}: expected a file with this SHA-256, found none"):
        servable.load(bundle, "cpu")


def test_another_format_is_refused(pipeline, tmp_path):
    bundle = copy_of(pipeline.root / "nn1", tmp_path / "bundle")
    edit(bundle, format=2)

    with pytest.raises(ValueError, match="expected a bundle of format 1, found 2"):
        servable.load(bundle, "cpu")


def test_a_bundle_from_before_backbones_were_described_is_read(tiny, pipeline, loaded, tmp_path):
    bundle = copy_of(pipeline.root / "blend", tmp_path / "old")
    members = json.loads((bundle / "bundle.json").read_text())["members"]
    for member in members.values():
        member["model"].pop("backbone", None)
    edit(bundle, members=members)

    found = servable.load(bundle, "cpu")

    np.testing.assert_array_equal(found.predict(tiny.test), loaded["blend"].predict(tiny.test))


def test_a_step_of_another_version_is_refused(pipeline, tmp_path):
    bundle = copy_of(pipeline.root / "nn1", tmp_path / "bundle")
    members = json.loads((bundle / "bundle.json").read_text())["members"]
    edit(bundle, members={"run-nn1": members["run-nn1"] | {"step": "nn3"}})

    with pytest.raises(ValueError, match="expected a step that this version knows, found 'nn3'"):
        servable.load(bundle, "cpu")


def test_a_bundle_is_never_written_over_another(tiny, pipeline):
    member = Member("nn1", pipeline.models["nn1"], {})

    with pytest.raises(FileExistsError):
        servable.write(pipeline.root / "nn1", "run-nn1", member, FOLDS, tiny.train, {})


# Links


@pytest.mark.parametrize("links", [True, False], ids=["linked", "copied"])
@pytest.mark.parametrize("there", [None, "old"], ids=["new", "replaced"])
def test_the_target_becomes_the_source_and_nothing_is_left_beside_it(tmp_path, monkeypatch, links, there):
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_text("content")
    if there is not None:
        target.write_text(there)
    if not links:
        monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError("no links here")))

    servable.link_or_copy(source, target)

    assert target.read_text() == source.read_text() == "content"
    assert target.samefile(source) == links
    assert files_of(tmp_path) == {"source", "target"}


@pytest.mark.parametrize("same", ["name", "file"])
def test_a_file_linked_onto_itself_keeps_its_names(tmp_path, same):
    source = tmp_path / "source"
    source.write_text("content")
    target = source if same == "name" else tmp_path / "target"
    if same == "file":
        os.link(source, target)

    servable.link_or_copy(source, target)

    assert files_of(tmp_path) == {source.name, target.name}
    assert target.read_text() == "content"


@pytest.mark.parametrize("left_over_links_to", ["source", "other"])
def test_what_a_killed_call_left_over_is_neither_in_the_way_nor_written_through(tmp_path, left_over_links_to):
    source, other, target = tmp_path / "source", tmp_path / "other", tmp_path / "target"
    source.write_text("content")
    other.write_text("precious")
    os.link(tmp_path / left_over_links_to, tmp_path / ".target.new")

    servable.link_or_copy(source, target)

    assert (target.read_text(), other.read_text()) == ("content", "precious")
