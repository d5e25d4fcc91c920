"""A row's result must be bit-identical in any batch, and every byte must be in its channel."""

import numpy as np
import pytest
import torch
from PIL import Image

from atma18 import backbones
from atma18.compute import Compute, inference

BATCH = 4


@pytest.fixture(scope="module")
def lite0():
    return backbones.build("lite0").eval()


def run(forward, *arrays, batch=BATCH):
    found = list(inference.run_in_batches(forward, arrays, batch, "cpu", "test"))
    rows = [i for taken, _ in found for i in range(taken.start, taken.stop)]
    assert rows == list(range(len(arrays[0])))
    return np.concatenate([result for _, result in found])


def test_one_frames_byte_lands_in_its_channel_row_and_column():
    frames = torch.zeros(2, 3, 4, 3, dtype=torch.uint8)
    frames[1, 2, 3, 0] = 255  # red
    frames[0, 0, 1, 2] = 51  # blue

    images = inference.images(frames)

    expected = torch.zeros(2, 3, 3, 4)
    expected[1, 0, 2, 3] = 1.0
    expected[0, 2, 0, 1] = 0.2
    torch.testing.assert_close(images, expected, rtol=0, atol=1e-7)
    assert frames[1, 2, 3, 0] == 255


def test_colour_c_of_frame_f_is_channel_3f_plus_c():
    frames = torch.randint(0, 256, (2, 3, 4, 5, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))

    images = inference.stacked_images(frames, (4, 5))

    assert images.shape == (2, 9, 4, 5)
    assert images.dtype == torch.float32
    for b in range(2):
        for frame in range(3):
            for colour in range(3):
                plane = frames[b, frame, :, :, colour].numpy() / 255
                np.testing.assert_allclose(images[b, 3 * frame + colour].numpy(), plane, rtol=0, atol=1e-7)


@pytest.mark.parametrize("size_px", [(4, 5), (8, 8)], ids=["as they are", "resized"])
def test_frames_give_the_same_images_however_they_lie_in_memory(size_px):
    frames = torch.randint(0, 256, (2, 3, 4, 5, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    pixels_first = frames.permute(0, 2, 3, 1, 4).contiguous().permute(0, 3, 1, 2, 4)

    assert not pixels_first.is_contiguous()
    torch.testing.assert_close(inference.single_images(pixels_first), inference.images(frames.flatten(0, 1)))
    stacked = inference.stacked_images(frames, size_px)
    torch.testing.assert_close(inference.stacked_images(pixels_first, size_px), stacked, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("convert", "shape"),
    [
        pytest.param(inference.images, (2, 4, 5, 3), id="one frame"),
        pytest.param(inference.single_images, (2, 3, 4, 5, 3), id="frame after frame"),
        pytest.param(lambda frames: inference.stacked_images(frames, (4, 5)), (2, 3, 4, 5, 3), id="three frames"),
        pytest.param(lambda frames: inference.stacked_images(frames, (8, 8)), (2, 3, 4, 5, 3), id="resized"),
    ],
)
def test_the_colours_of_a_pixel_lie_next_to_each_other_in_memory(convert, shape):
    images = convert(torch.zeros(shape, dtype=torch.uint8))

    assert images.stride(1) == 1
    assert images.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("size_px", [(64, 128), (32, 64), (224, 224)], ids=["as they are", "smaller", "larger"])
def test_frames_are_resized_as_pillow_does_it(tiny, size_px):
    frames = tiny.train.frames[np.array([3, 8])]

    images = inference.stacked_images(torch.from_numpy(frames), size_px)

    assert images.shape == (2, 9, *size_px)
    for b in range(2):
        for frame in range(3):
            image = Image.fromarray(frames[b, frame]).resize(size_px[::-1], Image.Resampling.BICUBIC)
            found = images[b, 3 * frame : 3 * frame + 3].permute(1, 2, 0).numpy() * 255
            off = np.abs(found - np.asarray(image, np.float32))
            assert off.max() < 2.01  # both round after each direction
            assert (off < 1.01).mean() > 0.999


def test_what_has_the_size_already_is_not_touched():
    frames = torch.zeros(2, 3, 4, 5, 3, dtype=torch.uint8)

    assert inference.resized(frames, (4, 5)) is frames


@pytest.mark.parametrize("bfloat16", [False, True], ids=["float32", "bfloat16"])
@pytest.mark.parametrize(
    "order",
    [
        pytest.param([*range(9)], id="a second time"),
        pytest.param([*reversed(range(9))], id="in another order"),
        pytest.param([7], id="alone"),
        pytest.param([8, 2], id="with one other"),
        pytest.param([3] * 5, id="with itself"),
    ],
)
def test_a_frames_embedding_is_the_same_to_the_bit_whatever_comes_with_it(tiny, lite0, order, bfloat16):
    frames = tiny.train.frames[:9][:, 0]

    def forward(batch):
        with inference.autocast("cpu", bfloat16):
            return lite0(inference.images(batch))

    together = run(forward, frames)

    assert np.abs(together).max() > 0.1
    np.testing.assert_array_equal(run(forward, frames[order]), together[order])


@pytest.mark.parametrize("n", [1, 3, 4, 5, 8, 9])
def test_the_net_always_gets_full_batches_padded_with_zeros(n):
    batches, values = [], np.arange(1, n + 1, dtype=np.int64)

    def forward(batch):
        batches.append(batch.tolist())
        return batch

    run(forward, values)

    assert [len(batch) for batch in batches] == [BATCH] * -(-n // BATCH)
    assert [value for batch in batches for value in batch] == [*range(1, n + 1), *[0] * (-n % BATCH)]


def test_without_samples_the_net_is_not_run():
    assert list(inference.run_in_batches(pytest.fail, (np.empty((0, 3)),), BATCH, "cpu", "test")) == []


def test_arrays_are_read_side_by_side_and_a_batch_at_a_time():
    class Spy:
        def __init__(self, values):
            self.values, self.taken = values, []

        def __len__(self):
            return len(self.values)

        def __getitem__(self, index):
            self.taken.append((index.start, index.stop))
            return self.values[index]

    tens, ones = Spy(np.arange(6.0) * 10), Spy(np.arange(6, dtype=np.float32))

    result = run(lambda a, b: (a + b).to(torch.bfloat16), tens, ones)

    np.testing.assert_array_equal(result, [0, 11, 22, 33, 44, 55])
    assert result.dtype == np.float32
    assert tens.taken == ones.taken == [(0, 4), (4, 6)]


def test_predicting_needs_no_gradients():
    weight = torch.ones(1, requires_grad=True)

    assert not any((run(lambda x: x * weight, np.ones(2, np.float32)) - 1).tolist())


@pytest.mark.parametrize(("enabled", "kind"), [(True, torch.bfloat16), (False, torch.float32)], ids=["on", "off"])
def test_autocast_multiplies_in_bfloat16_only_when_asked(enabled, kind):
    with inference.autocast("cpu", enabled):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == kind


def test_the_machine_is_what_torch_says_it_is():
    machine = Compute.choose()

    assert machine.device == ("cuda" if torch.cuda.is_available() else "cpu")
    assert machine.threads == torch.get_num_threads()
    assert isinstance(machine.bfloat16, bool)
