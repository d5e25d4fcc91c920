"""Untrusted checkpoints: their tensors are read, no code in them is executed, and errors name the damaged part."""

import collections
import hashlib
import os
import re
import zipfile

import pytest
import torch
from safetensors.torch import save_file
from torchvision import models

from atma18 import backbones
from atma18.backbones import checkpoint
from tests.pretrained import HistoryBuffer, Identity, mmdet_file, mmengine, resnet50, stir

NAME = "torchvision:mobilenet_v3_small"


class Evil:
    """Unpickling it makes a file."""

    def __init__(self, path, call=os.system):
        self.path, self.call = path, call

    def __reduce__(self):
        """Tell pickle what to call."""
        return self.call, (f"touch {self.path}",)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    model = models.mobilenet_v3_small(weights=None).eval()
    stir(model)
    return model


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    """An mmdetection checkpoint, and the ResNet in it."""
    model = resnet50()
    return mmdet_file(tmp_path_factory.mktemp("mmdet") / "detr.pth", model), model


def images():
    return torch.rand(2, 3, 64, 128, generator=torch.Generator().manual_seed(3))


def normalised(x):
    """As ImageNet's images: the means and deviations that torchvision's documentation prints."""
    return (x - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)


def test_the_detectors_resnet_gives_torchvisions_features(detector):
    path, model = detector
    backbone = backbones.build(f"rsud20k:{path}").eval()

    with torch.no_grad():
        found = backbone(images())
        x = model.maxpool(model.relu(model.bn1(model.conv1(normalised(images())))))
        expected = model.layer4(model.layer3(model.layer2(model.layer1(x))))

    assert found.shape == (2, 2048, 2, 4)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_pixels_are_shown_as_the_published_solution_shows_them(detector):
    path, _ = detector
    x = images()
    seen = []
    for pixels in ("normalised", "unit", "bytes"):
        backbone = backbones.build(f"rsud20k:{path}", pixels=pixels).eval()
        backbone.body.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
        backbone.cells(64, 128)
        with torch.no_grad():
            backbone(x)

    _, found_normalised, _, found_unit, _, found_bytes = seen
    torch.testing.assert_close(found_normalised, normalised(x))
    torch.testing.assert_close(found_unit, x)
    torch.testing.assert_close(found_bytes, x * 255)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("wrapped", [False, True], ids=["plain", "of a trainer"])
def test_weights_in_a_file_give_torchvisions_features(model, tmp_path, suffix, wrapped):
    path = tmp_path / f"mine{suffix}"
    state = {("module." if wrapped else "") + name: value for name, value in model.state_dict().items()}
    if suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save({"epoch": 3, "model": state} if wrapped else state, path)
    backbone = backbones.build(f"{NAME}@{path}").eval()

    with torch.no_grad():
        torch.testing.assert_close(backbone(images()), model.features(normalised(images())), rtol=0, atol=1e-5)
    assert hashlib.sha256(path.read_bytes()).hexdigest() in backbones.find(f"{NAME}@{path}").origin


def state_of(model):
    return dict(model.state_dict())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(
            lambda w: [w.pop("features.0.0.weight"), w.pop("features.0.1.bias")],
            r"expected 206 weights, found 2 missing \(model.features.0.0.weight, model.features.0.1.bias\)",
            id="missing",
        ),
        pytest.param(
            lambda w: w.update({"features.99.weight": torch.zeros(1)}),
            r"1 that no such backbone has \(model.features.99.weight\)",
            id="superfluous",
        ),
        pytest.param(
            lambda w: w.update({"features.0.1.bias": torch.zeros(3)}),
            r"1 of another shape \(model.features.0.1.bias\)",
            id="another shape",
        ),
        pytest.param(
            lambda w: w["features.0.1.bias"].fill_(torch.inf),
            r"1 not finite \(model.features.0.1.bias\)",
            id="infinite",
        ),
        pytest.param(lambda w: w.clear(), "expected a dictionary of weights, found dict without any", id="empty"),
    ],
)
def test_weights_that_do_not_fit_are_named_counted_and_refused(model, tmp_path, change, message):
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    change(weights)
    torch.save(weights, tmp_path / "mine.pth")

    with pytest.raises(ValueError, match=message):
        backbones.build(f"{NAME}@{tmp_path}/mine.pth")


def test_a_deeper_net_of_the_same_names_is_refused(tmp_path):
    torch.save(models.resnet34(weights=None).state_dict(), tmp_path / "mine.pth")

    with pytest.raises(ValueError, match=r"that no such backbone has .*is it for another net"):
        backbones.build(f"torchvision:resnet18@{tmp_path}/mine.pth")


def test_a_head_of_other_classes_is_passed_over(model, tmp_path):
    weights = model.state_dict() | {"classifier.3.weight": torch.zeros(7, 1024)}
    torch.save(weights, tmp_path / "mine.pth")

    backbone = backbones.build(f"{NAME}@{tmp_path}/mine.pth")

    assert torch.equal(backbone.state_dict()["body.model.features.0.0.weight"], model.features[0][0].weight)


def evil_zip(path, target, model):
    torch.save({"state_dict": model.state_dict(), "hook": Evil(target)}, path)


def evil_legacy(path, target, model):
    torch.save({"hook": Evil(target)}, path, _use_new_zipfile_serialization=False)


def evil_pickle(path, target, model):
    path.write_bytes(b"cposix\nsystem\n(S'touch " + str(target).encode() + b"'\ntR.")


def evil_protocol_4(path, target, model):
    torch.save({"hook": Evil(target)}, path, pickle_protocol=4)


def evil_among_mmengine(path, target, model):
    with mmengine():
        torch.save({"state_dict": model.state_dict(), "hub": HistoryBuffer(), "hook": Evil(target, eval)}, path)


@pytest.mark.parametrize(
    ("write", "named"),
    [
        (evil_zip, "posix.system"),
        (evil_legacy, "posix.system"),
        (evil_pickle, "posix.system"),
        (evil_protocol_4, ""),
        (evil_among_mmengine, "builtins.eval"),
    ],
)
def test_a_pickle_that_would_run_code_runs_none_and_says_why(model, tmp_path, write, named):
    path, target = tmp_path / "mine.pth", tmp_path / "made by a stranger"
    write(path, target, model)

    with pytest.raises(ValueError, match=f"{path}: expected .*{re.escape(named)}"):
        backbones.build(f"{NAME}@{path}")

    assert not target.exists()


def test_that_pickle_would_have_run_code(model, tmp_path):
    evil_zip(tmp_path / "mine.pth", tmp_path / "made", model)

    torch.load(tmp_path / "mine.pth", weights_only=False)  # what nobody here does

    assert (tmp_path / "made").exists()


def test_an_unknown_class_is_refused_by_name(tmp_path):
    torch.save(Identity(), tmp_path / "mine.pth")

    with pytest.raises(ValueError, match=r"found a pickle that would call .*tests.pretrained.Identity"):
        backbones.build(f"{NAME}@{tmp_path}/mine.pth")


def test_objects_of_a_trainer_are_inert(detector):
    path, model = detector

    tensors = checkpoint.read(path)

    assert torch.equal(tensors["backbone.conv1.weight"], model.conv1.weight)
    assert "neck.convs.0.conv.weight" in tensors


def test_reading_leaves_no_trust_behind(detector):
    path, _ = detector
    before = set(torch.serialization.get_safe_globals())

    checkpoint.read(path)

    assert set(torch.serialization.get_safe_globals()) == before


@pytest.mark.parametrize("kept", [0, 100, 0.5, -1], ids=["empty", "100 bytes", "half", "all but a byte"])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_truncated_file_is_told(model, tmp_path, suffix, kept):
    path = tmp_path / f"mine{suffix}"
    save_file(state_of(model), path) if suffix == ".safetensors" else torch.save(state_of(model), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept) if isinstance(kept, float) else kept])

    with pytest.raises(ValueError, match=f"{path}: expected"):
        backbones.build(f"{NAME}@{path}")


def test_a_flipped_bit_is_told(model, tmp_path):
    path = tmp_path / "mine.pth"
    torch.save(state_of(model), path)
    with zipfile.ZipFile(path) as archive:
        largest = max(archive.infolist(), key=lambda part: part.file_size)
    content = bytearray(path.read_bytes())
    content[largest.header_offset + len(largest.filename) + 1000] ^= 1
    path.write_bytes(content)

    with pytest.raises(ValueError, match=f"{path}: expected a whole checkpoint"):
        backbones.build(f"{NAME}@{path}")


def test_a_file_with_a_hash_in_its_name_must_have_it(model, tmp_path):
    torch.save(state_of(model), tmp_path / "mine.pth")
    sha256 = hashlib.sha256((tmp_path / "mine.pth").read_bytes()).hexdigest()
    right, wrong = tmp_path / f"mine-{sha256[:8]}.pth", tmp_path / "mine-01234567.pth"
    right.write_bytes((tmp_path / "mine.pth").read_bytes())
    wrong.write_bytes((tmp_path / "mine.pth").read_bytes())

    backbones.build(f"{NAME}@{right}")

    with pytest.raises(ValueError, match=f"SHA-256 01234567… that its name promises, found {sha256}"):
        backbones.build(f"{NAME}@{wrong}")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        pytest.param("torchvision:resnet18@/nowhere/mine.pth", "expected weights in /nowhere/mine.pth, found no file"),
        pytest.param(
            "torchvision:resnet18@V9", "expected weights of torchvision's resnet18 .*IMAGENET1K_V1.*found 'V9'"
        ),
        pytest.param("rsud20k:", "expected rsud20k: and where detr.pth is"),
        pytest.param("hf:/nowhere", "expected a folder .* found none at /nowhere"),
        pytest.param("hf:a b", "expected hf: and a folder or OWNER/NAME"),
        pytest.param("lite0@V1", "expected lite0 or lite0@none"),
        pytest.param("timm:resnet18", "expected a backbone among lite0 .*found 'timm:resnet18'"),
    ],
)
def test_names_that_stand_for_nothing_are_refused(name, message):
    with pytest.raises(ValueError, match=message):
        backbones.find(name)


def test_plain_containers_are_no_code(model, tmp_path):
    torch.save(collections.OrderedDict(state_of(model)), tmp_path / "mine.pth")

    found = backbones.build(f"{NAME}@{tmp_path}/mine.pth").state_dict()

    assert torch.equal(found["body.model.features.0.0.weight"], model.features[0][0].weight)
