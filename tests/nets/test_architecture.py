"""A scene's outputs equal those of torch's own bidirectional LSTM, in any batch and with any padding."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from atma18.config import NetConfig, StageConfig
from atma18.nets import FrameEncoder, FrameHead, FrameNet, SceneHead, SceneLayout, SceneNet, scene_lengths

STAGE = StageConfig(batch_size=4, learning_rate=1e-3, weight_decay=0.0, num_epochs=1)
WIDTH, HIDDEN = 5, 7


def config(num_layers=2, **changed):
    settings = {"backbone": "torchvision:mobilenet_v3_small", "hidden": HIDDEN, "num_layers": num_layers}
    return NetConfig(STAGE, STAGE, **(settings | changed))


@pytest.fixture(autouse=True)
def drawn_weights():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def layout_of(lengths, **padded_to):
    return SceneLayout.of(np.array(lengths), **padded_to)


def run(head, encoded, lengths, **padded_to):
    with torch.no_grad():
        return head(encoded, layout_of(lengths, **padded_to))


# Layout


def test_scenes_of_two_one_and_three_samples_are_laid_out_as_on_paper():
    layout = layout_of([2, 1, 3])

    assert layout.rows.tolist() == [[0, 1, 0], [2, 0, 0], [3, 4, 5]]
    assert layout.reverse.tolist() == [[1, 0, 2], [0, 1, 2], [2, 1, 0]]
    assert layout.valid.tolist() == [[True, True, False], [True, False, False], [True, True, True]]


def test_a_layout_can_have_more_steps_and_scenes_than_there_are():
    layout = layout_of([2, 1], steps=4, scenes=3)

    assert layout.rows.tolist() == [[0, 1, 0, 0], [2, 0, 0, 0], [0, 0, 0, 0]]
    assert layout.reverse.tolist() == [[1, 0, 2, 3], [0, 1, 2, 3], [0, 1, 2, 3]]
    assert layout.valid.tolist() == [[True, True, False, False], [True, False, False, False], [False] * 4]


@pytest.mark.parametrize(
    ("scenes", "lengths"),
    [
        pytest.param("aabccc", [2, 1, 3], id="several"),
        pytest.param("ccabb", [2, 1, 2], id="in any order"),
        pytest.param("a", [1], id="one sample"),
        pytest.param("bbbb", [4], id="one scene"),
        pytest.param("", [], id="none"),
    ],
)
def test_scene_lengths_are_counted_in_order(scenes, lengths):
    assert scene_lengths(np.array(list(scenes), dtype=np.str_)).tolist() == lengths


# SceneNet


def torchs_own(head, layers):
    """Return torch's bidirectional LSTM with the weights of our head."""
    lstm = nn.LSTM(WIDTH, HIDDEN, num_layers=layers, bidirectional=True, batch_first=True)
    with torch.no_grad():
        for i in range(layers):
            for suffix, ours in (("", head.ahead[i]), ("_reverse", head.back[i])):
                for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                    getattr(lstm, f"{name}_l{i}{suffix}").copy_(getattr(ours, f"{name}_l0"))
    return lstm


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("lengths", [[2, 1, 3], [6], [1], [4, 4, 5, 1, 6, 2]], ids=str)
def test_a_scene_is_read_as_by_torchs_own_bidirectional_lstm(layers, lengths):
    head, encoded = SceneHead(config(layers), WIDTH), random(sum(lengths), WIDTH)
    scenes = nn.utils.rnn.pad_sequence(encoded.split(lengths), batch_first=True)

    found = run(head, encoded, lengths)

    with torch.no_grad():
        packed = pack_padded_sequence(scenes, torch.tensor(lengths), batch_first=True, enforce_sorted=False)
        read, _ = pad_packed_sequence(torchs_own(head, layers)(packed)[0], batch_first=True)
        expected = torch.cat([head.out(scene[:n]) for scene, n in zip(read, lengths, strict=True)])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("causal", [False, True], ids=["both directions", "causal"])
@pytest.mark.parametrize(
    ("before", "after", "padded_to"),
    [
        pytest.param([], [], {}, id="alone"),
        pytest.param([2, 5], [], {}, id="last"),
        pytest.param([], [1, 6], {}, id="first"),
        pytest.param([4], [4], {}, id="in the middle"),
        pytest.param([], [], {"steps": 8}, id="with more steps"),
        pytest.param([2], [], {"steps": 8, "scenes": 5}, id="with more steps and scenes"),
    ],
)
def test_a_scenes_outputs_do_not_depend_on_other_scenes_or_padding(causal, before, after, padded_to):
    head, scene = SceneHead(config(causal=causal), WIDTH), random(3, WIDTH)
    first, rest = random(sum(before), WIDTH, seed=1), random(sum(after), WIDTH, seed=2)
    padding = torch.full((2, WIDTH), 1e3)  # rows that belong to no scene

    found = run(head, torch.cat([first, scene, rest, padding]), [*before, 3, *after], **padded_to)

    assert len(found) == sum(before) + 3 + sum(after)
    torch.testing.assert_close(found[sum(before) :][:3], run(head, scene, [3]), rtol=0, atol=1e-6)


@pytest.mark.parametrize("changed", [0, 1, 2, 3])
@pytest.mark.parametrize("layers", [1, 2])
def test_only_a_causal_net_keeps_its_outputs_when_a_later_sample_changes(layers, changed):
    encoded = random(4, WIDTH)
    other = encoded.clone()
    other[changed] += 1

    for causal in (True, False):
        head = SceneHead(config(layers, causal=causal), WIDTH)
        moved = (run(head, other, [4]) - run(head, encoded, [4])).abs().amax(dim=1)
        if causal:
            assert (moved[:changed] == 0).all()
            assert (moved[changed:] > 1e-5).all()
        else:
            assert (moved > 1e-6).all()


def test_padding_gets_no_gradient():
    head, encoded = SceneHead(config(), WIDTH), random(4, WIDTH).requires_grad_()

    head(encoded, layout_of([2, 1], steps=3)).sum().backward()

    assert (encoded.grad[:3].abs().sum(dim=1) > 0).all()
    assert (encoded.grad[3] == 0).all()


# FrameNet


@pytest.mark.parametrize("layers", [1, 2, 4])
def test_the_perceptron_has_as_many_hidden_layers_as_asked(layers):
    head, x = FrameHead(config(layers), WIDTH), random(3, WIDTH)

    with torch.no_grad():
        found = head(x)
        for linear in [layer for layer in head if isinstance(layer, nn.Linear)][:-1]:
            x = torch.clamp(x @ linear.weight.T + linear.bias, min=0)
        expected = x @ head[-1].weight.T + head[-1].bias

    assert [layer.out_features for layer in head if isinstance(layer, nn.Linear)] == [HIDDEN] * layers + [18]
    torch.testing.assert_close(found, expected)


@pytest.fixture(scope="module")
def nets():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return FrameNet(config(), signals=4).eval(), SceneNet(config(), signals=4).eval()


def test_only_the_scene_net_sees_a_samples_neighbours(nets):
    frame_net, scene_net = nets
    encoded = random(6, frame_net.encoder.width)
    other = encoded.clone()
    other[4] += 1

    for net, seen in ((frame_net, [False] * 3 + [False, True, False]), (scene_net, [False] * 3 + [True] * 3)):
        with torch.no_grad():
            moved = net.decode(other, layout_of([2, 1, 3])) - net.decode(encoded, layout_of([2, 1, 3]))
        assert (moved.abs().amax(dim=1) > 1e-6).tolist() == seen


# The encoder


@pytest.fixture(scope="module")
def frames():
    return torch.rand(2, 9, 64, 128, generator=torch.Generator().manual_seed(3))


def test_a_samples_vector_is_its_mean_embedding_then_its_signals(nets, frames):
    encoder, signals, cells = nets[0].encoder, random(2, 4), random(2, 576, 2, 4, seed=4)
    hook = encoder.backbone.register_forward_hook(lambda module, inputs, found: cells)

    with hook, torch.no_grad():
        encoded = encoder(frames, signals)
        expected = signals @ encoder.signals.weight.T + encoder.signals.bias

    assert encoded.shape == (2, encoder.width) == (2, 576 + 128)
    torch.testing.assert_close(encoded[:, :576], cells.flatten(2).sum(dim=2) / 8, rtol=0, atol=1e-6)
    torch.testing.assert_close(encoded[:, 576:], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("autocast", [False, True], ids=["float32", "bfloat16"])
def test_only_the_backbone_runs_in_bfloat16(frames, autocast):
    encoder = FrameEncoder(config(autocast=autocast), signals=4).eval()
    kinds, signals = [], random(2, 4) * 100
    encoder.backbone.register_forward_hook(lambda module, inputs, cells: kinds.append(cells.dtype))

    with torch.no_grad():
        encoded = encoder(frames, signals)
        expected = signals @ encoder.signals.weight.T + encoder.signals.bias

    assert kinds == [torch.bfloat16 if autocast else torch.float32]
    assert encoded.dtype == torch.float32
    torch.testing.assert_close(encoded[:, -128:], expected, rtol=1e-5, atol=1e-4)
