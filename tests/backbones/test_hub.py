"""Backbones from transformers give the library's outputs, at other sizes too, from folders that it wrote."""

import copy
import json
import shutil

import pytest
import torch
import transformers
from huggingface_hub import constants
from safetensors.torch import load_file, save_file

from atma18 import backbones
from tests.pretrained import FAMILIES, MEAN, STD, hub_folder

SIZE_PX = (64, 128)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """One folder per family."""
    return {family: hub_folder(family, tmp_path_factory.mktemp(family)) for family in FAMILIES}


@pytest.fixture
def folder(folders, tmp_path):
    """A folder to be changed."""
    return shutil.copytree(folders["convnext"], tmp_path / "changed")


def frames(size_px=SIZE_PX, frames=1):
    return torch.rand(2, 3 * frames, *size_px, generator=torch.Generator().manual_seed(5))


def library_map(family, folder, images):
    """What the library's own model sees in images, which we normalise as its folder says."""
    seen = (images - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    with torch.no_grad():
        if family == "detr":
            whole = transformers.DetrForObjectDetection.from_pretrained(folder).eval()
            return whole.model.backbone(seen, torch.ones(2, *images.shape[2:]))[-1][0]
        return transformers.AutoModel.from_pretrained(folder).eval()(seen).last_hidden_state


@pytest.mark.parametrize(
    ("family", "shape"),
    [
        ("convnext", (64, 2, 4)),
        ("convnextv2", (64, 2, 4)),
        ("resnet", (64, 2, 4)),
        ("swin", (48, 4, 8)),  # patches of 4, halved twice
        ("dinov2", (24, 4, 9)),  # patches of 14; what is left over is cut off
        ("detr", (64, 2, 4)),
    ],
)
def test_a_folder_of_the_library_gives_the_librarys_features(folders, family, shape):
    folder = folders[family]
    backbone = backbones.build(f"hf:{folder}").eval()

    with torch.no_grad():
        found = backbone(frames())

    expected = library_map(family, folder, frames())
    if family in ("swin", "dinov2"):  # (B, cells, C), row after row
        expected = expected[:, -shape[1] * shape[2] :].transpose(1, 2).reshape(2, *shape)
    assert found.shape == (2, *shape) and found.std() > 0.01
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert (backbone.channels, backbone.spec.stride_px) == (shape[0], {"swin": 16, "dinov2": 14}.get(family, 32))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_frame_stacked_three_times_gives_what_it_gives_alone(folders, family):
    one, three = (backbones.build(f"hf:{folders[family]}", in_frames=n).double().eval() for n in (1, 3))
    x = frames().double()

    with torch.no_grad():
        alone, stacked, moved = one(x), three(torch.cat([x, x, x], dim=1)), three(torch.cat([x, x, x.flip(3)], dim=1))

    torch.testing.assert_close(stacked, alone, rtol=0, atol=1e-5)
    assert not torch.allclose(moved, alone, rtol=0, atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_description_rebuilds_the_backbone_without_its_folder(folders, family):
    backbone = backbones.build(f"hf:{folders[family]}", in_frames=3).eval()
    described = backbones.BackboneSpec(**json.loads(json.dumps(vars(backbone.spec))))

    rebuilt = backbones.untrained(described, in_frames=3).eval()
    rebuilt.load_state_dict(backbone.state_dict())

    with torch.no_grad():
        torch.testing.assert_close(rebuilt(frames(frames=3)), backbone(frames(frames=3)), rtol=0, atol=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_frozen_backbone_keeps_statistics_and_has_no_gradients(folders, family):
    backbone = backbones.build(f"hf:{folders[family]}").freeze()
    net = torch.nn.Sequential(backbone, torch.nn.Flatten(), torch.nn.LazyLinear(1)).train()
    before = copy.deepcopy(backbone.state_dict())

    net(frames()).sum().backward()

    assert all(torch.equal(before[key], value) for key, value in backbone.state_dict().items())
    assert all(p.grad is None for p in backbone.parameters())
    assert net[2].weight.grad is not None


def test_swin_is_padded_where_a_map_is_smaller_than_a_window_and_forgets_it_after(folders):
    backbone = backbones.build(f"hf:{folders['swin']}").eval()

    with torch.no_grad():
        before = backbone(frames())
        small = backbone(frames((32, 64)))  # ends with 2 x 4 cells, windows are 4 x 4
        after = backbone(frames())

    assert small.shape == (2, 48, 2, 4)
    assert torch.equal(before, after)


def test_safetensors_are_taken_where_there_is_a_pickle_too(folder):
    (folder / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'true'\ntR.")

    [file] = backbones.find(f"hf:{folder}").files

    assert file.name == "model.safetensors"


def test_a_pickle_of_weights_gives_the_same(folder):
    expected = backbones.build(f"hf:{folder}").state_dict()
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()

    found = backbones.build(f"hf:{folder}").state_dict()

    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def without(tensors, name):
    return {key: value for key, value in tensors.items() if key != name}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(
            lambda w: without(w, "convnext.encoder.stages.0.layers.0.dwconv.bias"),
            r"1 missing \(encoder.stages.0.layers.0.dwconv.bias\)",
            id="missing",
        ),
        pytest.param(
            lambda w: w | {"convnext.encoder.stages.9.layers.0.dwconv.bias": torch.zeros(16)},
            r"1 that no such backbone has \(.*encoder.stages.9.layers.0.dwconv.bias\)",
            id="another depth",
        ),
        pytest.param(
            lambda w: w | {"convnext.encoder.stages.0.layers.0.dwconv.bias": torch.zeros(7)},
            r"1 of another shape \(encoder.stages.0.layers.0.dwconv.bias\)",
            id="another shape",
        ),
        pytest.param(
            lambda w: w | {"convnext.encoder.stages.0.layers.0.dwconv.bias": torch.full((16,), torch.nan)},
            r"1 not finite \(.*dwconv.bias\)",
            id="not a number",
        ),
    ],
)
def test_weights_that_do_not_fit_are_named_counted_and_refused(folder, change, message):
    file = folder / "model.safetensors"
    save_file({name: v.clone() for name, v in change(load_file(file)).items()}, file, {"format": "pt"})

    with pytest.raises(ValueError, match=message):
        backbones.build(f"hf:{folder}")


def change_config(folder, **values):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        pytest.param(
            lambda folder: change_config(folder, model_type="bert"),
            "config.json: expected a model_type among convnext, .*, found 'bert'",
            id="another family",
        ),
        pytest.param(
            lambda folder: (folder / "config.json").write_text("{"), "config.json: expected a JSON file", id="no JSON"
        ),
        pytest.param(
            lambda folder: (folder / "config.json").unlink(), "config.json: expected a JSON file", id="no configuration"
        ),
        pytest.param(
            lambda folder: (folder / "model.safetensors").unlink(),
            r"expected weights in model\*.safetensors or .* found none",
            id="no weights",
        ),
        pytest.param(
            lambda folder: (folder / "model.safetensors").write_bytes(
                (folder / "model.safetensors").read_bytes()[:-100]
            ),
            "expected a whole safetensors file, found a damaged one",
            id="truncated",
        ),
    ],
)
def test_folders_that_are_no_backbone_are_refused(folder, spoil, message):
    spoil(folder)

    with pytest.raises(ValueError, match=message):
        backbones.build(f"hf:{folder}")


def test_a_detector_that_needs_another_package_says_which(folders, tmp_path):
    folder = shutil.copytree(folders["detr"], tmp_path / "timm")
    change_config(folder, backbone_config=None, use_timm_backbone=True, backbone="resnet50")

    with pytest.raises(ValueError, match="needs the package timm: say @no_timm"):
        backbones.build(f"hf:{folder}")


def test_a_name_of_the_hub_is_found_in_its_cache_at_its_revision(folders, tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    commit = "0123456789abcdef0123456789abcdef01234567"
    model = tmp_path / "models--someone--small"
    shutil.copytree(folders["resnet"], model / "snapshots" / commit)
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text(commit)

    found = backbones.find("hf:someone/small")

    assert found.revision == commit and commit in found.origin
    assert backbones.build("hf:someone/small").channels == 64
    assert backbones.find(f"hf:someone/small@{commit}").revision == commit
    with pytest.raises(
        backbones.MissingWeightsError, match=r"(?s)expected config.json.*huggingface.co/someone/small/tree/v2"
    ):
        backbones.find("hf:someone/small@v2")


def test_a_blob_of_the_hub_must_have_the_sha256_that_is_its_name(folders, tmp_path):
    folder = shutil.copytree(folders["resnet"], tmp_path / "snapshot")
    blob = tmp_path / ("0" * 64)
    (folder / "model.safetensors").rename(blob)
    (folder / "model.safetensors").symlink_to(blob)

    with pytest.raises(ValueError, match=f"expected a file with the SHA-256 {'0' * 64}"):
        backbones.find(f"hf:{folder}")
