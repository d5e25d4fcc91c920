"""onnxruntime computes the maps that torch computes, of an image alone as among others."""

import logging
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from atma18 import backbones
from atma18.backbones import engine, graph
from atma18.backbones.engine import Engine
from tests.store import PROJECT, SYSTEM_PATH

SIZE_PX = (64, 128)


def images(count, in_frames=1, size_px=SIZE_PX, seed=1):
    return torch.rand(count, 3 * in_frames, *size_px, generator=torch.Generator().manual_seed(seed))


def built(name, in_frames=1, seed=0):
    """Build a backbone whose statistics are those of training, as other numbers than 0 and 1."""
    backbone = backbones.build(name, in_frames=in_frames, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean += torch.rand(module.running_mean.shape, generator=generator) - 0.5
            module.running_var += torch.rand(module.running_var.shape, generator=generator)
    return backbone.eval()


@pytest.fixture(scope="module")
def cnn():
    backbone = built("cnn")
    return backbone, Engine.of(backbone, (41, 41))


@pytest.mark.parametrize(
    ("name", "in_frames"),
    [
        pytest.param("lite0", 1, id="lite0"),
        pytest.param("lite0", 3, id="lite0 of three frames"),
        pytest.param("torchvision:resnet18@none", 3, id="torchvision"),
        pytest.param("torchvision:convnext_tiny@none", 1, id="layer norm"),
    ],
)
def test_both_engines_compute_the_same_maps(name, in_frames):
    backbone = built(name, in_frames)
    found = Engine.of(backbone, SIZE_PX)
    frames = images(5, in_frames)

    with torch.inference_mode():
        expected = backbone(frames)
    assert found.session is not None and found.name.startswith("onnxruntime 1.31.0")
    torch.testing.assert_close(found(frames), expected, rtol=0, atol=1e-5 * float(expected.abs().max()))
    assert torch.equal(found(frames[:2]), found(frames)[:2])  # to the bit in any batch: no padding is needed


def test_a_map_is_the_same_to_the_bit_in_a_batch_of_any_size_and_on_any_number_of_threads(cnn, monkeypatch):
    backbone, found = cnn
    frames = images(19, size_px=(41, 41))
    together = found(frames)

    assert not found.batch_is_fixed and together.abs().max() > 0
    for size in (1, 2, 6, 16, 18):
        assert torch.equal(found(frames[:size]), together[:size])
    assert torch.equal(found(frames.flip(0)), together.flip(0))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert torch.equal(Engine.of(backbone, (41, 41))(frames), together)


def test_one_graph_serves_all_weights_and_holds_none_of_them(cnn):
    backbone, found = cnn
    other = built("cnn", seed=1)

    of_other = Engine.of(other, (41, 41), given=found.graph)

    assert len(found.graph) < 40_000 < sum(weight.nbytes for weight in backbone.state_dict().values())
    frames = images(3, size_px=(41, 41))
    with torch.inference_mode():
        torch.testing.assert_close(of_other(frames), other(frames), rtol=0, atol=1e-6)
    assert not torch.equal(of_other(frames), found(frames))


def test_a_graph_names_nothing_of_this_machine_and_is_the_same_each_time(cnn):
    spec = cnn[0].spec

    assert graph._export(spec, 1, (41, 41)) == cnn[1].graph
    assert not [word for word in (str(PROJECT), "site-packages", ".py") if word.encode() in cnn[1].graph]


def test_a_graph_is_made_once_and_kept_by_content(monkeypatch):
    spec, asked = replace(backbones.find("cnn").spec, name="cnn of another name"), []
    export = graph._export
    monkeypatch.setattr(graph, "_export", lambda *given: asked.append(given) or export(*given))

    for size_px in ((24, 24), (24, 24), (32, 24)):
        graph._kept.cache_clear()  # as in another process
        assert graph.of(spec, 1, size_px) is not None

    assert [size_px for _, _, size_px in asked] == [(24, 24), (32, 24)]


def test_torch_computes_what_cannot_be_exported_and_it_is_said(monkeypatch, caplog):
    def refuse(*_):
        raise RuntimeError("no such operator")

    monkeypatch.setattr(graph, "_export", refuse)
    graph._kept.cache_clear()
    backbone = built("cnn")

    with caplog.at_level(logging.WARNING):
        found = Engine.of(backbone, (41, 41))

    graph._kept.cache_clear()
    assert found.session is None and found.batch_is_fixed and found.name.startswith("torch 2.14.1")
    assert [record.message for record in caplog.records] == [
        "cnn: torch computes its maps, for it has no ONNX graph (no such operator)"
    ]
    with torch.inference_mode():
        torch.testing.assert_close(found(images(2, size_px=(41, 41))), backbone(images(2, size_px=(41, 41))))


def test_torch_computes_where_both_engines_disagree_and_it_is_said(cnn, monkeypatch, caplog):
    backbone = built("cnn", seed=2)
    difference = engine._difference(Engine.of(backbone, (41, 41)), Engine(backbone), (41, 41))
    monkeypatch.setattr(engine, "_TOLERANCE", difference / 2)

    with caplog.at_level(logging.WARNING):
        chosen = Engine.of(backbone, (41, 41), given=cnn[1].graph)

    assert 0 < difference < 1e-5
    assert chosen.session is None
    assert f"cnn: torch computes its maps, for onnxruntime cannot (onnxruntime is {difference:.1g} off)" in caplog.text


def test_torch_computes_where_onnxruntime_is_missing(cnn, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)

    with caplog.at_level(logging.WARNING):
        chosen = Engine.of(built("cnn", seed=2), (41, 41), given=cnn[1].graph)

    assert chosen.session is None and "onnxruntime" in caplog.text


def test_equal_backbones_share_one_session_as_long_as_somebody_uses_it(cnn):
    one, other = Engine.of(built("cnn"), (41, 41)), Engine.of(built("cnn", seed=1), (41, 41))

    assert one.session is cnn[1].session and one.sha256 == cnn[1].sha256
    assert other.session is not one.session and other.sha256 != one.sha256
    gone = other.sha256
    del other
    assert gone not in {sha256 for sha256, _ in engine._SESSIONS}


def test_onnxruntime_keeps_and_sends_nothing_about_us(cnn, tmp_path):
    (tmp_path / "whole.onnx").write_bytes(graph.filled(cnn[1].graph, cnn[0].state_dict()))
    load = "from atma18.backbones.engine import _session; _session(open('whole.onnx', 'rb').read())"

    environment = {"PATH": SYSTEM_PATH, "HOME": str(tmp_path), "PYTHONPATH": str(PROJECT)}  # none that tells of a test
    subprocess.run([sys.executable, "-c", load], cwd=tmp_path, env=environment, check=True)

    assert not (tmp_path / ".cache" / "Microsoft").exists()


def test_a_backbone_of_unknown_kind_is_left_to_torch(cnn):
    body = nn.Conv2d(3, 4, 1)
    backbone = backbones.Backbone(replace(cnn[0].spec, kind="mine"), body)

    assert Engine.of(backbone, (8, 8)).graph is None


def changed(proto, name):
    import onnx

    match name:
        case "another domain":
            proto.graph.node[0].domain = "com.example"
        case "a branch":
            branch = onnx.helper.make_graph([], "inner", [], [])
            proto.graph.node[0].attribute.append(onnx.helper.make_attribute("then_branch", branch))
        case "a file":
            proto.graph.initializer[0].data_location = onnx.TensorProto.EXTERNAL
        case "a function":
            proto.functions.append(onnx.helper.make_function("mine", "inner", [], [], [], []))
        case "another weight":
            proto.graph.input[1].name = "body.other"
        case "another shape":
            proto.graph.input[1].type.tensor_type.shape.dim[0].dim_value += 1
        case "no frames":
            del proto.graph.input[0]
    return proto.SerializeToString()


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("another domain", "expected a graph of plain operators, found"),
        ("a branch", "expected a graph of plain operators, found"),
        ("a file", "expected a graph of plain operators, found mean in it"),
        ("a function", "expected a graph of plain operators, found inner in it"),
        ("another weight", "expected a graph of this backbone's weights, found one of body.other"),
        ("another shape", "expected a graph of this backbone's weights, found one of body.stem.weight"),
        ("no frames", "expected a graph of this backbone's weights, found one of no frames"),
    ],
)
def test_a_graph_that_is_not_the_export_of_this_backbone_is_refused(cnn, name, found):
    import onnx

    given = changed(onnx.load_model_from_string(cnn[1].graph), name)

    with pytest.raises(ValueError, match=found):
        Engine.of(cnn[0], (41, 41), given=given)


def test_what_is_no_graph_is_refused(cnn):
    with pytest.raises(ValueError, match="expected an ONNX graph, found something else"):
        Engine.of(cnn[0], (41, 41), given=np.arange(99, dtype=np.uint8).tobytes())
