"""Hostile bundles, which would crash their reader or give other answers, are refused with one line."""

import hashlib
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import warnings
from pathlib import Path

import mlflow
import numpy as np
import onnx
import pytest
from catboost import CatBoost
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save

from atma18 import backbones, embedding
from atma18.backbones import graph
from atma18.blending import Blend
from atma18.bundle import Bundle, bundled_models, servable
from atma18.bundle.bundled_models import Member
from atma18.bundle.servable import Sensors, predict_all
from atma18.config import EmbedConfig, GbdtConfig, NetConfig, StageConfig
from atma18.embedding import EmbedModel
from atma18.gbdt import boosting, engines, stacking, ubjson
from atma18.gbdt.inputs import StoredInputs
from atma18.nets import NETS
from atma18.nets.model import FoldNet, NetModel
from atma18.nets.scaling import Scaling
from atma18.serving import request_rows
from atma18.tracking import packaging
from tests.fuzzing import FACTOR, damaged, hostile_texts, often, refusal
from tests.store import PROJECT, store_uri
from tests.watching import outside, watched

pytestmark = pytest.mark.usefixtures("small_backbone")

FOLDS = 2
STAGE = StageConfig(batch_size=8, learning_rate=1e-3, weight_decay=0.0, num_epochs=1)
NET = NetConfig(STAGE, STAGE, backbone="small", size_px=(32, 64), hidden=8, num_layers=1, inference_batch=8)
TREES = GbdtConfig(learning_rate=0.3, rounds=2, max_depth=2, min_child_weight=0.0, reg_alpha=0.0, target="motion")
INPUTS = {"embed": {}, "nn1": {}, "gbdt": {"embed": "run-embed", "nn1": "run-nn1"}}
INPUTS |= {"blend": {"nn1": "run-nn1", "gbdt": "run-gbdt"}}


@pytest.fixture(scope="module")
def bundles(tiny, small_backbone, tmp_path_factory):
    """The folder of a bundle of each step, small enough to be read often."""
    root, train = tmp_path_factory.mktemp("bundles"), tiny.train
    folds = np.unique(train.scenes, return_inverse=True)[1] % FOLDS
    rows = [np.flatnonzero(folds != k) for k in range(FOLDS)]
    config = EmbedConfig(backbone="small", svd_components=2, inference_batch=8, target="motion", random_features=3)
    backbone = backbones.build("small").freeze()
    cells = EmbedModel(config, backbone, ()).cells(0, train, "cpu")
    probes = tuple(embedding.fit(cells, train, tiny.targets_m, chosen, config) for chosen in rows)
    nets = tuple(
        FoldNet(NETS["nn1"](NET, train.signals.shape[1]), Scaling.fit(NET, train, tiny.targets_m, chosen)).ready(NET)
        for chosen in rows
    )
    models = {"embed": EmbedModel(config, backbone, probes), "nn1": NetModel("nn1", NET, nets)}
    nothing = StoredInputs({}, {})
    stored = predict_all(models["nn1"], train, folds, tiny.test, (nothing, nothing), "cpu")
    embedded = {"embed": tuple(probe.features(cells) for probe in probes)}
    inputs = StoredInputs.of_train({"nn1": stored}, embedded)
    count = embedding.cell_count(backbone)
    models["gbdt"] = stacking.fit(TREES, train, tiny.targets_m, folds, inputs, ("nn1",), count, threads=1).joined()
    models["blend"] = Blend(("nn1", "gbdt"), ((1, None),), np.array([[0.25, 0.75]]))
    for step, model in models.items():
        member = Member(step, model, INPUTS[step])
        upstreams = {name: root / name for name in INPUTS[step]}
        servable.write(root / step, f"run-{step}", member, FOLDS, train, upstreams)
    return root


@pytest.fixture
def bundle(bundles, tmp_path):
    """A whole blend that a test may break."""
    shutil.copytree(bundles / "blend", tmp_path / "bundle")
    return tmp_path / "bundle"


def plain_of(bundle):
    return json.loads((bundle / "bundle.json").read_text())


def rewrite(bundle, change):
    """Change what bundle.json says; a change may return another value altogether."""
    plain = plain_of(bundle)
    changed = change(plain)
    (bundle / "bundle.json").write_text(json.dumps(plain if changed is None else changed))


def put(bundle, run_id, name, content):
    """Replace a member's file and let everything agree, as somebody would who knows how."""
    plain = plain_of(bundle)
    files = plain["members"][run_id]["files"]
    old = files[name]
    files[name] = f"{hashlib.sha256(content).hexdigest()}.{old.partition('.')[2]}"
    (bundle / "objects" / files[name]).write_bytes(content)
    (bundle / "bundle.json").write_text(json.dumps(plain))
    if all(old not in member["files"].values() for member in plain["members"].values()):
        (bundle / "objects" / old).unlink()


def object_of(bundle, run_id, name):
    return bundle / "objects" / plain_of(bundle)["members"][run_id]["files"][name]


def said_by(bundle):
    """Load a bundle that must be refused; nothing but its folder may be touched."""
    with watched() as seen:
        said = refusal(servable.load, bundle, "cpu")
    assert outside([touched for touched in seen if touched[1]]) == []
    assert outside(seen, bundle) == []
    assert said is not None
    return said


def test_the_whole_bundle_is_read_and_answers(bundle, tiny):
    assert np.isfinite(servable.load(bundle, "cpu").predict(tiny.test)).all()
    assert bundled_models.backbone_kinds(bundle) == {"small"}


# --- bundle.json


def member(plain, step):
    return plain["members"][f"run-{step}"]


def put_in(*keys, value):
    def change(plain):
        place = plain
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value

    return change


def fewer_signals(plain):
    plain["sensors"]["signals"] = ["vEgo"]
    plain["ranges"] = {}


def of(step, *keys, value):
    return put_in("members", f"run-{step}", *keys, value=value)


def setting(step, name, value):
    return of(step, "model", "config", name, value=value)


def own_input(plain):
    member(plain, "nn1")["inputs"] = {"self": "run-nn1"}


def circle(plain):
    member(plain, "nn1")["inputs"] = {"x": "run-gbdt"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param(lambda plain: [], "expected an object with format, found []", id="no object"),
        pytest.param(lambda plain: "x" * 9999, "expected an object with format", id="long text"),
        pytest.param(lambda plain: {}, "expected format, found no format", id="empty"),
        pytest.param(put_in("format", value="1"), "expected format of type int, found '1'", id="format as text"),
        pytest.param(put_in("format", value=2), "expected a bundle of format 1, found 2", id="another format"),
        pytest.param(put_in("folds", value=0), "expected 1 to 1000 folds, found 0", id="no fold"),
        pytest.param(put_in("folds", value=10**6), "expected 1 to 1000 folds, found 1000000", id="a million folds"),
        pytest.param(put_in("folds", value=True), "expected folds of type int, found True", id="folds as a truth"),
        pytest.param(put_in("folds", value=3), "expected models of 3 folds, found 2", id="one fold too many"),
        pytest.param(put_in("folds", value=1), "expected models of 1 folds, found 2", id="one fold too few"),
        pytest.param(put_in("root", value="run-x"), "none called 'run-x'", id="root that is no member"),
        pytest.param(put_in("root", value=None), "expected root of type str, found None", id="no root"),
        pytest.param(put_in("members", value=[]), "expected members of type dict", id="members as a list"),
        pytest.param(put_in("members", value={}), "none called 'run-blend'", id="no member"),
        pytest.param(put_in("members", "run-nn1", value=7), "expected an object with step", id="member as a number"),
        pytest.param(put_in("sensors", value={}), "expected signals, gear, lights, found no", id="no sensors"),
        pytest.param(put_in("sensors", "signals", value=[1]), "that cars have, each once, found 1", id="signal of 1"),
        pytest.param(put_in("sensors", "gear", value="no"), "gear of type bool, found 'no'", id="gear as text"),
        pytest.param(put_in("sensors", "signals", value=["vEgo"] * 2), "found 'vEgo', 'vEgo'", id="signal twice"),
        pytest.param(put_in("sensors", "signals", value=["\n"]), r"found '\n'", id="signal that breaks a line"),
        pytest.param(fewer_signals, "member 'run-nn1', found something", id="signals"),
        pytest.param(put_in("sensors", "signals", value=["vEgo"]), "of a signal, found 'aEgo'", id="range of none"),
        pytest.param(put_in("ranges", value=[]), "ranges of type dict, found []", id="ranges as a list"),
        pytest.param(put_in("ranges", "vEgo", value=[1.0]), "found 'vEgo': [1.0]", id="half a range"),
        pytest.param(put_in("ranges", "vEgo", value=[2.0, 1.0]), "found 'vEgo': [2.0, 1.0]", id="range upside down"),
        pytest.param(put_in("ranges", "vEgo", value=[0.0, "9"]), "found 'vEgo': [0.0, '9']", id="range of text"),
        pytest.param(put_in("ranges", "vEgo", value=[0.0, 1e99]), "found 'vEgo': [0.0, 1e+99]", id="endless range"),
        pytest.param(put_in("ranges", "\n", value=[0.0, 1.0]), r"found '\n'", id="range of a broken line"),
        pytest.param(own_input, "that read earlier ones, found a circle", id="its own input"),
        pytest.param(circle, "found a circle", id="circle"),
        pytest.param(of("gbdt", "inputs", "nn1", value="run-q"), "called 'run-q'", id="lost input"),
        pytest.param(of("gbdt", "inputs", value={}), "none called embed, nn1", id="no inputs"),
        pytest.param(of("blend", "inputs", value={}), "none called gbdt, nn1", id="blend of nothing"),
        pytest.param(of("gbdt", "inputs", "embed", value="run-nn1"), "to be an embedding", id="embed"),
        pytest.param(of("gbdt", "inputs", "embed", value=5), "names of runs", id="input of 5"),
        pytest.param(of("nn1", "step", value="nn3"), "that this version knows", id="unknown step"),
        pytest.param(of("nn1", "step", value="nn2"), "expected the weights of this", id="other step"),
        pytest.param(of("nn1", "step", value="gbdt"), "member 'run-nn1'", id="nets as trees"),
        pytest.param(of("nn1", "model", value={}), "member 'run-nn1', found", id="no config"),
        pytest.param(setting("nn1", "x", 1), "'x'", id="unknown setting"),
        pytest.param(setting("nn1", "target", "far"), "target", id="target"),
        pytest.param(setting("nn1", "hidden", "8"), "hidden", id="hidden as text"),
        pytest.param(setting("nn1", "hidden", 10**9), "weights of", id="wide"),
        pytest.param(setting("nn1", "hidden", 10**30), "'run-nn1'", id="wider"),
        pytest.param(setting("nn1", "num_layers", 10**12), "num_layers", id="deep"),
        pytest.param(setting("nn1", "inference_batch", 10**9), "batch", id="batch"),
        pytest.param(setting("nn1", "size_px", [10**6] * 2), "size", id="size"),
        pytest.param(setting("nn1", "size_px", ["\n"]), "size_px", id="newline"),
        pytest.param(setting("nn1", "fold_repeats", 2), "found 1", id="repeats"),
        pytest.param(setting("gbdt", "bags", 10**9), "bags", id="bags"),
        pytest.param(of("gbdt", "model", "stack", value=None), "'run-gbdt'", id="no stack"),
        pytest.param(of("embed", "model", "backbone", "kind", value=["x"]), "kind", id="kind"),
        pytest.param(of("embed", "model", "backbone", "channels", value=9), "cells", id="channels"),
        pytest.param(of("blend", "model", "weights", value=[[2, -1]]), "at least 0", id="weights"),
        pytest.param(of("blend", "model", "weights", value="x"), "'run-blend'", id="no weights"),
        pytest.param(of("blend", "model", "groups", value=[[1, 2]]), "'run-blend'", id="groups"),
    ],
)  # fmt: skip
def test_a_bundle_that_says_what_cannot_be_is_refused(bundle, change, said):
    rewrite(bundle, change)

    assert said in said_by(bundle)


@pytest.mark.parametrize(
    "name",
    [
        *("/etc/passwd", "../bundle.json", "..", ".", "", "a/b.ubj", "\0", "A" * 64 + ".ubj", "a" * 64 + ".pkl"),
        *("a" * 10**7, "a" * 64 + ".ubj\n", "a" * 64, "a" * 64 + ".ubj/../../bundle.json"),
    ],
)
def test_a_file_that_is_not_called_by_its_digest_is_never_looked_for(bundle, name):
    rewrite(bundle, of("nn1", "files", "fold0.safetensors", value=name))

    assert "member 'run-nn1': expected files called <sha256>.<suffix>, found '" in said_by(bundle)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(b"", "bundle.json: ", id="empty"),
        pytest.param(b"\xff\xfe", "bundle.json: ", id="no UTF-8"),
        pytest.param(b"[" * 10**6, "at most 20 levels, found more", id="deep"),
        pytest.param(b'{"format": 1, "format": 1}', "a key of an object is repeated", id="twice"),
        pytest.param(b" " * (2**24 + 1), "expected at most 16,777,216 bytes", id="large"),
    ],
)
def test_a_bundle_that_is_no_json_is_refused(bundle, content, said):
    (bundle / "bundle.json").write_bytes(content)

    assert said in said_by(bundle)
    assert said in refusal(bundled_models.backbone_kinds, bundle)


def test_a_folder_that_is_no_bundle_is_refused(tmp_path):
    assert f"{tmp_path}: expected a bundle, found no bundle.json" in refusal(servable.load, tmp_path, "cpu")


def leaves(value, path=()):
    """The place of every value inside a JSON value."""
    yield path
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in inside:
        yield from leaves(inner, (*path, key))


strange = st.sampled_from([None, True, 0, -1, 1e999, float("nan"), 10**400, "", [], {}, [[]], {"": ""}]) | hostile_texts


@often(150)
@given(st.integers(0, 10**6), strange)
def test_whatever_one_value_says_a_bundle_answers_or_is_refused(bundles, tiny, tmp_path_factory, which, value):
    folder = tmp_path_factory.mktemp("changed")
    shutil.copytree(bundles / "gbdt", folder / "bundle", copy_function=os.link)
    plain = plain_of(bundles / "gbdt")
    places = [place for place in leaves(plain) if place]
    put_in(*places[which % len(places)], value=value)(plain)
    (folder / "bundle" / "bundle.json").unlink()
    (folder / "bundle" / "bundle.json").write_text(json.dumps(plain))

    refusal(lambda: servable.load(folder / "bundle", "cpu").predict(tiny.test))


@often(150)
@given(st.data())
def test_whatever_is_in_the_place_of_bundle_json_it_is_read_or_refused(bundles, tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("changed")
    shutil.copytree(bundles / "nn1", folder / "bundle", copy_function=os.link)
    whole = (bundles / "nn1" / "bundle.json").read_bytes()
    (folder / "bundle" / "bundle.json").unlink()
    (folder / "bundle" / "bundle.json").write_bytes(data.draw(damaged(whole)))

    refusal(Bundle.read, folder / "bundle")
    refusal(bundled_models.backbone_kinds, folder / "bundle")


# --- Files


@pytest.mark.parametrize("name", ["more.txt", "objects/more", "objects/" + "0" * 64 + ".ubj", "objects/.hidden", "\n"])
def test_a_file_that_nobody_names_is_refused(bundle, name):
    (bundle / name).write_text("more")

    assert "expected what bundle.json names, found " in said_by(bundle)


@pytest.mark.parametrize("place", ["bundle.json", "objects", "object"])
def test_a_link_that_leaves_the_bundle_is_refused(bundle, tmp_path, place):
    path = object_of(bundle, "run-nn1", "fold0.safetensors") if place == "object" else bundle / place
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")

    with watched() as seen:
        said = refusal(servable.load, bundle, "cpu")

    assert f"found a link to {tmp_path / 'elsewhere'}" in said
    assert outside(seen, bundle) == []


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_an_object_that_is_no_file_is_refused(bundle, make):
    path = object_of(bundle, "run-nn1", "fold0.safetensors")
    path.unlink()
    make(path)

    assert f"{path}: expected a plain file" in said_by(bundle)


def test_a_bundle_without_objects_is_refused(bundle):
    shutil.rmtree(bundle / "objects")

    assert "expected the files of a bundle, found no folder" in said_by(bundle)


def test_an_upstream_that_was_damaged_is_not_written_on(bundles, bundle, tiny, tmp_path):
    rewrite(bundle, of("nn1", "files", "fold0.safetensors", value="../../../etc/passwd"))
    model = Blend(("a",), ((1, None),), np.array([[1.0]]))

    said = refusal(
        servable.write,
        tmp_path / "new",
        "run-new",
        Member("blend", model, {"a": "run-blend"}),
        FOLDS,
        Sensors.of(tiny.train),
        {"a": bundle},
    )

    assert "expected files called <sha256>.<suffix>" in said


# --- Weights


def forged_tensors(bundle, run_id, name, change):
    tensors = {key: value.copy() for key, value in load_file(object_of(bundle, run_id, name)).items()}
    change(tensors)
    put(bundle, run_id, name, save(tensors))


def fill(key, value):
    def change(tensors):
        tensors[key].flat[0] = value

    return change


def reshape(key, *shape):
    def change(tensors):
        tensors[key] = np.ones(shape, tensors[key].dtype)

    return change


def drop(key):
    return lambda tensors: tensors.pop(key)


def add(key):
    return lambda tensors: tensors.update({key: np.zeros(3, np.float32)})


WEIGHT, NET_FILE = "net.head.0.weight", "fold0.safetensors"


@pytest.mark.parametrize(
    ("run_id", "name", "change", "said"),
    [
        pytest.param("run-nn1", NET_FILE, fill(WEIGHT, np.nan), f"finite numbers, found others in {WEIGHT}", id="NaN"),
        pytest.param("run-nn1", NET_FILE, fill(WEIGHT, -np.inf), "finite numbers", id="infinity"),
        pytest.param("run-nn1", NET_FILE, fill("signal_scale", np.nan), "finite numbers", id="NaN of a scale"),
        pytest.param("run-nn1", NET_FILE, reshape(WEIGHT, 8, 1), "found head.0.weight (8, 1)", id="another shape"),
        pytest.param("run-nn1", NET_FILE, drop(WEIGHT), "found head.0.weight missing", id="one missing"),
        pytest.param("run-nn1", NET_FILE, add("net.more"), "found more (3,)", id="one too many"),
        pytest.param("run-nn1", NET_FILE, add("more"), "more", id="scale too many"),
        pytest.param("run-nn1", NET_FILE, reshape("target_mean_m", 1), "expected scales of shape", id="one target"),
        pytest.param("run-nn1", NET_FILE, reshape("signal_scale", 1), "expected scales of shape", id="one scale"),
        pytest.param("run-embed", "backbone.safetensors", add("more"), "found more (3,)", id="backbone"),
        pytest.param("run-embed", NET_FILE, fill("components", np.nan), "finite numbers", id="basis"),
        pytest.param("run-embed", NET_FILE, reshape("components", 9, 9, 9), "expected a probe of", id="cells"),
        pytest.param("run-embed", NET_FILE, reshape("components", 8), "expected a probe of", id="flat basis"),
        pytest.param("run-embed", NET_FILE, reshape("intercept", 1), "expected a probe of", id="intercept"),
        pytest.param("run-embed", NET_FILE, reshape("phases", 1), "expected a probe of", id="random features"),
        pytest.param("run-embed", NET_FILE, reshape("motion", 2), "numbers of a motion model", id="motion"),
        pytest.param("run-embed", NET_FILE, drop("mean"), "mean", id="no mean"),
    ],
)
def test_weights_that_do_not_fit_are_refused_even_if_their_digest_agrees(bundle, run_id, name, change, said):
    forged_tensors(bundle, run_id, name, change)

    assert said in said_by(bundle)


def forged_graph(bundle, run_id, change):
    proto = onnx.load_model_from_string(object_of(bundle, run_id, graph.FILE).read_bytes())
    change(proto)
    put(bundle, run_id, graph.FILE, proto.SerializeToString())


@pytest.mark.parametrize("run_id", ["run-nn1", "run-embed"])
@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param(lambda proto: setattr(proto.graph.node[0], "domain", "mine"), "plain operators", id="operator"),
        pytest.param(lambda proto: proto.functions.add(name="mine"), "plain operators, found mine", id="function"),
        pytest.param(lambda proto: proto.graph.input.pop(0), "found one of no frames", id="no frames"),
        pytest.param(lambda proto: setattr(proto.graph.input[1], "name", "more"), "found one of more", id="weight"),
        pytest.param(lambda proto: setattr(proto.graph.initializer[0], "data_location", 1), "operators", id="file"),
    ],
)
def test_a_graph_of_something_else_is_refused_even_if_its_digest_agrees(bundle, run_id, change, said):
    forged_graph(bundle, run_id, change)

    assert said in said_by(bundle)


def test_a_graph_that_computes_something_else_never_answers(bundle, tiny, caplog):
    expected_m = servable.load(bundle, "cpu").predict(tiny.test)

    def negate(proto):  # the last operator's result
        last = proto.graph.node[-1].output[0]
        proto.graph.node.append(onnx.helper.make_node("Neg", [last], ["negated"]))
        proto.graph.output[0].name = "negated"

    for run_id in ("run-nn1", "run-embed"):
        forged_graph(bundle, run_id, negate)
    forged = servable.load(bundle, "cpu")

    assert "small: torch computes its maps, for onnxruntime cannot" in caplog.text
    np.testing.assert_allclose(forged.predict(tiny.test), expected_m, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"\0" * 8, b"\xff" * 16, (10**9).to_bytes(8, "little") + b"{}", (2).to_bytes(8, "little") + b"{}"),
        *((9).to_bytes(8, "little") + b'{"a": []}', b"\x80\x04\x95" + bytes(99), b"PK\3\4" + bytes(99)),
        (66).to_bytes(8, "little") + b'{"a":{"dtype":"F32","shape":[4294967295],"data_offsets":[0,1600]}}',
    ],
)
def test_a_file_that_holds_no_weights_is_refused_even_if_its_digest_agrees(bundle, content):
    for run_id, name in (("run-nn1", "fold0.safetensors"), ("run-embed", "backbone.safetensors")):
        put(bundle, run_id, name, content)
        assert f"member '{run_id}'" in said_by(bundle) or run_id == "run-embed"


@often(150)
@given(st.data())
def test_whatever_is_in_a_file_of_weights_a_bundle_answers_or_is_refused(bundles, tiny, tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("changed")
    shutil.copytree(bundles / "nn1", folder / "bundle")
    whole = object_of(folder / "bundle", "run-nn1", "fold0.safetensors").read_bytes()
    length = 8 + int.from_bytes(whole[:8], "little")
    head = data.draw(damaged(whole[:length]) | st.just(whole[:length]))
    put(folder / "bundle", "run-nn1", "fold0.safetensors", head + data.draw(damaged(whole[length:])))

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        refusal(lambda: servable.load(folder / "bundle", "cpu").predict(tiny.test))


@pytest.mark.parametrize("value", ['{"delay_s": NaN}', '{"gain": 1e999}', '{"x": 1}', "[]", "{", '{"gain": "1"}', ""])
def test_a_motion_model_that_is_none_is_refused(bundle, value):
    put(bundle, "run-gbdt", "fold0_motion.json", value.encode())

    assert "member 'run-gbdt'" in said_by(bundle)


def test_a_prediction_that_is_not_finite_is_an_error_and_no_answer(bundle, tiny):
    forged_tensors(bundle, "run-nn1", NET_FILE, fill("target_mean_m", 1e308))
    forged_tensors(bundle, "run-nn1", NET_FILE, lambda t: t["target_scale_m"].fill(1e308))
    forged_tensors(bundle, "run-nn1", NET_FILE, lambda t: t["net.head.2.weight"].fill(1e30))
    with np.errstate(all="ignore"):
        assert "expected" in refusal(servable.load(bundle, "cpu").predict, tiny.test)


# --- The digest of bundle.json


def swap_folds(plain):
    files = member(plain, "nn1")["files"]
    files["fold0.safetensors"], files["fold1.safetensors"] = files["fold1.safetensors"], files["fold0.safetensors"]


def test_swapped_files_are_refused_where_the_digest_of_bundle_json_is_known(bundle):
    logged = Bundle.read(bundle).sha256
    servable.load(bundle, "cpu", logged)
    rewrite(bundle, swap_folds)

    servable.load(bundle, "cpu")  # by itself it is a bundle
    said = refusal(servable.load, bundle, "cpu", logged)

    assert f"expected the file that the model was logged with, of SHA-256 {logged}" in said


@pytest.fixture
def logged(bundles, tmp_path, monkeypatch):
    """A served model and the folder of its bundle, in a store of its own."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store_uri(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])  # MLflow puts the model's code into it
    mlflow.set_experiment("served")
    with mlflow.start_run():
        run_id = mlflow.active_run().info.run_id
        sensors = servable.load(bundles / "nn1", "cpu").sensors
        model_id = packaging.log_model(bundles / "nn1", tmp_path / "no rehearsal", sensors, run_id)
    folder = Path(mlflow.get_logged_model(model_id).artifact_location.removeprefix("file://"))
    return folder, folder / "artifacts" / "nn1"


def test_a_model_is_served_with_the_bundle_that_it_was_logged_with_alone(logged, tiny):
    folder, bundle = logged
    request = request_rows.raw_rows(tiny.test.take(np.arange(2)), tiny.folder)
    assert len(mlflow.pyfunc.load_model(str(folder)).predict(request)) == 2
    rewrite(bundle, swap_folds)

    assert "expected the file that the model was logged with" in refusal(mlflow.pyfunc.load_model, str(folder))


def test_a_model_from_before_the_digest_was_kept_is_served(logged, tiny):
    folder, _ = logged
    path = folder / "MLmodel"
    lines = path.read_text().splitlines()
    older = [line for line in lines if line.strip() != "config:" and "bundle_sha256" not in line]
    assert len(older) == len(lines) - 2
    path.write_text("\n".join(older))

    request = request_rows.raw_rows(tiny.test.take(np.arange(2)), tiny.folder)
    assert len(mlflow.pyfunc.load_model(str(folder)).predict(request)) == 2


# --- Boosters


def largest_trees(bundle):
    """The name of the file with the most nodes."""
    files = [name for name in plain_of(bundle)["members"]["run-gbdt"]["files"] if name.endswith(".ubj")]
    return max(files, key=lambda name: object_of(bundle, "run-gbdt", name).stat().st_size)


def pointing(name, value):
    """Overwrite the first node's number in an array of the first tree that has a split."""

    def change(content):
        starts = [found.end() for found in re.finditer(re.escape(name.encode() + b"[$l#L"), content)]
        start = next(at for at in starts if struct.unpack_from(">q", content, at) > (1,)) + 8
        return content[:start] + struct.pack(">i", value) + content[start + 4 :]

    return change


def targets(before, after):
    """Write another number of targets."""
    key, length = b"num_targetSL", struct.pack(">q", len(after))
    return lambda content: content.replace(
        key + struct.pack(">q", len(before)) + before.encode(), key + length + after.encode()
    )


def of_target(before, after):
    """Write that the last tree belongs to another target."""

    def change(content):
        end = content.index(b"trees", content.index(b"tree_info")) - 8 - 1  # of the list, before the next key
        assert content[end - 2 : end] == b"i" + bytes([before])
        return content[: end - 1] + struct.pack(">b", after) + content[end:]

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param(lambda content: b"", "cut short", id="empty"),
        pytest.param(lambda content: content[:-9], "cut short", id="cut"),
        pytest.param(lambda content: content + b"}", "more behind the end", id="more"),
        pytest.param(lambda content: b"{L" + b"\xff" * 8, "cut short", id="endless name"),
        pytest.param(lambda content: b"[#L" + b"\x7f" * 8, "cut short", id="endless list"),
        pytest.param(lambda content: b"[#L\0\0\0\0\0\0\0\1" * 99, "too deep", id="deep"),
        pytest.param(lambda content: b'{"learner": {}}', "no length", id="JSON"),
        pytest.param(pointing("left_children", 10**9), "a node that there is not", id="child beyond the end"),
        pytest.param(pointing("left_children", -7), "a node that there is not", id="child before the start"),
        pytest.param(pointing("left_children", 0), "a node that there is not", id="root as a child"),
        pytest.param(pointing("left_children", -1), "half a split", id="half a split"),
        pytest.param(pointing("left_children", 2), "a circle", id="child of two"),
        pytest.param(pointing("parents", 10**6), "a parent that there is not", id="parent beyond the end"),
        pytest.param(pointing("parents", 1), "a parent that is another's", id="root with a parent"),
        pytest.param(pointing("split_indices", 10**6), "a feature that there is not", id="feature beyond the end"),
        pytest.param(lambda content: content.replace(b"\6gbtree", b"\6dart__"), "another kind", id="kind"),
        pytest.param(lambda content: content.replace(b"num_class", b"num_clasz"), "'num_class'", id="key"),
        pytest.param(targets("18", "17"), "scores of other targets", id="fewer targets than scores"),
        pytest.param(targets("18", "0"), "classes", id="no target"),
        pytest.param(of_target(17, 18), "trees of no target", id="tree of target 18"),
        pytest.param(of_target(17, -1), "trees of no target", id="tree of target -1"),
        pytest.param(
            lambda content: content.replace(b"idi\x02", b"idi\x01"), "trees in another order", id="same tree twice"
        ),
    ],
)
def test_trees_that_point_nowhere_are_refused_before_xgboost_reads_them(bundle, change, said):
    name = largest_trees(bundle)
    put(bundle, "run-gbdt", name, change(object_of(bundle, "run-gbdt", name).read_bytes()))

    found = said_by(bundle)
    assert "member 'run-gbdt'" in found
    assert f"expected trees as XGBoost writes them, found something else ({said}" in found


@often(300)
@given(st.data())
def test_whatever_is_in_a_file_of_trees_it_is_looked_through_or_refused(bundles, tmp_path_factory, data):
    path = tmp_path_factory.mktemp("trees") / "x.ubj"
    whole = object_of(bundles / "gbdt", "run-gbdt", largest_trees(bundles / "gbdt")).read_bytes()
    path.write_bytes(data.draw(damaged(whole) | st.binary()))

    refusal(ubjson.check, path)


DAMAGE = """
import random, sys
from pathlib import Path
import numpy as np
import onnx
from atma18.gbdt.boosting import Booster
whole, place, count = Path(sys.argv[1]).read_bytes(), Path(sys.argv[2]), int(sys.argv[3])
row = np.zeros((1, len(Booster.load(Path(sys.argv[1])).feature_names)), np.float32)
for seed in range(count):
    rng, content = random.Random(seed), bytearray(whole)
    for _ in range(rng.randint(1, 3)):
        content[rng.randrange(len(content))] = rng.choice([0, 1, 127, 128, 255, rng.randrange(256)])
    place.write_bytes(content)
    try:
        Booster.load(place).predict(row)
    except ValueError:
        pass
"""


def test_no_damage_to_a_file_of_trees_ends_the_process(bundles, tmp_path):
    whole = object_of(bundles / "gbdt", "run-gbdt", largest_trees(bundles / "gbdt"))
    words = [sys.executable, "-c", DAMAGE, str(whole), str(tmp_path / "x.ubj"), str(round(400 * FACTOR))]

    child = subprocess.run(words, capture_output=True, text=True, cwd=PROJECT)

    assert child.returncode == 0, child.stderr[-2000:]


@pytest.mark.parametrize(
    ("content", "reading"),
    [(b"CBM1 and nothing else", None), (None, "import os; os.kill(os.getpid(), 11)")],
    ids=["no trees", "trees that end the process"],
)
def test_trees_that_catboosts_reader_does_not_survive_are_refused(tmp_path, monkeypatch, content, reading):
    whole = CatBoost({"iterations": 2, "allow_writing_files": False, "logging_level": "Silent"})
    whole.fit(np.arange(8.0)[:, None], np.arange(8.0)).save_model(str(tmp_path / "whole.cbm"))
    boosting.check_readable([tmp_path / "whole.cbm", tmp_path / "another.ubj"])
    if content:
        (tmp_path / "whole.cbm").write_bytes(content)
    if reading:
        monkeypatch.setattr(engines, "_READING", reading)

    said = refusal(boosting.check_readable, [tmp_path / "whole.cbm"])

    assert "whole.cbm: expected trees as CatBoost writes them" in said
